"""Image models, declared: a YAML recipe becomes frozen dataclasses, checked key by key."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, final, get_args, get_origin

import yaml

from cxrcausal.errors import RecipeError, nearest, summarise
from cxrcausal.image.guidance import Guidance
from cxrcausal.image.path import RectifiedPath
from cxrcausal.image.solver import Solver
from cxrcausal.image.training.subsets import SubsetMixture
from cxrcausal.shipped import shipped_folder
from cxrcausal.training.augmentation import Augmentation

__all__ = [
    "Augmentation",
    "ImageRecipe",
    "NetworkRecipe",
    "TrainingRecipe",
    "list_recipes",
    "load_recipe",
]


@final
@dataclass(frozen=True)
class NetworkRecipe:
    """Which network, and its size; the other fields are the arguments of `RadiT`."""

    kind: str = "radit"
    size: int = 64
    channels: int = 1
    patch: int = 8
    width: int = 192
    depth: int = 6
    heads: int = 3
    hidden: int = 512
    rank: int = 64
    bottleneck: int = 0
    embedding: int = 64
    context: int = 0
    place_rank: int = 0
    gradient_checkpointing: bool = False


@final
@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained.

    Arguments:
        num_images: Images shown in all.
        batch_size: Images per step.
        learning_rate: Peak learning rate of AdamW.
        beta_1: First moment decay.
        beta_2: Second moment decay.
        weight_decay: Decoupled weight decay of matrices; vectors have none.
        warmup_steps: Steps of linear warm-up.
        decay_fraction: The last part of training over which the rate falls linearly to zero.
            Before it the rate is constant, so a run can be lengthened without starting again.
        clip_norm: Largest gradient norm.
        ema_decay: Decay of the averaged weights per step, reached after a warm-up.
        balanced: Whether rows are drawn balanced over their parents, as `balanced_weights` says;
            otherwise every epoch shows each once.
        seed: Every draw of training is a function of it and of the step.
    """

    num_images: int = 400_000
    batch_size: int = 64
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.95
    weight_decay: float = 0.01
    warmup_steps: int = 200
    decay_fraction: float = 0.3
    clip_norm: float = 1.0
    ema_decay: float = 0.9995
    balanced: bool = False
    seed: int = 0

    @property
    def num_steps(self) -> int:
        """Optimiser steps in all."""
        return -(-self.num_images // self.batch_size)


@final
@dataclass(frozen=True)
class ImageRecipe:
    """An image model and its training, as one YAML file in `generative/` declares them.

    Arguments:
        name: What the model is called.
        graph: The causal graph of the image's parents.
        description: One sentence.
        network: The size of the network.
        path: The flow's path from noise to image.
        solver: How its equation is solved unless a caller says otherwise.
        guidance: How strongly changed parents are imposed unless a caller says otherwise: what the
            soundness table of the trained model recommends.
        subsets: Which parents training shows and which it drops.
        augmentation: Small random changes of training images.
        coarse: The model of the image's 2×2 mean: a shipped one's name, or a folder. The network
            is then of what finer pixels add (`WaveletFlow`). Empty for a flow of whole images.
        training: The optimiser's numbers.
    """

    name: str
    graph: str = "cxr19"
    description: str = ""
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    path: RectifiedPath = field(default_factory=RectifiedPath)
    solver: Solver = field(default_factory=Solver)
    guidance: Guidance = field(default_factory=lambda: Guidance("nested", intervened=1.5))
    subsets: SubsetMixture = field(default_factory=SubsetMixture)
    augmentation: Augmentation = field(default_factory=Augmentation)
    coarse: str = ""
    training: TrainingRecipe = field(default_factory=TrainingRecipe)

    @property
    def image_size(self) -> int:
        """Height and width of the radiographs; bands of detail have half of it."""
        return 2 * self.network.size if self.coarse else self.network.size

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], where: str = "recipe") -> "ImageRecipe":
        """Returns the recipe that a mapping declares.

        Raises:
            RecipeError: For an unknown key or a value of another type; names `where` and the key.
        """
        return _build(cls, raw, where)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain numbers, strings and dictionaries, as the YAML file holds them."""
        return dataclasses.asdict(self)


def list_recipes() -> tuple[str, ...]:
    """Returns the names of the shipped recipes."""
    return tuple(sorted(path.stem for path in shipped_folder("generative").glob("*.yaml")))


def load_recipe(name: str | Path) -> ImageRecipe:
    """Returns the recipe of that name in `generative/`, or of a YAML file.

    Arguments:
        name: One of `list_recipes`, or the path of a YAML file.

    Raises:
        RecipeError: If there is none, or it does not parse.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = shipped_folder("generative") / f"{name}.yaml"
    if not path.is_file():
        raise RecipeError(
            f"there is no recipe {str(name)!r}{nearest(name, list_recipes()) or '.'} "
            f"Shipped: {summarise(list_recipes(), 20)}; or give the path of a .yaml file"
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path.name} holds {type(raw).__name__}; a recipe is a mapping")
    return ImageRecipe.from_dict(raw, path.name)


def _build(cls: type, raw: object, where: str) -> Any:  # noqa: ANN401
    """Builds the dataclass `cls` from a mapping, recursively, naming the key at fault."""
    if not isinstance(raw, Mapping):
        raise RecipeError(f"{where}: found {raw!r}; expected keys")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values = {}
    for key, value in raw.items():
        if key not in fields:
            raise RecipeError(
                f"{where}: unknown key {key!r}{nearest(key, fields) or '.'} "
                f"Allowed: {summarise(fields, 20)}"
            )
        values[key] = _convert(fields[key].type, value, f"{where}: {key}")
    missing = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in values
    ]
    if missing:
        raise RecipeError(f"{where}: missing {summarise(missing)}")
    return cls(**values)


def _convert(kind: Any, value: object, where: str) -> object:  # noqa: ANN401
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if get_origin(kind) is Mapping:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where} is {value!r}; expected names and numbers")
        of_value = get_args(kind)[1]
        return {str(k): _convert(of_value, v, f"{where}: {k}") for k, v in value.items()}
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise RecipeError(
                f"{where} is {value!r}{nearest(value, get_args(kind)) or '.'} "
                f"Allowed: {summarise(get_args(kind), 9)}"
            )
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{where} is {value!r}; expected {kind.__name__}")
    return value
