"""The radiographs of an audit: each patient in the worlds where a protected attribute differs.

For every level that an attribute could have had instead, a radiograph is painted from the
patient's own noise. Three controls stand beside it, so that what generation does by itself is not
taken for the classifier's:

- *reconstruction*: abducted and painted under the factual parents, unguided;
- *there and back*: the counterfactual is abducted in its own world and the attribute set back, by
  the same guidance: nothing but the artefacts of two interventions is left;
- *placebo*: the difference of another patient, of random sign, scaled to the norm of one's own and
  added to the reconstruction: as large a change, but not one's own.

Two questions: the *direct* effect in the image, where findings, devices and view are held, and the
*total* effect, where the metadata that descend from the attribute follow as the SCM says.

A parent that is unknown is not held: painted from a parent that nobody knows, a radiograph changes
with the attribute as those do in which that parent changes too. `imputed` draws it first.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.errors import InterventionError, UnobservedError, nearest, summarise
from cxrcausal.evaluation.axioms import paint
from cxrcausal.graph import Variable
from cxrcausal.image.guidance import Guidance
from cxrcausal.randomness import as_seed
from cxrcausal.scm import Shift, shift
from cxrcausal.scm.table import check_table
from cxrcausal.shapes import Attributes, Image, Noise

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["Contrast", "Path", "World", "Worlds", "contrasts", "imputed", "pairs"]

Path = Literal["direct", "total"]


@final
@dataclass(frozen=True)
class Contrast:
    """Two values of a protected attribute: what is, and what might have been.

    Arguments:
        attribute: The protected attribute.
        origin: Its level in this world; of a continuous attribute "as it is".
        target: Its level in the other world, or a change, as "+20".
        rows: Which radiographs are asked, numbers.
        values: What the attribute is set to in each of them.
        do: The same as an intervention: a level, or a shift.
        also: What else is changed with it in the same radiographs, if anything is.
    """

    attribute: str
    origin: str
    target: str
    rows: np.ndarray
    values: np.ndarray
    do: str | Shift
    also: "Contrast | None" = None

    @property
    def parts(self) -> tuple["Contrast", ...]:
        """The attributes that are changed, one by one."""
        return (self,) if self.also is None else (self, *self.also.parts)

    @property
    def attributes(self) -> str:
        """What is changed: `sex`, or `sex, age`."""
        return ", ".join(part.attribute for part in self.parts)

    @property
    def origins(self) -> str:
        """The levels in this world: `Female`, or `Female, as it is`."""
        return ", ".join(part.origin for part in self.parts)

    @property
    def targets(self) -> str:
        """The levels in the other world: `Male`, or `Male, +20`."""
        return ", ".join(part.target for part in self.parts)

    @property
    def label(self) -> str:
        """How a reader is shown it: `sex: Female → Male`."""
        return f"{self.attributes}: {self.origins} → {self.targets}"

    def of(self, kept: np.ndarray) -> "Contrast":
        """Returns the contrast in those of its radiographs that are kept, (all radiographs,)."""
        here = kept[self.rows]
        also = None if self.also is None else self.also.of(kept)
        return dataclasses.replace(self, rows=self.rows[here], values=self.values[here], also=also)

    def among(self, number: np.ndarray) -> "Contrast":
        """Returns the contrast with its radiographs numbered anew, (all radiographs,) int."""
        also = None if self.also is None else self.also.among(number)
        return dataclasses.replace(self, rows=number[self.rows], also=also)

    def both(self, other: "Contrast") -> "Contrast":
        """Returns the contrast of both attributes at once, where both can be asked."""
        rows = np.intersect1d(self.rows, other.rows)
        kept = np.zeros(max(self.rows.max(), other.rows.max()) + 1, bool)
        kept[rows] = True
        return dataclasses.replace(self.of(kept), also=other.of(kept))


@final
@dataclass(frozen=True)
class World:
    """The radiographs of one contrast, row by row of `contrast.rows`.

    Arguments:
        contrast: What was asked.
        table: The metadata of that world.
        counterfactual: With the attribute set.
        back: With the attribute set, and set back.
        placebo: With another patient's difference.
    """

    contrast: Contrast
    table: pd.DataFrame
    counterfactual: Image
    back: Image
    placebo: Image


def contrasts(
    table: pd.DataFrame,
    model: "CounterfactualModel",
    protected: Sequence[str],
    steps: Mapping[str, float],
) -> list[Contrast]:
    """Returns every contrast of the protected attributes that some radiograph can be asked.

    Arguments:
        table: Metadata in the graph's columns.
        model: Whose image mechanism says what it has observed.
        protected: The attributes.
        steps: By how much continuous ones are moved, up and down, in their own unit; age by 20
            years if left out.

    Raises:
        InterventionError: If an attribute is no parent of the image, a continuous one has no
            step, or a step is 0 or of nothing that is asked.
        UnobservedError: If the image mechanism never observed it.
    """
    assert model.image is not None
    parents = {variable.name: variable for variable in model.image.attributes}
    for name, step in steps.items():
        if name not in protected:
            raise InterventionError(
                f"a step is given of {name!r}{nearest(name, protected) or '.'} What is asked is: "
                f"{summarise(protected, 20)}"
            )
        if not isinstance(step, Real) or not math.isfinite(step) or step == 0:
            raise InterventionError(f"the step of {name!r} is {step!r}; give a number beside 0")
    steps = {"age": 20.0, **steps}
    found = []
    for name in protected:
        if name not in parents:
            raise InterventionError(
                f"protected attribute {name!r} is not a parent of the image"
                f"{nearest(name, parents) or '.'} Its parents are: {summarise(parents, 20)}"
            )
        known = model.image.observed.get(name)
        if not known or (parents[name].is_discrete and len(known) < 2):
            raise UnobservedError(
                f"the image mechanism never observed {name!r} vary (it saw {known or 'nothing'}), "
                f"so it cannot paint what would be different; leave it out of `protected`"
            )
        if parents[name].is_discrete:
            found += [*_of_levels(table, parents[name], known)]
        else:
            found += [*_of_steps(table, parents[name], known, steps)]
    return found


def _of_levels(
    table: pd.DataFrame, variable: Variable, known: Sequence[str]
) -> Iterator[Contrast]:
    values = table[variable.name].astype(object)
    for origin in known:
        rows = np.flatnonzero((values == origin).to_numpy())
        for target in known:
            if target != origin and len(rows):
                to = np.full(len(rows), target, object)
                yield Contrast(variable.name, origin, target, rows, to, target)


def _of_steps(
    table: pd.DataFrame, variable: Variable, within: Sequence[float], steps: Mapping[str, float]
) -> Iterator[Contrast]:
    if variable.name not in steps:
        raise InterventionError(
            f"protected attribute {variable.name!r} is continuous; say by how much it is moved, "
            f"as steps={{{variable.name!r}: 20}}"
        )
    values = table[variable.name].to_numpy(float)
    for step in (abs(steps[variable.name]), -abs(steps[variable.name])):
        rows = np.flatnonzero((values + step >= within[0]) & (values + step <= within[1]))
        if len(rows):
            to = values[rows] + step
            yield Contrast(variable.name, "as it is", f"{step:+g}", rows, to, shift(step))


def pairs(found: Sequence[Contrast], asked: Sequence[tuple[str, str]]) -> list[Contrast]:
    """Returns every contrast of two attributes at once that some radiograph can be asked.

    Arguments:
        found: The contrasts of each attribute alone.
        asked: Which two.
    """
    both = [
        one.both(other)
        for first, second in asked
        for one in found
        for other in found
        if (one.attribute, other.attribute) == (first, second)
    ]
    return [contrast for contrast in both if len(contrast.rows)]


def imputed(table: pd.DataFrame, model: "CounterfactualModel", seed: int) -> pd.DataFrame:
    """Returns metadata in which unknown parents of the image are drawn, given the known cells.

    A draw from the SCM's posterior, which does not look at the radiograph. What the image
    mechanism never observed vary stays unknown: it paints nothing by it.

    Arguments:
        table: Metadata in the graph's columns, under row labels that are unique.
        model: The joint model.
        seed: Decides the draws, with the row's label.

    Raises:
        TableError: If unknown cells are too many for their joint posterior.
    """
    assert model.image is not None
    observed = model.image.observed
    names = [v.name for v in model.image.attributes if len(observed.get(v.name) or ()) > 1]
    unknown = table[names].isna()
    some = unknown.any(axis=1)
    if not some.any():
        return table
    drawn = model.scm.counterfactual(table[some], None, seed=seed, impute=True, progress=False)
    filled = table.copy()
    for name in names:
        filled.loc[some, name] = table.loc[some, name].where(~unknown.loc[some, name], drawn[name])
    return filled


@final
class Worlds:
    """Paints the worlds of one set of radiographs, from noise that is abducted once.

    Arguments:
        model: The joint model.
        images: The radiographs in [0, 1].
        table: Their metadata.
        patients: The patient of each.
        path: `direct` or `total`.
        guidance: As `CounterfactualModel.counterfactual` takes it.
        batch_size: Radiographs at a time.
        seed: Of the other patients of placebos, and of what the data leave undecided.
    """

    def __init__(
        self,
        model: "CounterfactualModel",
        images: Image,
        table: pd.DataFrame,
        patients: np.ndarray,
        *,
        path: Path,
        guidance: Guidance | None,
        batch_size: int,
        seed: int,
    ) -> None:
        assert model.image is not None
        self.model, self.mechanism, self.path = model, model.image, path
        self.guidance = guidance or Guidance("none")
        self.batch_size, self.seed, self.patients = batch_size, seed, patients
        self.table = check_table(table, model.graph, ())
        self.parents = self.mechanism.encode(self.table)[0]
        self.names = [variable.name for variable in self.mechanism.attributes]
        self.noise = self._abduct(images, self.parents)
        nothing = torch.zeros_like(self.parents, dtype=torch.bool)
        self.reconstruction = self._paint(self.noise, self.parents, self.parents, nothing)

    def of(self, contrast: Contrast) -> World:
        """Returns the radiographs of a contrast and of its controls."""
        table, other = self.counterfactual(contrast)
        before, was_set = self._before(contrast)
        after = self.mechanism.encode(table)[0]
        back = self._paint(self._abduct(other, after), after, before, was_set)
        here = self.reconstruction[torch.from_numpy(contrast.rows)]
        placebo = self._placebo(here, other, self.patients[contrast.rows])
        return World(contrast, table, other, back, placebo)

    def counterfactual(self, contrast: Contrast) -> tuple[pd.DataFrame, Image]:
        """Returns the metadata and the radiographs of a contrast's other world."""
        table = self._metadata(contrast)
        before, was_set = self._before(contrast)
        noise = self.noise[torch.from_numpy(contrast.rows)]
        return table, self._paint(noise, before, self.mechanism.encode(table)[0], was_set)

    def _before(self, contrast: Contrast) -> tuple[Attributes, Tensor]:
        """Returns the parents of a contrast's radiographs, and which of them are set."""
        before = self.parents[torch.from_numpy(contrast.rows)]
        was_set = torch.zeros_like(before, dtype=torch.bool)
        for part in contrast.parts:
            was_set[:, self.names.index(part.attribute)] = True
        return before, was_set

    def _metadata(self, contrast: Contrast) -> pd.DataFrame:
        """Returns the metadata of the other world: the attribute alone, or what follows too."""
        table = self.table.iloc[contrast.rows]
        if self.path == "direct":
            table = table.assign(**{part.attribute: part.values for part in contrast.parts})
            return check_table(table, self.model.graph, ())
        do = {part.attribute: part.do for part in contrast.parts}
        return self.model.counterfactual(None, table, do, seed=self.seed, metadata_only=True).table

    def _placebo(self, reconstruction: Image, other: Image, patients: np.ndarray) -> Image:
        """Returns the reconstruction with the difference of another patient, of any sign."""
        rng = np.random.default_rng(as_seed(self.seed) % 2**64)
        taken = torch.from_numpy(_others(patients, rng))
        difference = (other - reconstruction).flatten(1)
        size = difference.norm(dim=1)
        scale = size / size[taken].clamp(min=1e-12)
        sign = torch.from_numpy(rng.choice([-1.0, 1.0], len(other))).float()
        moved = (scale * sign)[:, None] * difference[taken]
        return (reconstruction + moved.view_as(reconstruction)).clamp(0, 1)

    def _abduct(self, images: Image, parents: Attributes) -> Noise:
        return self.mechanism.abduct(images, parents, batch_size=self.batch_size).cpu()

    def _paint(
        self, noise: Noise, before: Attributes, after: Attributes, was_set: Tensor
    ) -> Image:
        """Returns images in [0, 1]: what a classifier is given is a radiograph."""
        painted = paint(
            self.mechanism, noise, before, after, was_set, self.guidance,
            batch_size=self.batch_size,
        )  # fmt: skip
        return painted.clamp(0, 1)


def _others(patients: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns for each row (rows,) the number of a row of another patient, each row once.

    Rows are ordered by patient, patients at random, and moved on by as many as the patient of most
    rows has. Where that one has more than half of them, some rows meet their own patient.
    """
    codes, names = pd.factorize(patients)
    order = np.lexsort((rng.random(len(codes)), rng.permutation(len(names))[codes]))
    donors = np.empty_like(order)
    donors[order] = np.roll(order, np.bincount(codes).max())
    return donors
