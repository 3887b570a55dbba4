r"""Is it still the same patient? An embedding that tells patients apart, trained to do just that.

Patients are radiographed again and again: an embedding is trained to bring two radiographs of one
patient together and those of different patients apart (contrastive, the other patients of a batch
are what to keep away from). A counterfactual should stay nearer to the *other* radiographs of its
own patient than to those of anybody else, as real radiographs do; sex and age are part of what
tells patients apart, so changing them costs something even where all else is kept.

References:
    | Representation Learning with Contrastive Predictive Coding (van den Oord et al., 2018;
    | the loss), https://arxiv.org/abs/1807.03748
    | Supervised Contrastive Learning (Khosla et al., 2020), https://arxiv.org/abs/2004.11362
    | Deep learning-based patient re-identification is able to exploit the biometric nature of
    | medical chest X-ray data (Packhäuser et al., 2022), https://arxiv.org/abs/2103.08562
"""

import logging
import math
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxrcausal.bootstrap import Interval, PatientBootstrap, weighted_mean
from cxrcausal.checkpoint import entry, read_record, read_tensors, write_checkpoint
from cxrcausal.errors import CheckpointError, CxrCausalError, ImageError, TableError
from cxrcausal.evaluation.network import block_mean, build_network
from cxrcausal.evaluation.predictor import AUGMENTATION
from cxrcausal.evaluation.question import Question
from cxrcausal.gradients import with_gradients
from cxrcausal.shapes import Features, Image
from cxrcausal.training import Augmentation, Engine, augment

__all__ = ["Identity", "IdentityEmbedding"]

logger = logging.getLogger("cxrcausal")

FORMAT_VERSION = 1

_BATCH = 256
_TEMPERATURE = 0.1
_PAIRS = 4  # of one patient per epoch, at most: some have a hundred radiographs


