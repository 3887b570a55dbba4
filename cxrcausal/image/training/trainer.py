"""Training the flow: steps, averaged weights, a log that a person can plot, and exact resume.

Every random draw is a function of (seed, step), so a run that is stopped and resumed ends with the
same weights as one that was not; the saved state holds no generator.
"""

import hashlib
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, final, get_args

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from cxrcausal.device import has_fast_bfloat16
from cxrcausal.errors import CheckpointError, ImageError, RecipeError
from cxrcausal.files import atomic_path
from cxrcausal.gradients import with_gradients
from cxrcausal.image.loading import ImageFlow
from cxrcausal.image.mechanism import RectifiedFlow
from cxrcausal.image.recipe import TrainingRecipe
from cxrcausal.image.training.balance import balanced_weights
from cxrcausal.image.training.nats import parents_worth
from cxrcausal.image.training.subsets import descent
from cxrcausal.shapes import Attributes, Image, Keep, StoredImage
from cxrcausal.training import Engine, append_line, augment, forget_lines

__all__ = ["Trainer", "grey", "held_out_loss", "images_fingerprint"]

logger = logging.getLogger("cxrcausal")

_TIME_BINS = 10

Precision = Literal["auto", "float32", "bfloat16"]


def images_fingerprint(images: Tensor, table: pd.DataFrame) -> str:
    """Returns 16 hex digits of a SHA-256 of radiographs and their whole table, in their order.

    It says what a network was made from. Where the files lay does not count: the column `image` is
    left out. (An SCM's `data_fingerprint` is of the graph's columns alone, whatever the rows'
    order.)
    """
    digest = hashlib.sha256(images.cpu().contiguous().numpy().tobytes())
    digest.update(table.drop(columns="image", errors="ignore").to_csv(index=False).encode())
    return digest.hexdigest()[:16]


def is_stored(images: Tensor) -> bool:
    """Returns whether images are grey values as stored, whole numbers."""
    return images.dtype in (torch.uint8, torch.uint16)


def grey(images: Tensor) -> Tensor:
    """Returns images as floats in [0, 1], whether they are that or grey values as stored."""
    if not is_stored(images):
        return images
    return images.float() / float(torch.iinfo(images.dtype).max)


@torch.no_grad()
def held_out_loss(
    mechanism: ImageFlow,
    images: Image,
    parents: Attributes,
    keep: Keep | None = None,
    *,
    repeats: int = 4,
    seed: int = 0,
    batch_size: int = 256,
) -> float:
    """Returns the mean velocity loss on radiographs that training did not see.

    Times and noises are the same at every call, and times are spread evenly over their
    distribution, so two networks are compared on the same questions.

    Arguments:
        mechanism: The flow.
        images: Held-out radiographs in [0, 1].
        parents: Their parents.
        keep: Which parents are given; all if left out.
        repeats: Noises per radiograph.
        seed: Of the noises.
        batch_size: Radiographs at a time.
    """
    generator = torch.Generator().manual_seed(seed)
    keep = torch.ones_like(parents, dtype=torch.bool) if keep is None else keep
    total = 0.0
    path = mechanism.path
    for _ in range(repeats):
        quantile = (torch.arange(len(images)) + 0.5) / len(images)
        t = path.times_at(quantile[torch.randperm(len(images), generator=generator)])
        noise = torch.randn(images.shape, generator=generator)
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch = (images[part], parents[part], keep[part], t[part], noise[part])
            loss = mechanism(*(x.to(mechanism.device) for x in batch))
            total += float(loss.sum())
    return total / (repeats * len(images))


def _learn_again(mechanism: ImageFlow) -> None:
    """Lets a flow learn that was loaded to answer; whoever froze a part of it keeps that part."""
    if not any(p.requires_grad for p in mechanism.parameters()):
        flow = mechanism if isinstance(mechanism, RectifiedFlow) else mechanism.detail
        flow.requires_grad_(True)


