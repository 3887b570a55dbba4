r"""Reads variables back from an image: one small network for several attributes.

Whether a counterfactual shows what was asked is read by a network that has only ever seen real
radiographs. It is trained with a masked loss, so a radiograph whose finding is not recorded still
teaches the others. The scores are log-odds and years, not probabilities: a shift of the mean stays
visible where a probability has saturated.

References:
    | Measuring Axiomatic Soundness of Counterfactual Image Models
    | (Monteiro et al., 2023; effectiveness
    | by pseudo-oracles), https://arxiv.org/abs/2303.01274
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrcausal.checkpoint import entry, read_record, read_tensors, write_checkpoint
from cxrcausal.data.split import patient_fraction
from cxrcausal.errors import (
    CheckpointError,
    CxrCausalError,
    GraphError,
    ImageError,
    NotFittedError,
    TableError,
    nearest,
    summarise,
)
from cxrcausal.evaluation.network import Architecture, block_mean, build_network
from cxrcausal.gradients import with_gradients
from cxrcausal.graph import CausalGraph, Variable, load_graph
from cxrcausal.scm.table import check_table, encode
from cxrcausal.shapes import Features, Image
from cxrcausal.training import Augmentation, Engine, augment

__all__ = ["AUGMENTATION", "DEFAULT_TARGETS", "Predictor"]

logger = logging.getLogger("cxrcausal")

DEFAULT_TARGETS = ("sex", "view", "age", "pleural_effusion", "cardiomegaly")
AUGMENTATION = Augmentation(rotation=6.0, shift=0.06, scale=0.08, contrast=0.2)
FORMAT_VERSION = 2

_BATCH = 256


@final
class Predictor(nn.Module):
    """Reads attributes from images, all at once.

    A discrete target is scored by the log-odds of its second observed level against the first (one
    column of its name), or, with more than two observed, of each level against the rest (columns
    `view=AP`). A continuous target is scored in its own unit.
    Images whose side is a multiple of its size are averaged over blocks first, so that mechanisms
    of different resolution compare.

    Arguments:
        graph: The causal graph, or its name; it says kind and levels of the targets.
        targets: The variables to read.
        size: Side of the images.
        channels: Their channels.
        width: Channels of the first layer; the others are multiples of it.
        architecture: `residual` or `transformer`: two that err in different ways.
        seed: Weights, order of the radiographs, and augmentation are functions of it.

    Raises:
        GraphError: If a target is not a variable of the graph.
        ImageError: If the architecture is unknown, or size or width do not suit it.

    Example:
        >>> predictor = Predictor("cxr19", ("sex", "age"), size=16, width=8)
        >>> predictor.features(torch.rand(3, 1, 16, 16)).shape
        torch.Size([3, 64])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        graph: CausalGraph | str = "cxr19",
        targets: Sequence[str] = DEFAULT_TARGETS,
        *,
        size: int = 64,
        channels: int = 1,
        width: int = 16,
        architecture: Architecture = "residual",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.graph = load_graph(graph) if isinstance(graph, str) else graph
        for name in targets:
            if name not in self.graph.variables:
                raise GraphError(
                    f"target {name!r} is not in graph {self.graph.name!r}"
                    f"{nearest(name, self.graph.variables) or '.'} It has: "
                    f"{summarise(self.graph.variables, 20)}"
                )
        self.targets: tuple[Variable, ...] = tuple(self.graph.variables[t] for t in targets)
        self.size, self.channels, self.width, self.seed = size, channels, width, seed
        self.architecture = architecture
        # What fitting finds: levels that occur, or mean and deviation; log-odds of the second
        # level.
        self.observed: dict[str, list] = {}
        self.threshold: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        outputs = sum(len(v.levels) if v.is_discrete else 1 for v in self.targets)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build_network(architecture, size, channels, width)
            self.head = nn.Linear(self.network.features, outputs)

    def features(self, images: Image) -> Features:
        """Returns what the heads read, (batch, features): a distance there is one in content."""
        return self.network((images - self.mean) / self.std)

    def forward(self, images: Image) -> Tensor:
        """Returns raw outputs: logits of each discrete target's levels, standardised numbers."""
        return self.head(self.features(images))

    @with_gradients
    def fit(
        self,
        images: Image,
        table: pd.DataFrame,
        *,
        groups: str = "patient_id",
        validation: np.ndarray | None = None,
        epochs: int = 40,
        patience: int = 8,
        batch_size: int = 64,
        learning_rate: float = 2e-3,
        augmentation: Augmentation | None = AUGMENTATION,
    ) -> "Predictor":
        """Trains on radiographs, stopping by the loss on patients left out; returns itself.

        A predictor is fitted once: a second call would start from the first one's weights, and is
        refused.

        Arguments:
            images: (images, channel, height, width); radiographs in [0, 1], or anything else
                (noise, say) if `augmentation` is None.
            table: Their metadata, row by row, in the graph's columns; unknown cells are masked.
            groups: The column of patients.
            validation: Which rows decide when to stop, (images,) bool; a tenth of the patients, by
                their hash, if left out.
            epochs: Passes over the radiographs at most.
            patience: Epochs without improvement before stopping.
            batch_size: Radiographs per step.
            learning_rate: Peak rate of AdamW; a warm-up, then a cosine to zero at `epochs`.
            augmentation: How radiographs are changed in training; None for not at all.

        Raises:
            ImageError: If the images do not match the table or the network, or it is fitted
                already.
            TableError: If a target shows only one level, or nobody is left to validate on.
        """
        if self.history:
            raise ImageError("this predictor is fitted; make another to fit it again")
        images = self._at_size(images)
        if len(images) != len(table):
            raise ImageError(f"{len(images)} images stand beside {len(table)} rows of metadata")
        labels = self._labels(table)
        held_out = self._held_out(table, groups, validation)
        self._describe(labels[~held_out])
        train, stop = images[~held_out], images[held_out]
        self.mean.fill_(float(train.mean()))
        self.std.fill_(float(train.std()))
        engine = self._engine(learning_rate, epochs * -(-len(train) // batch_size))
        best, best_loss, since = self.state_dict(), math.inf, 0
        self.history = []
        for epoch in range(epochs):
            generator = torch.Generator().manual_seed((self.seed << 32) + epoch)
            order = torch.randperm(len(train), generator=generator)
            self.train()
            for rows in order.split(batch_size):
                x = train[rows]
                if augmentation is not None:
                    x = augment(x, augmentation, generator)
                engine.step(self._loss(self(x.to(self.device)), labels[~held_out][rows]).sum())
            with engine.averaged():
                loss = float(self._loss(self._outputs(stop), labels[held_out]).sum())
                if loss < best_loss:
                    best = {k: v.clone() for k, v in self.state_dict().items()}
            self.history.append({"epoch": epoch, "validation_loss": loss})
            best_loss, since = (loss, 0) if loss < best_loss else (best_loss, since + 1)
            if since >= patience:
                break
        self.load_state_dict(best)
        logger.info(
            "predictor: best of %d epochs, validation loss %.4f", len(self.history), best_loss
        )
        return self.eval()

    def _held_out(self, table: pd.DataFrame, groups: str, validation: np.ndarray | None) -> Tensor:
        """Returns which rows (rows,) decide when to stop.

        Raises:
            TableError: If these are none, or all.
        """
        if validation is None:
            validation = patient_fraction("stop-early:" + table[groups].astype(str)) < 0.1
        held_out = torch.tensor(np.asarray(validation, bool))
        if not held_out.any() or held_out.all():
            raise TableError(
                f"{int(held_out.sum())} of {len(held_out)} radiographs are for validation; some "
                "must be, not all"
            )
        return held_out

    def _engine(self, learning_rate: float, steps: int) -> Engine:
        """Returns AdamW with a linear warm-up, then a cosine to zero after so many steps."""
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.05
        )
        warm = min(50, steps // 10 + 1)

        def rate(step: int) -> float:
            falling = (1 + math.cos(math.pi * step / steps)) / 2
            return learning_rate * min(1.0, (step + 1) / warm) * falling

        return Engine(self, optimiser, rate, decay=0.98, clip_norm=1.0)

    def score(self, images: Image, index: pd.Index | None = None) -> pd.DataFrame:
        """Returns log-odds and years, one row per image, one column per target (see the class).

        Arguments:
            images: (batch, channel, height, width).
            index: Row labels of the answer.
        """
        columns: dict[str, np.ndarray] = {}
        for variable, out in self._parts(self._outputs(images)):
            if not variable.is_discrete:
                mean, std = self.observed[variable.name]
                columns[variable.name] = (out[:, 0] * std + mean).numpy()
                continue
            levels = self.observed[variable.name]
            if len(levels) == 2:
                first, second = (variable.levels.index(level) for level in levels)
                columns[variable.name] = (out[:, second] - out[:, first]).numpy()
            else:
                log_p = out.log_softmax(dim=1)
                log_rest = torch.log1p(-log_p.exp().clamp(max=1 - 1e-12))
                for level in levels:
                    i = variable.levels.index(level)
                    columns[f"{variable.name}={level}"] = (log_p - log_rest)[:, i].numpy()
        return pd.DataFrame(columns, index=index)

    def predict_proba(self, images: Image, index: pd.Index | None = None) -> pd.DataFrame:
        """Returns each level's probability, columns (variable, level); discrete targets only."""
        columns = {
            (v.name, level): out.softmax(dim=1)[:, i].numpy()
            for v, out in self._parts(self._outputs(images))
            if v.is_discrete
            for i, level in enumerate(v.levels)
        }
        names = pd.MultiIndex.from_tuples(columns, names=["variable", "level"])
        return pd.DataFrame(dict(enumerate(columns.values())), index=index).set_axis(names, axis=1)

    def embed(self, images: Image) -> Tensor:
        """Returns `features` of any number of images, without gradients, on the CPU."""
        images = self._at_size(images)
        with torch.no_grad():
            parts = [self.features(part.to(self.device)).cpu() for part in images.split(_BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self.network.features)

    def truth(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns what `score` is compared with: 0 or 1 per scored level, years; NaN unknown."""
        self._fitted()
        labels = self._labels(table).numpy()
        columns: dict[str, np.ndarray] = {}
        for i, variable in enumerate(self.targets):
            if not variable.is_discrete:
                columns[variable.name] = labels[:, i]
                continue
            levels = [variable.levels.index(level) for level in self.observed[variable.name]]
            known = np.isin(labels[:, i], levels)
            for level in levels[1:] if len(levels) == 2 else levels:
                of_level = f"={variable.levels[level]}" if len(levels) > 2 else ""
                hit = np.where(known, labels[:, i] == level, np.nan)
                columns[variable.name + of_level] = hit.astype(np.float64)
        return pd.DataFrame(columns, index=table.index)

    def save(self, folder: str | Path) -> Path:
        """Writes `predictor.safetensors` and `predictor.json` into `folder`, and returns it."""
        self._fitted()
        record = {
            "format_version": FORMAT_VERSION,
            "kind": "Predictor",
            "graph": self.graph.to_yaml(),
            "arguments": {
                "targets": [v.name for v in self.targets],
                "size": self.size,
                "channels": self.channels,
                "width": self.width,
                "architecture": self.architecture,
                "seed": self.seed,
            },
            "observed": self.observed,
            "threshold": self.threshold,
            "history": self.history,
        }
        return write_checkpoint(folder, "predictor", record, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> "Predictor":
        """Returns the predictor that `save` wrote.

        Raises:
            CheckpointError: If a file is absent, damaged, or of another format.
        """
        folder = Path(folder)
        file = folder / "predictor.json"
        if not file.is_file():
            raise CheckpointError(f"{folder} holds no predictor: {file} is absent")
        record = read_record(file, FORMAT_VERSION, "Predictor")
        weights = read_tensors(file.with_suffix(".safetensors"), record)
        arguments = entry(file, record, "arguments", dict)
        try:
            predictor = cls(CausalGraph.from_yaml(entry(file, record, "graph", str)), **arguments)
            predictor.observed = entry(file, record, "observed", dict)
            predictor.threshold = entry(file, record, "threshold", dict)
            predictor.history = entry(file, record, "history", list)
            predictor.load_state_dict(weights)
        except (CxrCausalError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"the predictor in {folder} is damaged: {error}") from error
        return predictor.eval()

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return self.head.weight.device

    def extra_repr(self) -> str:
        """Says which targets."""
        return ", ".join(v.name for v in self.targets)

    def _at_size(self, images: Tensor) -> Tensor:
        """Returns the images at the network's resolution, larger ones averaged over blocks."""
        square = images.ndim == 4 and images.shape[2] == images.shape[3]
        if not square or images.shape[1] != self.channels or images.shape[2] % self.size:
            raise ImageError(
                f"images have shape {tuple(images.shape)}; this predictor reads "
                f"(batch, {self.channels}, {self.size}, {self.size}), and averages larger squares "
                f"with a side that is a multiple of {self.size}"
            )
        return block_mean(images, self.size)

    def _fitted(self) -> None:
        if not self.observed:
            raise NotFittedError("the predictor is not fitted; call fit(images, table) first")

    def _labels(self, table: pd.DataFrame) -> Tensor:
        """Returns level index or value of each target, float64 (rows, targets), NaN unknown."""
        names = [v.name for v in self.targets]
        values = encode(check_table(table, self.graph, names), self.graph, names)
        return torch.stack([values[name] for name in names], dim=1)

    def _describe(self, labels: Tensor) -> None:
        """Keeps what the training radiographs show of each target."""
        for variable, column in zip(self.targets, labels.T, strict=True):
            known = column[~column.isnan()]
            if known.unique().numel() < 2:
                raise TableError(
                    f"target {variable.name!r} shows {known.unique().numel()} values in the "
                    f"{len(column)} training radiographs; two are needed to tell them apart"
                )
            if not variable.is_discrete:
                self.observed[variable.name] = [float(known.mean()), float(known.std())]
                continue
            levels = [variable.levels[int(i)] for i in known.unique()]
            self.observed[variable.name] = levels
            for i in known.unique().tolist():
                share = float((known == i).double().mean())
                two = len(levels) == 2
                name = variable.name if two else f"{variable.name}={variable.levels[int(i)]}"
                self.threshold[name] = math.log(share / (1 - share))  # of two, the second remains

    def _outputs(self, images: Image) -> Tensor:
        """Returns raw outputs of any number of images, without gradients, float64 on the CPU."""
        self._fitted()
        images = self._at_size(images)
        with torch.no_grad():
            parts = [self(part.to(self.device)).cpu().double() for part in images.split(_BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self.head.out_features).double()

    def _parts(self, outputs: Tensor) -> list[tuple[Variable, Tensor]]:
        """Returns each target's outputs; a level that training never saw has probability zero."""
        sizes = [len(v.levels) if v.is_discrete else 1 for v in self.targets]
        parts = []
        for variable, out in zip(self.targets, outputs.split(sizes, dim=1), strict=True):
            if variable.is_discrete:
                known = torch.tensor(
                    [lev in self.observed[variable.name] for lev in variable.levels]
                )
                out = out.masked_fill(~known.to(out.device), -torch.inf)
            parts.append((variable, out))
        return parts

    def _loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Returns one loss per target (targets,), each a mean over images where it is known."""
        losses = []
        for i, (variable, out) in enumerate(self._parts(outputs)):
            label = labels[:, i].to(out.device)
            known = ~label.isnan()
            if variable.is_discrete:
                levels = [variable.levels.index(level) for level in self.observed[variable.name]]
                known = known & torch.isin(label, torch.tensor(levels, device=out.device).double())
            if not known.any():
                losses.append(out.sum() * 0.0)
            elif variable.is_discrete:
                losses.append(F.cross_entropy(out[known], label[known].long()))
            else:
                mean, std = self.observed[variable.name]
                target = ((label[known] - mean) / std).to(out.dtype)
                losses.append(F.mse_loss(out[known, 0], target))
        return torch.stack(losses)