@final
class IdentityEmbedding(nn.Module):
    """Maps radiographs to the unit sphere, those of one patient near one another.

    Arguments:
        size: Side of the images, a multiple of 16; larger ones are averaged over blocks.
        channels: Their channels.
        width: Channels of the first stage of its residual network.
        dimensions: Of the embedding.
        seed: Weights, pairs and augmentation are functions of it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: int = 64,
        channels: int = 1,
        width: int = 16,
        dimensions: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.size, self.channels, self.width = size, channels, width
        self.dimensions, self.seed = dimensions, seed
        self.history: list[dict[str, float]] = []
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build_network("residual", size, channels, width)
            self.head = nn.Linear(self.network.features, dimensions)

    def forward(self, images: Image) -> Features:
        """Returns points on the unit sphere, (batch, dimensions)."""
        return F.normalize(self.head(self.network((images - self.mean) / self.std)), dim=1)

    def embed(self, images: Image) -> Features:
        """Returns the points of any number of images, without gradients."""
        images = block_mean(images, self.size)
        with torch.no_grad():
            parts = [self(part) for part in images.split(_BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, self.dimensions)

    @with_gradients
    def fit(
        self,
        images: Image,
        table: pd.DataFrame,
        *,
        validation: np.ndarray,
        groups: str = "patient_id",
        epochs: int = 60,
        patients_per_step: int = 64,
        learning_rate: float = 2e-3,
        augmentation: Augmentation | None = AUGMENTATION,
    ) -> "IdentityEmbedding":
        """Trains on pairs of radiographs of one patient; returns itself.

        Kept are the weights with the lowest loss on the validation patients' pairs.

        Arguments:
            images: (images, channel, height, width), in [0, 1].
            table: Their metadata, row by row; only the patients are looked at.
            validation: Radiographs of the patients that choose the epoch, (images,) bool.
            groups: The column of patients.
            epochs: Passes over the patients.
            patients_per_step: How many patients are told apart at once.
            learning_rate: Peak rate of AdamW; a warm-up, then a cosine to zero.
            augmentation: How radiographs are changed in training; None for not at all.

        Raises:
            ImageError: If it is fitted already.
            TableError: If fewer than two patients have two radiographs, on either side.
        """
        if self.history:
            raise ImageError("this embedding is fitted; make another to fit it again")
        images = block_mean(images, self.size)
        visits = _visits(table[groups].to_numpy(object), ~validation)
        checked = _visits(table[groups].to_numpy(object), validation)
        self.mean.fill_(float(images[~torch.from_numpy(validation)].mean()))
        self.std.fill_(float(images[~torch.from_numpy(validation)].std()))
        draws = np.random.default_rng(self.seed)
        stop = _steps(checked, patients_per_step, np.random.default_rng(self.seed))
        per_epoch = len(_steps(visits, patients_per_step, np.random.default_rng(self.seed)))
        engine = self._engine(learning_rate, epochs * per_epoch)
        best, best_loss = self.state_dict(), math.inf
        for epoch in range(epochs):
            generator = torch.Generator().manual_seed((self.seed << 32) + epoch)
            self.train()
            for rows in _steps(visits, patients_per_step, draws):
                x = images[torch.from_numpy(rows.T.flatten())]
                if augmentation is not None:
                    x = augment(x, augmentation, generator)
                engine.step(_contrast(*self(x).chunk(2)))
            with engine.averaged(), torch.no_grad():
                losses = [
                    float(_contrast(*(self.embed(images[torch.from_numpy(r)]) for r in rows.T)))
                    for rows in stop
                ]
                loss = float(np.mean(losses))
                if loss < best_loss:
                    best = {k: v.clone() for k, v in self.state_dict().items()}
            best_loss = min(best_loss, loss)
            self.history.append({"epoch": epoch, "validation_loss": loss})
        self.load_state_dict(best)
        logger.info("identity: best validation loss %.4f of %d epochs", best_loss, epochs)
        return self.eval()

    def save(self, folder: str | Path) -> Path:
        """Writes `identity.safetensors` and `identity.json` into `folder`, and returns it."""
        names = ("size", "channels", "width", "dimensions", "seed")
        arguments = {name: getattr(self, name) for name in names}
        record = {
            "format_version": FORMAT_VERSION,
            "kind": "IdentityEmbedding",
            "arguments": arguments,
            "history": self.history,
        }
        return write_checkpoint(folder, "identity", record, self.state_dict())

    @classmethod
    def load(cls, folder: str | Path) -> "IdentityEmbedding":
        """Returns the embedding that `save` wrote.

        Raises:
            CheckpointError: If a file is absent, damaged, or of another format.
        """
        file = Path(folder) / "identity.json"
        if not file.is_file():
            raise CheckpointError(f"{folder} holds no embedding of identity: {file} is absent")
        record = read_record(file, FORMAT_VERSION, "IdentityEmbedding")
        weights = read_tensors(file.with_suffix(".safetensors"), record)
        try:
            embedding = cls(**entry(file, record, "arguments", dict))
            embedding.history = entry(file, record, "history", list)
            embedding.load_state_dict(weights)
        except (CxrCausalError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"the embedding in {folder} is damaged: {error}") from error
        return embedding.eval()

    def _engine(self, learning_rate: float, steps: int) -> Engine:
        optimiser = torch.optim.AdamW(self.parameters(), lr=learning_rate, weight_decay=0.05)
        warm = min(50, steps // 10 + 1)

        def rate(step: int) -> float:
            falling = (1 + math.cos(math.pi * step / steps)) / 2
            return learning_rate * min((step + 1) / warm, falling)

        return Engine(self, optimiser, rate, decay=0.98, clip_norm=1.0)


@final
class Identity:
    """Measures whether images stay their patient's, one more reader of `soundness`.

    Every image is held against all radiographs but its own original: those of its patient should
    be nearer than those of others.

    Arguments:
        embedding: Fitted on other patients.
        images: The radiographs.
        table: Their metadata, row by row.
        groups: The column of patients.
    """

    def __init__(
        self,
        embedding: IdentityEmbedding,
        images: Image,
        table: pd.DataFrame,
        groups: str = "patient_id",
    ) -> None:
        self.embedding = embedding
        self.codes = pd.factorize(table[groups])[0]
        self.points = embedding.embed(images)

    def measure(
        self, question: Question, world: Image, bootstrap: PatientBootstrap
    ) -> dict[str, Interval]:
        """Returns `identity AUC` and `identity rank-1` of some images, and of their originals.

        Arguments:
            question: Of which radiographs it was asked; those of patients with one alone are
                not looked at.
            world: The counterfactuals (images, channel, height, width).
            bootstrap: The patients of all radiographs.

        Returns:
            The AUC with which nearness tells a patient's other radiographs from those of others,
            and the share of images whose nearest radiograph is their patient's; `real ...` is
            the same of the original radiographs.
        """
        at = np.flatnonzero(~np.isnan(question.asked))
        answers = self.embedding.embed(world[torch.from_numpy(at)])
        out: dict[str, Interval] = {}
        for prefix, points in (("", answers), ("real ", self.points[torch.from_numpy(at)])):
            for name, values in zip(("AUC", "rank-1"), self.nearness(points, at), strict=True):
                whole = np.full(len(self.codes), np.nan)
                whole[at] = values
                out[f"{prefix}identity {name}"] = bootstrap.interval(weighted_mean(whole))
        return out

    def nearness(self, points: Features, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns AUC and rank-1 (0 or 1) of each point, (points,) each; NaN without company.

        Arguments:
            points: Of the images, on the unit sphere.
            at: Which radiograph each was made from, (points,).
        """
        near = (points @ self.points.T).double().numpy()
        auc, first = np.full(len(at), np.nan), np.full(len(at), np.nan)
        for i, row in enumerate(at):
            own = self.codes == self.codes[row]
            other = near[i, ~own]
            own[row] = False
            if own.any() and len(other):
                below = np.searchsorted(np.sort(other), near[i, own], side="left")
                auc[i] = below.mean() / len(other)
                first[i] = near[i, own].max() > other.max()
        return auc, first


def _visits(patients: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of each patient who has two at least."""
    chosen = np.flatnonzero(rows)
    groups = pd.Series(chosen).groupby(pd.factorize(patients[chosen])[0]).agg(list)
    visits = [np.array(group) for group in groups if len(group) > 1]
    if len(visits) < 2:
        raise TableError(
            f"{len(visits)} patients have two radiographs among {len(chosen)}; it takes two "
            "patients to tell them apart"
        )
    return visits


def _steps(visits: list[np.ndarray], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns pairs of rows (pairs, 2) of one patient each, by step; no patient twice in a step.

    A patient who is there twice would be set against himself.
    """
    rounds: list[list[np.ndarray]] = [[] for _ in range(_PAIRS)]
    for rows in visits:
        shuffled = rng.permutation(rows)
        for i in range(min(len(rows) // 2, _PAIRS)):
            rounds[i].append(shuffled[2 * i : 2 * i + 2])
    steps = []
    for pairs in rounds:
        mixed = rng.permutation(np.array(pairs).reshape(-1, 2))
        steps += np.split(mixed, range(size, len(mixed), size))
    return [pairs for pairs in steps if len(pairs) > 1]


def _contrast(first: Features, second: Features) -> Tensor:
    """Returns the contrastive loss (InfoNCE, both ways) of pairs of points."""
    logits = first @ second.T / _TEMPERATURE
    which = torch.arange(len(logits))
    return (F.cross_entropy(logits, which) + F.cross_entropy(logits.T, which)) / 2
