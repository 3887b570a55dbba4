r"""By which causal path does a score follow a protected attribute: directly, by mediators, or not?

For patients with :math:`A = a` and the other level :math:`a'`, with :math:`\hat y` the score of a
radiograph and :math:`W` the mediators, which descend from the attribute and are seen in it,

.. math::
    E[\hat y \mid a'] - E[\hat y \mid a] &= \mathrm{DE} + \sum_k \mathrm{IE}_k + \mathrm{SE} \\
    \mathrm{DE} &= E[\hat y_{a', W_a} - \hat y_a \mid a] \\
    \mathrm{IE}_k &= E[\hat y_{a', W^{\le k}_{a'}, W^{> k}_a}
        - \hat y_{a', W^{< k}_{a'}, W^{\ge k}_a} \mid a] \\
    \mathrm{SE} &= E[\hat y \mid a'] - E[\hat y_{a'} \mid a].

The direct part changes the attribute in the radiograph alone, as an audit does. Mediators follow
kind by kind (findings, devices, acquisition), on top of what was changed before, so that the parts
add up to the total effect; beside it stands each kind *alone*, the attribute's own appearance and
all other mediators held: where the two differ, paths interact, and the order matters. A part
belongs to the variable by which the change arrives in the radiograph: a drain that is there
because of an effusion counts as a device.

All of it is in the scores of reconstructions, so that it adds up exactly; what the scores of the
radiographs as they are have more, the mechanism's error of the round trip, is a line of its own.
(Where a change is carried over to finer radiographs, those are their own reconstruction, and that
line is 0.) Parents that are unknown are drawn first, given the known cells, and held at that.

Only the attribute counts as set where guidance is given; mediators count as its descendants. What
guidance adds to the total effect beyond the mechanism's own, the spurious part lacks: these add up
to what is observed. `guidance=None` asks for the mechanism's own.

References:
    | Fairness in Decision-Making: The Causal Explanation Formula
    | (Zhang and Bareinboim, 2018), https://doi.org/10.1609/aaai.v32i1.11564
    | Causal Fairness Analysis
    | (Plecko and Bareinboim, 2022), https://arxiv.org/abs/2207.11385
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.bootstrap import PatientBootstrap
from cxrcausal.counterfactual.arguments import check_count
from cxrcausal.counterfactual.round_trip import RoundTrip, round_trip_error
from cxrcausal.errors import ImageError, TableError, summarise
from cxrcausal.evaluation.axioms import paint
from cxrcausal.fairness.classifier import Classifier
from cxrcausal.fairness.path_claims import Paths
from cxrcausal.fairness.path_decomposition import PathDecomposition
from cxrcausal.fairness.path_metadata import ctf_table, mediator_bounds
from cxrcausal.fairness.path_parts import ByPath, Parts
from cxrcausal.fairness.radiographs import Columns, Given
from cxrcausal.fairness.study import Study, study_of
from cxrcausal.fairness.subject import Subject, subjects_of
from cxrcausal.fairness.worlds import Contrast, Worlds, contrasts, imputed
from cxrcausal.scm.table import check_table
from cxrcausal.shapes import Image
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel
    from cxrcausal.image.guidance import Guidance

__all__ = ["decompose"]


def decompose(
    classifier: Classifier | Mapping[str, Classifier],
    model: "CounterfactualModel",
    images: Given,
    table: pd.DataFrame | str | os.PathLike,
    protected: Sequence[str] | str = ("sex",),
    *,
    columns: Columns | None = None,
    resolution: int | None = None,
    outputs: Sequence[str] | None = None,
    steps: Mapping[str, float] | None = None,
    guidance: "Guidance | Literal['recommended'] | None" = "recommended",
    metadata: bool = True,
    groups: str = "patient_id",
    resamples: int = 2000,
    confidence: float = 0.95,
    batch_size: int = 64,
    seed: int = 0,
) -> PathDecomposition:
    """Returns the difference of a score between groups, split by the causal path that carries it.

    Where the graph lets a part be nothing but zero, or hidden causes leave it to the model, its
    line says so. Parents of the image that are unknown are drawn first, given the known cells.
    Radiographs that do not come back from their own noise are counted and left out.

    Arguments:
        classifier: A module or a function from radiographs to scores; or several by name, which
            answer for the same radiographs.
        model: The joint model.
        images: Radiographs in [0, 1], (batch, channel, height, width), squares of the model's size
            or larger; or a DataLoader, a folder or files of them.
        table: Their metadata, row by row, or a file of them.
        protected: The attributes, or one. Groups of a continuous attribute are not compared, so
            it has direct and indirect parts only.
        columns: Which column of the table is what, as `audit` takes it.
        resolution: The side of the square that the classifier is given, where files are read, as
            `audit` takes it.
        outputs: Names of the classifier's outputs, if it does not give a table.
        steps: By how much continuous attributes are moved, up and down; age by 20 years.
        guidance: How strongly changes are imposed on the radiograph; the recipe's if left out.
            Parts of unguided radiographs (None) are those of the mechanism.
        metadata: Whether the same parts are asked of the metadata too, of each finding that an
            output is named after, and bounds of the mediators. Both are of all rows.
        groups: The column of patients; every radiograph is a patient if the table has none.
        resamples: Resamples of patients, the same for every part.
        confidence: The probability that an interval holds.
        batch_size: Radiographs at a time.
        seed: Makes the answer a function of it.

    Raises:
        ImageError: If images or scores are not as they should be.
        InterventionError: If an attribute is no parent of the image.
        UnobservedError: If the image mechanism or the SCM never observed it.
        OptionError: If an option is not usable.
        TableError: If the table holds what the graph does not allow, or no row can be asked.
    """
    protected = (protected,) if isinstance(protected, str) else tuple(protected)
    check_count(batch_size, "batch_size")
    study = study_of(model, images, table, columns=columns, resolution=resolution, groups=groups)
    if guidance == "recommended":
        guidance = study.mechanism.guidance
    asked = contrasts(study.table, model, protected, steps or {})
    if not asked:
        raise TableError(
            f"in none of {len(study.table)} rows is {summarise(protected)} known, so nothing can "
            "be set to another level"
        )
    how = {"resamples": resamples, "confidence": confidence, "seed": seed}
    bootstrap = PatientBootstrap(study.patients, **how)  # type: ignore[arg-type]
    guided = guidance is not None and guidance.form != "none"
    paths = {name: Paths(model, name, guided=guided) for name in protected}
    # What is wrong with a classifier or with what is set is said before anything is painted.
    subjects = subjects_of(
        classifier, study, outputs=outputs, labels=None, thresholds=0.5, batch_size=batch_size
    )
    drawn = imputed(study.table, model, seed)
    follows = [_followed(model, drawn, contrast, seed) for contrast in asked]
    named = tuple(dict.fromkeys(output for one in subjects for output in one.outputs))
    who = {"groups": groups if groups in study.table.columns else None, **how}
    of_metadata = ctf_table(model.scm, study.table, asked, named if metadata else (), who)
    bounds = mediator_bounds(model.scm, study.table, asked if metadata else (), paths, who)
    painter = _Painter(
        study, subjects, drawn, path="total", guidance=guidance, batch_size=batch_size, seed=seed
    )
    lines = [
        line
        for contrast, after in zip(asked, follows, strict=True)
        for line in painter.parts(contrast, after, paths[contrast.attribute], bootstrap)
    ]
    if not lines:
        raise ImageError(
            f"none of the {len(painter.lost)} radiographs that could be asked comes back from its "
            "own noise: inverted, of another part of the body, or not as the model reads them"
        )
    return PathDecomposition(
        parts=pd.DataFrame(lines),
        metadata=of_metadata,
        bounds=bounds,
        not_reconstructed=pd.Series(painter.lost, study.given.index, name="not_reconstructed"),
        provenance={
            "version": __version__,
            "model": model.name,
            "graph": model.graph.fingerprint,
            "image": dict(study.mechanism.describe(None)),
            "guidance": None if guidance is None else repr(guidance),
            "guided": guided,
            "protected": list(protected),
            "radiographs": len(study.table),
            "patients": bootstrap.patients,
            "not_reconstructed": int(painter.lost.sum()),
            "pixels": {
                "model": study.mechanism.image_shape[-1],
                "classifier": study.radiographs.given.shape[-1],
            },
            "clipped_share": study.radiographs.clipped,
            **how,
        },
    )


def _followed(
    model: "CounterfactualModel", table: pd.DataFrame, contrast: Contrast, seed: int
) -> Tensor:
    """Returns the parents (rows, attributes) as they follow where the attribute is set."""
    assert model.image is not None
    rows = check_table(table, model.graph, ()).iloc[contrast.rows]
    do = {contrast.attribute: contrast.do}
    there = model.counterfactual(None, rows, do, seed=seed, metadata_only=True).table
    return model.image.encode(there)[0]


def _of_level(table: pd.DataFrame, contrast: Contrast) -> np.ndarray:
    """Returns which rows (rows,) have the other level; none of a continuous attribute."""
    if not isinstance(contrast.do, str):
        return np.zeros(len(table), bool)
    return (table[contrast.attribute].astype(object) == contrast.target).to_numpy(bool)


@final
class _Painter:
    """Paints radiographs with some parents changed, and scores them.

    Arguments:
        study: Who is asked.
        subjects: The classifiers.
        table: The metadata, unknown parents drawn.
        how: The options of `Worlds`.

    Attributes:
        lost: Which radiographs did not come back from their own noise, (radiographs,) bool.
        base: The scores (radiographs, outputs) of the reconstructions, by classifier.
    """

    def __init__(
        self,
        study: Study,
        subjects: Sequence[Subject],
        table: pd.DataFrame,
        **how: Any,  # noqa: ANN401
    ) -> None:
        images = study.radiographs.images
        self.study, self.subjects = study, subjects
        self.worlds = Worlds(study.model, images, table, study.patients, **how)
        back = self.worlds.reconstruction
        error = round_trip_error(images, back)
        self.lost = error > RoundTrip(study.mechanism, study.model.graph).most(error, None)
        self.base = [self._shown(one, np.arange(len(back)), back) for one in subjects]

    def parts(
        self, contrast: Contrast, after: Tensor, paths: Paths, bootstrap: PatientBootstrap
    ) -> Iterator[dict[str, Any]]:
        """Yields the parts of a contrast for every output of every classifier, a line each.

        Arguments:
            contrast: What is asked.
            after: The parents in the other world, (rows of the contrast, attributes).
            paths: The mediators.
            bootstrap: Of all radiographs.
        """
        others = _of_level(self.study.table, contrast) & ~self.lost
        after = after[torch.from_numpy(~self.lost[contrast.rows])]
        contrast = contrast.of(~self.lost)
        if not len(contrast.rows):
            return
        found = self.by_path(contrast, after, paths.by_kind)
        parts = Parts(contrast, others, found, paths, bootstrap)
        for number, subject in enumerate(self.subjects):
            for column, output in enumerate(subject.outputs):
                scores = subject.scores[:, column], self.base[number][:, column]
                for line in parts.lines(number, column, *scores):
                    yield {"classifier": subject.name, "output": output, **line}

    def by_path(
        self, contrast: Contrast, after: Tensor, kinds: Mapping[str, Sequence[str]]
    ) -> ByPath:
        """Returns the scores where the attribute changes, and kind by kind what follows.

        Arguments:
            contrast: What is asked, of radiographs that come back from their noise.
            after: The parents in the other world, (rows, attributes).
            kinds: The mediators of each kind, in order.
        """
        rows, names = contrast.rows, self.worlds.names
        before = self.worlds.parents[torch.from_numpy(rows)]
        nothing = torch.zeros_like(before, dtype=torch.bool)
        own = [names.index(contrast.attribute)]
        was_set = nothing.clone()
        was_set[:, own] = True
        here = [scores[rows] for scores in self.base]
        now = _with(before, after, own)
        steps = [self._scores(rows, now, was_set, was_set.any(1), here)]
        alone, changed, unknown = {}, {}, {}
        for kind, mediators in kinds.items():
            at = [names.index(name) for name in mediators]
            moved = _differ(before[:, at], after[:, at])
            now = _with(now, after, at)
            steps.append(self._scores(rows, now, was_set, moved, steps[-1]))
            only = _with(before, after, at)
            alone[kind] = self._scores(rows, only, nothing, moved, here)
            changed[kind] = float(moved.double().mean())
            cells = self.study.table[list(mediators)].iloc[rows]
            unknown[kind] = float(cells.isna().any(axis=1).mean())
        return ByPath(steps, alone, changed, unknown)

    def _scores(
        self,
        rows: np.ndarray,
        parents: Tensor,
        was_set: Tensor,
        moved: Tensor,
        otherwise: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Returns each classifier's scores under these parents; where nothing moved, the former.

        The same noise under the same parents is the same radiograph, so it is not painted again.
        """
        scores = [before.copy() for before in otherwise]
        if bool(moved.any()):
            worlds, some = self.worlds, rows[moved.numpy()]
            at = torch.from_numpy(some)
            images = paint(
                worlds.mechanism, worlds.noise[at], worlds.parents[at], parents[moved],
                was_set[moved], worlds.guidance, batch_size=worlds.batch_size,
            ).clamp(0, 1)  # fmt: skip
            for found, subject in zip(scores, self.subjects, strict=True):
                found[moved.numpy()] = self._shown(subject, some, images)
        return scores

    def _shown(self, subject: Subject, rows: np.ndarray, images: Image) -> np.ndarray:
        """Returns a classifier's scores of what was painted of some radiographs."""
        back = self.worlds.reconstruction[torch.from_numpy(rows)]
        return self.study.radiographs.scores(subject.scorer, rows, images, back)


def _with(parents: Tensor, others: Tensor, columns: Sequence[int]) -> Tensor:
    """Returns the parents with some columns of others."""
    parents = parents.clone()
    parents[:, columns] = others[:, columns]
    return parents


def _differ(one: Tensor, other: Tensor) -> Tensor:
    """Returns in which rows (rows,) two tables of parents differ; unknown is unknown."""
    return ~((one == other) | (one.isnan() & other.isnan())).all(1)
