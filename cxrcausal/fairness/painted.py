"""The worlds of a study, painted once, as every classifier scores them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from cxrcausal.counterfactual.round_trip import RoundTrip, round_trip_error
from cxrcausal.errors import ImageError
from cxrcausal.fairness.estimates import Scores
from cxrcausal.fairness.read_back import ReadBack
from cxrcausal.fairness.study import Study
from cxrcausal.fairness.subject import Subject
from cxrcausal.fairness.worlds import Contrast, Worlds, imputed

__all__ = ["Painted"]


@final
class Painted:
    """A study's radiographs in other worlds: unknown parents drawn, and left unknown beside.

    Arguments:
        study: Who is asked.
        read_back: What reads protected attributes from a counterfactual, if anything does.
        seed: As `Worlds`; decides the drawn parents too.
        how: Further options of `Worlds`.

    Attributes:
        lost: Which radiographs did not come back from their own noise, (radiographs,) bool; they
            are asked nothing.
        imputed: How many cells were drawn, by variable.

    Raises:
        ImageError: If no radiograph comes back from its own noise.
        TableError: As `imputed`.
    """

    def __init__(
        self,
        study: Study,
        read_back: ReadBack | None = None,
        *,
        seed: int,
        **how: Any,  # noqa: ANN401
    ) -> None:
        self.study, self.read_back = study, read_back
        images, patients = study.radiographs.images, study.patients
        table = imputed(study.table, study.model, seed)
        drawn = study.table.isna() & table.notna()
        self.imputed = drawn.sum().loc[lambda count: count > 0]
        self.worlds = Worlds(study.model, images, table, patients, seed=seed, **how)
        error = round_trip_error(images, self.worlds.reconstruction)
        self.lost = error > RoundTrip(study.mechanism, study.model.graph).most(error, None)
        if self.lost.all():
            raise ImageError(
                f"none of the {len(self.lost)} radiographs comes back from its own noise: "
                "inverted, of another part of the body, or not as the model reads them"
            )
        self._drawn = drawn.any(axis=1).to_numpy() & ~self.lost
        self._number = np.cumsum(self._drawn) - 1  # of a radiograph among those of drawn parents
        self._unknown: Worlds | None = None
        if self._drawn.any():
            self._unknown = Worlds(
                study.model, images[torch.tensor(self._drawn)], study.table[self._drawn],
                patients[self._drawn], seed=seed, **how,
            )  # fmt: skip

    def scores(self, subjects: Sequence[Subject], asked: Sequence[Contrast]) -> list[list[Scores]]:
        """Returns each classifier's scores of the worlds of every contrast that can be asked.

        Arguments:
            subjects: The classifiers.
            asked: The contrasts, those of two attributes after those of each alone.
        """
        asked = [contrast.of(~self.lost) for contrast in asked]
        asked = [contrast for contrast in asked if len(contrast.rows)]
        found: list[list[Scores]] = [[] for _ in subjects]
        everyone, back = np.arange(len(self.lost)), self.worlds.reconstruction
        here = [self._shown(subject, everyone, back, back) for subject in subjects]
        for contrast in asked:
            for scores, one in zip(found, self._of(contrast, subjects, here), strict=True):
                scores.append(one)
        return [_with_parts(scores, asked) for scores in found]

    def _of(
        self, contrast: Contrast, subjects: Sequence[Subject], here: Sequence[np.ndarray]
    ) -> list[Scores]:
        """Returns each classifier's scores of one contrast, of reconstructions `here`."""
        rows, world = contrast.rows, self.worlds.of(contrast)
        before = self.worlds.reconstruction[torch.from_numpy(rows)]
        effective = self._effective(contrast, world.counterfactual)
        found = []
        for subject, score in zip(subjects, here, strict=True):
            there, back, placebo = (
                self._shown(subject, rows, image, before)
                for image in (world.counterfactual, world.back, world.placebo)
            )
            found.append(
                Scores(
                    contrast.attributes, contrast.origins, contrast.targets, rows,
                    subject.scores[rows], score[rows], there, back, placebo,
                    effective=effective,
                    label=subject.truth[rows], label_there=subject.truth_in(world.table, rows),
                )
            )  # fmt: skip
        return self._left_unknown(contrast, subjects, found)

    def _effective(self, contrast: Contrast, images: Tensor) -> np.ndarray | None:
        """Returns in which counterfactuals (rows,) every level that was set is read back.

        None if nothing reads them; a continuous attribute has no levels to be read.
        """
        parts = [part for part in contrast.parts if isinstance(part.do, str)]
        if self.read_back is None or not parts:
            return None
        scores = self.read_back.scores(images)
        shown = [self.read_back.shows(scores, part.attribute, part.target) for part in parts]
        return np.all(shown, axis=0)

    def _left_unknown(
        self, contrast: Contrast, subjects: Sequence[Subject], found: list[Scores]
    ) -> list[Scores]:
        """Returns scores that know their change where unknown parents were left unknown."""
        some = self._drawn[contrast.rows]
        if self._unknown is None or not some.any():
            return found
        inside = contrast.of(self._drawn)
        among = inside.among(self._number)
        _, image = self._unknown.counterfactual(among)
        before = self._unknown.reconstruction[torch.from_numpy(among.rows)]
        whole = []
        for subject, scores in zip(subjects, found, strict=True):
            change = scores.counterfactual - scores.reconstruction
            there, here = (
                self._shown(subject, inside.rows, painted, before) for painted in (image, before)
            )
            change[some] = there - here
            whole.append(dataclasses.replace(scores, unimputed=change))
        return whole

    def _shown(
        self, subject: Subject, rows: np.ndarray, painted: Tensor, reconstruction: Tensor
    ) -> np.ndarray:
        return self.study.radiographs.scores(subject.scorer, rows, painted, reconstruction)


def _with_parts(found: Sequence[Scores], asked: Sequence[Contrast]) -> list[Scores]:
    """Returns scores in which two attributes at once know what each does alone."""
    by_part = {(s.attribute, s.origin, s.target): s for s in found}
    whole = []
    for scores, contrast in zip(found, asked, strict=True):
        if contrast.also is not None:
            alone = [by_part[p.attribute, p.origin, p.target] for p in contrast.parts]
            values = [s.counterfactual[np.searchsorted(s.rows, scores.rows)] for s in alone]
            scores = dataclasses.replace(scores, alone=np.stack(values))
        whole.append(scores)
    return whole