@final
class Trainer:
    """Trains a flow on radiographs that fit in memory; writes its log and state into a folder.

    Radiographs that are stored in 8 bits stay so until a batch is drawn: of 128×128 pixels 377,000
    take 6 GB.

    Arguments:
        mechanism: The flow to train; afterwards it holds the averaged weights, and no transport:
            fit that to the noise of the trained flow. One of which no weight is to be learnt, as
            it comes from a checkpoint, is learnt whole (of a `WaveletFlow` the detail alone).
        images: Radiographs in [0, 1], (images, channel, height, width), or their grey values as
            stored, whole numbers of 8 or 16 bits.
        table: Their metadata, row by row.
        folder: Where `loss.csv`, `held_out.csv` and the state go.
        held_out: Radiographs and table of other patients, for the held-out loss.
        compile: Whether to compile the network first (`torch.compile`).
        precision: Of the blocks' matrix products: `float32`, `bfloat16`, or `auto`, bfloat16 where
            `has_fast_bfloat16` says that it is faster. Weights, residual stream, modulation and
            output are float32 always.
    """

    @with_gradients
    def __init__(
        self,
        mechanism: ImageFlow,
        images: Image | StoredImage,
        table: pd.DataFrame,
        folder: str | Path,
        *,
        held_out: tuple[Tensor, pd.DataFrame] | None = None,
        compile: bool = False,
        precision: Precision = "float32",
    ) -> None:
        if precision not in get_args(Precision):
            raise RecipeError(
                f"precision is {precision!r}; allowed: {', '.join(get_args(Precision))}"
            )
        if len(images) != len(table):
            raise ImageError(f"{len(images)} images stand beside {len(table)} rows of metadata")
        mechanism.check_images(grey(images[:1]) if is_stored(images) else images)
        self.mechanism = mechanism
        self.recipe: TrainingRecipe = mechanism.recipe.training
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.images = images
        self.fingerprint = images_fingerprint(images, table)
        mechanism.drop_transport()
        _learn_again(mechanism)
        mechanism.observed = _observed(mechanism, table)
        self.parents = mechanism.encode(table)[0].cpu()
        self.held_out = held_out
        self.descends = descent(mechanism.graph)
        varies = [torch.unique(column[~column.isnan()]).numel() > 1 for column in self.parents.T]
        self.settable = torch.tensor(varies)
        if not self.settable.any():
            raise ImageError("no parent of the image varies in this table; nothing can be learnt")
        self.weights = balanced_weights(self.parents, mechanism.attributes)
        self.engine = Engine(
            mechanism,
            self._optimiser(),
            self.learning_rate,
            decay=self.recipe.ema_decay,
            clip_norm=self.recipe.clip_norm,
        )
        self.loss = torch.compile(mechanism) if compile else mechanism
        fast = precision == "auto" and has_fast_bfloat16(mechanism.device)
        self.precision: Precision = "bfloat16" if fast or precision == "bfloat16" else "float32"

    def _optimiser(self) -> torch.optim.AdamW:
        learnt = [p for p in self.mechanism.parameters() if p.requires_grad]
        matrices = [p for p in learnt if p.ndim > 1]
        vectors = [p for p in learnt if p.ndim <= 1]
        recipe = self.recipe
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": recipe.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(recipe.beta_1, recipe.beta_2),
            fused=True,
        )

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return self.engine.steps

    @property
    def state_file(self) -> Path:
        """Where the state for exact resume lies; torch's own format, local, never shipped."""
        return self.folder / "state.pt"

    def learning_rate(self, step: int) -> float:
        """Returns the rate at a step: warm-up, constant, then linear to zero."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
        left = (recipe.num_steps - step) / max(1.0, recipe.decay_fraction * recipe.num_steps)
        return recipe.learning_rate * warm * min(1.0, left)

    @with_gradients
    def run(
        self,
        *,
        num_steps: int | None = None,
        minutes: float | None = None,
        log_every: int = 100,
        save_every: int = 1000,
        on_save: Callable[[ImageFlow, int], object] | None = None,
        progress: bool = True,
    ) -> ImageFlow:
        """Trains to the recipe's end, resuming from the folder's state.

        Arguments:
            num_steps: Stop after that many further steps.
            minutes: Stop at the first step after that many minutes.
            log_every: Steps between two lines of `loss.csv`.
            save_every: Steps between two saved states, each with a line of `held_out.csv`.
            on_save: Called after each of them with the averaged weights and the step.
            progress: Whether to show a progress bar.

        Returns:
            The mechanism with its averaged weights, in evaluation mode. The weights of the last
            step stay in the saved state.

        Raises:
            CheckpointError: If the folder's state belongs to other data, another graph or another
                recipe.
            FloatingPointError: If a loss or gradient is no longer finite; the last saved state
                stays.
        """
        if self.state_file.exists():
            self._resume()
        for name in ("loss.csv", "held_out.csv"):
            forget_lines(self.folder / name, self.step)
        last = self.recipe.num_steps
        last = last if num_steps is None else min(last, self.step + num_steps)
        self.mechanism.train()
        window = _Window()
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        bar = tqdm(
            total=last, initial=self.step, disable=not progress or None, unit="step", leave=False
        )
        with bar:
            while self.step < last:
                window.add(*self._one_step())
                bar.update()
                if time.monotonic() > end:
                    last = self.step
                log = self.step % log_every == 0 or self.step == last
                save = self.step % save_every == 0 or self.step == last
                if log or save:
                    window.check(self.step)
                if log:
                    row = window.close(
                        self.step, self.recipe.batch_size, self.learning_rate(self.step - 1)
                    )
                    append_line(self.folder / "loss.csv", row)
                    bar.set_postfix(loss=f"{row['loss']:.4f}", img_s=f"{row['images_per_s']:.0f}")
                if save:
                    self._save()
                    if on_save is not None:
                        with self.engine.averaged():
                            on_save(self.mechanism.eval(), self.step)
                        self.mechanism.train()
        self.engine.adopt_average()
        return self.mechanism.eval()

    def _one_step(self) -> tuple[Tensor, Tensor, Tensor]:
        """Takes one step; returns the losses and times of its images, and the gradient's norm."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed((recipe.seed << 32) + self.step)
        rows = self._balanced_rows() if recipe.balanced else self._rows()
        device = self.mechanism.device
        images = augment(grey(self.images[rows]), self.mechanism.recipe.augmentation, generator)
        parents, keep = self.mechanism.recipe.subsets.draw(
            self.parents[rows], self.descends, self.settable, generator
        )
        t = self.mechanism.path.times(len(rows), generator)
        noise = torch.randn(images.shape, generator=generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            loss = self.loss(*(x.to(device) for x in (images, parents, keep, t, noise)))
        norm = self.engine.step(loss.mean())
        return loss.detach(), t, norm

    def _rows(self) -> Tensor:
        """Returns this step's radiographs: every epoch is a permutation, seeded by its number."""
        count, batch = len(self.images), self.recipe.batch_size
        start = self.step * batch
        wanted = torch.arange(start, start + batch)
        parts = []
        for epoch in range(start // count, (start + batch - 1) // count + 1):
            shuffle = torch.Generator().manual_seed((self.recipe.seed << 32) + (1 << 31) + epoch)
            order = torch.randperm(count, generator=shuffle)
            parts.append(order[wanted[wanted // count == epoch] % count])
        return torch.cat(parts)

    def _balanced_rows(self) -> Tensor:
        """Returns this step's radiographs, rare parents more often than they occur."""
        draw = torch.Generator().manual_seed((self.recipe.seed << 32) + (3 << 30) + self.step)
        return torch.multinomial(self.weights, self.recipe.batch_size, True, generator=draw)

    def _save(self) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "graph_fingerprint": self.mechanism.graph.fingerprint,
            "recipe": self.mechanism.recipe.to_dict(),
            "engine": self.engine.state_dict(),
        }
        with atomic_path(self.state_file) as path:
            torch.save(state, path)
        self._log_held_out()

    def _log_held_out(self) -> None:
        if self.held_out is None:
            return
        images, table = self.held_out
        parents = self.mechanism.encode(table)[0]
        given = torch.ones_like(parents, dtype=torch.bool)
        with self.engine.averaged():
            row = {
                "step": self.step,
                "images": self.step * self.recipe.batch_size,
                "loss_complete": held_out_loss(self.mechanism, images, parents, given),
                "loss_null": held_out_loss(self.mechanism, images, parents, ~given),
                **parents_worth(self.mechanism, images, parents),
            }
        append_line(self.folder / "held_out.csv", row)

    def _resume(self) -> None:
        """Loads the folder's state; the number of images may have grown, all else is the same."""
        state = torch.load(self.state_file, map_location=self.mechanism.device, weights_only=True)
        if "engine" not in state:
            raise CheckpointError(
                f"{self.state_file} was written by an earlier version; give another folder"
            )
        if state["fingerprint"] != self.fingerprint:
            raise CheckpointError(
                f"{self.state_file} was trained on data {state['fingerprint']}, not on "
                f"{self.fingerprint}; give another folder"
            )
        graph = self.mechanism.graph
        if state.get("graph_fingerprint") != graph.fingerprint:
            raise CheckpointError(
                f"{self.state_file} was trained under the graph {state.get('graph_fingerprint')}, "
                f"not under {graph.name!r} ({graph.fingerprint}); give another folder"
            )
        now, then = self.mechanism.recipe.to_dict(), state["recipe"]
        for recipe in (now, then):
            recipe["training"] = {
                k: v
                for k, v in recipe["training"].items()
                if k not in ("num_images", "decay_fraction")
            }
        free = ("name", "description", "solver", "guidance")  # none of these touches a weight
        changed = [k for k in now if now[k] != then.get(k) and k not in free]
        if changed:
            raise CheckpointError(
                f"{self.state_file} was made by another recipe; its {changed} differ; "
                f"give another folder"
            )
        self.engine.load_state_dict(state["engine"])
        logger.info("resumed training at step %d from %s", self.step, self.state_file)


class _Window:
    """Sums over the steps since the last line of the log."""

    def __init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.losses: list[Tensor] = []
        self.times: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.since = time.perf_counter()

    def add(self, loss: Tensor, t: Tensor, norm: Tensor) -> None:
        self.losses.append(loss)
        self.times.append(t)
        self.norms.append(norm)

    def check(self, step: int) -> None:
        """Raises if a loss or gradient since the last line was not finite: weights are spoilt."""
        loss, norm = torch.cat(self.losses).mean(), torch.stack(self.norms).mean()
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(
                f"the loss is {float(loss)}, the gradient's norm {float(norm)} up to step {step}"
            )

    def close(self, step: int, batch_size: int, rate: float) -> dict[str, Any]:
        loss, t = torch.cat(self.losses).cpu(), torch.cat(self.times)
        seconds = time.perf_counter() - self.since
        row: dict[str, Any] = {
            "step": step,
            "images": step * batch_size,
            "loss": float(loss.mean()),
            "gradient_norm": float(torch.stack(self.norms).mean()),
            "learning_rate": rate,
            "images_per_s": len(loss) / seconds,
        }
        place = (t * _TIME_BINS).long().clamp(max=_TIME_BINS - 1)
        for i in range(_TIME_BINS):
            here = place == i
            row[f"loss_t{i / _TIME_BINS:.1f}"] = float(loss[here].mean()) if here.any() else ""
        self.open()
        return row


def _observed(mechanism: ImageFlow, table: pd.DataFrame) -> dict[str, Any]:
    """Returns which levels, or which range, of each attribute the table shows."""
    observed: dict[str, Any] = {}
    for variable in mechanism.attributes:
        column = (
            table[variable.name].dropna() if variable.name in table else pd.Series(dtype=float)
        )
        if variable.is_discrete:
            present = set(column.astype(str))
            observed[variable.name] = [level for level in variable.levels if level in present]
        elif len(column):
            observed[variable.name] = [float(column.min()), float(column.max())]
    return observed
