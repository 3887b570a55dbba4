"""What the page asks and shows: a patient, an intervention, the world in which it was made.

Every question carries all that it needs (the patient's seed, or their radiograph and metadata), so
nothing of a patient is kept between two of them (synthetic ones, who are nobody, are).
"""

import base64
import binascii
import io
import json
import math
import tempfile
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, final, get_args

import networkx as nx
import numpy as np
import pandas as pd
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from cxrcausal.counterfactual.result import Counterfactual, synthetic_png
from cxrcausal.data import read_image, save_synthetic_dicom
from cxrcausal.errors import ImageError, InterventionError, OptionError, TableError
from cxrcausal.graph import Variable
from cxrcausal.graph.drawing.layout import layered
from cxrcausal.graph.edge import IMAGE
from cxrcausal.image.guidance import Form, Guidance
from cxrcausal.randomness import as_seed

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["Explorer"]

Answer = dict[str, Any]
"""What JSON can hold."""

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": 0, b"\xff\xd8\xff": 0, b"DICM": 128}
"""What a file that may be uploaded has at which place."""


@final
class Explorer:
    """Answers the page's questions with one model.

    Arguments:
        model: The joint model; its image mechanism paints.
        exact: Whether what it paints is the true counterfactual, as of the phantom.

    Raises:
        ImageError: If the model is of metadata alone.
    """

    def __init__(self, model: "CounterfactualModel", *, exact: bool = False) -> None:
        if model.image is None:
            raise ImageError(
                f"model {model.name!r} is of metadata alone; it paints no radiographs"
            )
        self.model, self.image, self.exact = model, model.image, exact
        self._one_at_a_time = threading.Lock()
        # A synthetic patient is nobody: shown, asked about and saved, they are painted once.
        self._synthetic = lru_cache(maxsize=8)(self._painted)

    def describe(self) -> Answer:
        """Returns the graph, a place for every node that has arrows, and what may be asked."""
        graph = self.model.graph
        network = graph.to_networkx()
        network.remove_nodes_from([IMAGE])  # nearly every variable shows in it
        network.remove_nodes_from([*nx.isolates(network)])
        layout = layered(network)
        observed = self.model.scm.observed
        guidance = self.image.guidance  # an exact mechanism has none
        return {
            "model": self.model.name,
            "graph": graph.name,
            "exact": self.exact,
            "variables": [
                _described(v, observed.get(name), name in graph.image_parents)
                for name, v in graph.variables.items()
            ],
            "places": {name: list(at) for name, at in layout.places.items()},
            "arrows": [
                {"from": a, "to": b, "route": [list(at) for at in route]}
                for (a, b), route in layout.routes.items()
            ],
            "forms": list(get_args(Form)),
            "guidance": guidance and {"form": guidance.form, "weight": guidance.intervened},
        }

    def patient(self, asked: Mapping[str, Any]) -> Answer:
        """Returns a patient: the radiograph and what is known of them.

        Arguments:
            asked: `seed` of a synthetic patient, or `radiograph` (base64) and `values`.

        Raises:
            ImageError: If what was uploaded is no radiograph.
            TableError: If a value is not one that the graph allows.
            OptionError: If it is neither of them.
        """
        images, rows = self._patient(asked)
        return {
            "radiograph": self._factual(images[0], asked),
            "values": _cells(rows, self.model.graph.variables),
        }

    def ask(self, asked: Mapping[str, Any]) -> Answer:
        """Returns what would have been, beside what is.

        Arguments:
            asked: The patient as `patient` takes them; `do`, by variable; `form` and `weight` of
                guidance, the model's own if left out; the `answer_seed` of what is left undecided.

        Raises:
            InterventionError: If the intervention or the guidance is not one.
            OptionError: If guidance is asked of a mechanism that has none.
            UnobservedError: If it sets what the model never observed. Further errors are those of
                `patient`.
        """
        out, do = self._answered(asked)
        assert out.images is not None
        assert out.factual_images is not None
        assert out.reconstruction is not None
        before, after = out.reconstruction[0], out.images[0]
        graph = self.model.graph
        return {
            "radiograph": self._factual(out.factual_images[0], asked),
            "counterfactual": _png(after, out.provenance_of(0)),
            "difference": _difference(after - before),
            "values": _cells(out.factual, graph.variables),
            "answer": _cells(out.table, graph.variables),
            "states": self._states(out, do),
            "probabilities": self._probabilities(out.factual, do),
            "blocked": [
                {"cause": str(line["cause"]), "unknown": str(line["unknown"])}
                for _, line in out.blocked.iterrows()
            ],
            "unobserved": {name: list(levels) for name, levels in out.unobserved.items()},
            "not_reconstructed": bool(out.not_reconstructed.iloc[0]),
            "reconstruction_error": float(out.reconstruction_error.iloc[0]),
            "provenance": out.provenance_of(0),
        }

    def download(self, asked: Mapping[str, Any]) -> tuple[str, str, bytes]:
        """Returns an answer as a file: its name, its type, its bytes.

        Arguments:
            asked: As `ask`, with `as` one of `png`, `dcm`, `json`.

        Raises:
            OptionError: If it is none of them. Further errors are those of `ask`.
        """
        kind = asked.get("as")
        if kind not in ("png", "dcm", "json"):
            raise OptionError(f"an answer is not saved as {kind!r}; allowed: png, dcm, json")
        out, _ = self._answered(asked)
        assert out.images is not None
        image, provenance = out.images[0], out.provenance_of(0)
        if kind == "png":
            return "counterfactual.png", "image/png", synthetic_png(image, provenance)
        if kind == "json":
            said = {
                "provenance": provenance,
                "factual": _cells(out.factual, self.model.graph.variables),
                "counterfactual": _cells(out.table, self.model.graph.variables),
                "note": "A generated radiograph. Not for diagnosis.",
            }
            text = json.dumps(said, indent=1) + "\n"
            return "counterfactual.json", "application/json", text.encode()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "counterfactual.dcm"
            save_synthetic_dicom(image, path, provenance)
            return path.name, "application/dicom", path.read_bytes()

    def _answered(self, asked: Mapping[str, Any]) -> tuple[Counterfactual, dict[str, Any]]:
        images, rows = self._patient(asked)
        do = _interventions(asked.get("do") or {}, self.model.graph.variables)
        with self._one_at_a_time:
            out = self.model.counterfactual(
                images, rows, do,
                guidance=self._guidance(asked), seed=as_seed(asked.get("answer_seed", 0)),
            )  # fmt: skip
        return out, do

    def _guidance(self, asked: Mapping[str, Any]) -> Guidance | None:
        own = self.image.guidance
        form, weight = asked.get("form"), asked.get("weight")
        if form is None and weight is None:
            return own
        if own is None:
            raise OptionError(f"model {self.model.name!r} paints without guidance; leave it out")
        if form is not None and not isinstance(form, str):
            raise InterventionError(f"guidance form {form!r} is no name")
        return Guidance(form or own.form, own.intervened if weight is None else _number(weight))  # type: ignore[arg-type]

    def _patient(self, asked: Mapping[str, Any]) -> tuple[Tensor, pd.DataFrame]:
        if "radiograph" in asked:
            given = asked.get("values") or {}
            if not isinstance(given, Mapping):
                raise TableError("values are given by variable")
            return self._uploaded(asked["radiograph"]), self._row(given)
        if "seed" not in asked:
            raise OptionError("give the seed of a synthetic patient, or a radiograph")
        with self._one_at_a_time:
            return self._synthetic(as_seed(asked["seed"]))

    def _painted(self, seed: int) -> tuple[Tensor, pd.DataFrame]:
        images, table = self.model.sample(1, seed=seed)
        return images.clamp(0, 1), table.set_axis(["synthetic patient"])

    def _factual(self, image: Tensor, asked: Mapping[str, Any]) -> str:
        """Returns the radiograph as it is; one that was generated says so."""
        if "radiograph" in asked:
            return _shown(image)
        return _png(image, {"model": self.model.name, "sampled_with_seed": asked["seed"]})

    def _uploaded(self, text: object) -> Tensor:
        try:
            content = base64.b64decode(str(text), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ImageError("the upload is not base64") from error
        if not any(content[at:].startswith(mark) for mark, at in _SIGNATURES.items()):
            raise ImageError("the upload is neither PNG nor JPEG nor DICOM")
        with tempfile.TemporaryDirectory() as folder:  # the readers take files; it goes at once
            path = Path(folder) / "radiograph"
            path.write_bytes(content)
            try:
                return read_image(path, size=self.image.image_shape[-1])
            except ImageError as error:
                raise ImageError(str(error).replace(str(path), "the upload")) from error

    def _row(self, given: Mapping[str, Any]) -> pd.DataFrame:
        variables = self.model.graph.variables
        unknown = [name for name in given if name not in variables]
        if unknown:
            raise TableError(f"{unknown[0]!r} is no variable of graph {self.model.graph.name!r}")
        cells = {name: given.get(name) for name in variables}
        known = {
            name: value if value in (None, "") or variables[name].is_discrete else _number(value)
            for name, value in cells.items()
        }
        row = {name: None if value == "" else value for name, value in known.items()}
        return pd.DataFrame([row], index=["patient"])

    def _states(self, out: Counterfactual, do: Mapping[str, Any]) -> dict[str, str]:
        """Returns for every variable: set, changed, unknown or same."""
        states = {}
        for name in self.model.graph.variables:
            unknown = bool(out.factual[name].isna().iloc[0])
            if name in do:
                states[name] = "set"
            elif bool(out.descendants[name].iloc[0]):
                states[name] = "changed"
            else:
                states[name] = "unknown" if unknown else "same"
        return states

    def _probabilities(
        self, rows: pd.DataFrame, do: Mapping[str, Any]
    ) -> dict[str, dict[str, float]]:
        """Returns the distribution of every finding that the intervention may change."""
        graph, scm = self.model.graph, self.model.scm
        reached = {name for cause in do for name in graph.descendants(cause)} - set(do)
        found = {}
        for name in graph.variables:
            if name in reached and name in scm.mechanisms and graph.variables[name].is_discrete:
                table = scm.counterfactual_probability(rows, do, name, seed=0)
                found[name] = {str(level): float(p) for level, p in table.iloc[0].items()}
        return found


def _described(variable: Variable, observed: tuple | None, shows: bool) -> Answer:
    return {
        "name": variable.name,
        "kind": variable.kind,
        "role": variable.role,
        "levels": list(variable.levels),
        "bounds": list(variable.bounds) if variable.bounds else None,
        "unit": variable.unit,
        "defined": variable.mechanism is not None,
        "observed": None if observed is None else [_plain(x) for x in observed],
        "shows": shows,
    }


def _interventions(given: object, variables: Mapping[str, Variable]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InterventionError("do is given by variable, as {'sex': 'Male'}")
    return {
        str(name): _number(value)
        if name in variables and not variables[name].is_discrete
        else value
        for name, value in given.items()
    }


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InterventionError(f"{value!r} is no number") from error
    if not math.isfinite(number):
        raise InterventionError(f"{value!r} is no finite number")
    return number


def _cells(rows: pd.DataFrame, variables: Mapping[str, Variable]) -> dict[str, Any]:
    """Returns the first row as JSON holds it, unknown cells as null."""
    return {name: _plain(rows[name].iloc[0]) for name in variables}


def _plain(value: object) -> object:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _png(image: Tensor, provenance: Mapping[str, Any]) -> str:
    """Returns a generated image (channel, height, width) as base64 of a PNG that says so."""
    return base64.b64encode(synthetic_png(image, provenance)).decode("ascii")


def _shown(image: Tensor) -> str:
    """Returns an image (channel, height, width) as base64 of a plain PNG."""
    return _encoded((image[0].clamp(0, 1) * 255).round().byte().cpu().numpy())


def _difference(change: Tensor) -> str:
    """Returns a change (channel, height, width) in colours: red is brighter, blue is darker."""
    share = (change[0] / 0.3).clamp(-1, 1).cpu()
    up, down = share.clamp(min=0), (-share).clamp(min=0)
    colours = torch.stack([1 - down, 1 - up - down, 1 - up], -1).clamp(0, 1)
    return _encoded((colours * 255).round().byte().numpy(), "difference from a generated image")


def _encoded(pixels: np.ndarray, synthetic: str | None = None) -> str:
    """Returns pixels as base64 of a PNG, with what is synthetic of them if anything is."""
    info, file = PngInfo(), io.BytesIO()
    if synthetic is not None:
        info.add_text("Synthetic", f"{synthetic}; not for diagnosis")
    Image.fromarray(pixels).save(file, format="png", pnginfo=info)
    return base64.b64encode(file.getvalue()).decode("ascii")
