r"""Every question under every guidance, each answer beside the null intervention.

The value of a null intervention says what the machinery does by itself: the round trip, and the
push that guidance gives to an attribute that is not changed. A claim holds only where the
intervals exclude one another.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cxrcausal.bootstrap import Interval, PatientBootstrap, Statistic, weighted_mean
from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.errors import InterventionError, nearest, summarise
from cxrcausal.evaluation.axioms import effectiveness, groups_of, mean_change, paint
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.evaluation.question import Question
from cxrcausal.evaluation.standardisation import Standardised
from cxrcausal.files import atomic_path
from cxrcausal.image.guidance import Guidance
from cxrcausal.image.solver import Solver
from cxrcausal.scm.table import check_table
from cxrcausal.shapes import Attributes, Image, Noise

__all__ = ["Reader", "soundness"]

_Found = dict[tuple[str, str], Interval]
"""Figures by the predictor that read them ("" where none did) and the measure."""

_BATCH = 32  # small batches stay in cache: on a CPU they are the fastest


class Reader(Protocol):
    """Reads further figures from the counterfactuals, as `Identity` and `Closeness` do."""

    def measure(
        self, question: Question, world: Image, bootstrap: PatientBootstrap
    ) -> dict[str, Interval]:
        """Returns figures of the images of which the question is asked, by their names."""
        ...


def soundness(
    mechanism: ImageMechanism,
    predictors: Mapping[str, Predictor],
    images: Image,
    table: pd.DataFrame,
    noise: Noise,
    questions: Sequence[Question],
    guidances: Mapping[str, Guidance],
    *,
    readers: Sequence[Reader] = (),
    reconstruction: Image | None = None,
    groups: str = "patient_id",
    solver: Solver | None = None,
    reversed_images: int = 0,
    guided_nulls: bool = True,
    resamples: int = 2000,
    seed: int = 0,
    batch_size: int = _BATCH,
    store: Path | None = None,
) -> pd.DataFrame:
    """Asks every question under every guidance, each answer beside the null intervention.

    Two nulls stand beside each answer: `null`, abduct and predict under unchanged parents as the
    library does it (nothing changed, so nothing is guided), and `guided null`, the same with the
    attribute's unchanged value imposed by the same guidance. What each predictor reads is held
    against real radiographs that differ in the changed parents alone, see `Standardised`.

    Arguments:
        mechanism: The mechanism.
        predictors: By the name under which they are reported, each trained on real radiographs of
            other patients.
        images: Radiographs in [0, 1]. What real radiographs show is measured on all of them,
            whether or not a question is asked of all.
        table: Their metadata, row by row.
        noise: Their noise, from `round_trip` with the same solver; NaN where nothing is asked.
        questions: From `flip` and `move`, on the same rows; `Question.of` asks fewer.
        guidances: By the name under which they are reported.
        readers: What else is read of every image, reported under no predictor.
        reconstruction: What `round_trip` gave back from that noise; painted again if left out.
        groups: The column of patients.
        solver: How to integrate.
        reversed_images: On how many radiographs, from the first, to measure reversibility; it
            doubles the cost.
        guided_nulls: Whether to paint the guided nulls, which costs as much as the answers; NaN
            if not.
        resamples: Bootstrap resamples.
        seed: Of the bootstrap.
        batch_size: Radiographs at a time.
        store: A folder, of this mechanism alone, that keeps what was painted and abducted: who
            reads the same counterfactuals again need not make them again.

    Returns:
        Long form, one row per `intervention`, `guidance`, `predictor` and `measure`: `value`,
        `low`, `high`; the same of the two nulls (`null`, `null_low`, `null_high`, `guided_null`,
        ...); `excludes_null`, whether the interval excludes both; `radiographs` and `patients`
        asked. Measures: `shift`, `moved`, `reached`, `crossed` of the target; of every other score
        X, over X's own effect in real radiographs, `shift of X` as it is and `excess of X` beyond
        what matched real radiographs show; by no predictor (""), `change` and `reversibility`,
        mean absolute differences in [0, 1].
    """
    study = _Study(mechanism, table, noise, solver, batch_size, store)
    bootstrap = PatientBootstrap(table[groups], resamples=resamples, seed=seed)
    oracles = [_Oracle(name, p, images, table, mechanism) for name, p in predictors.items()]
    readings = _Readings(images, oracles, readers, bootstrap)
    for question in questions:
        for oracle in oracles:
            oracle.scored(question)  # refuses before anything is painted
    plain = reconstruction
    if plain is None:
        plain = study.null(~noise.isnan().flatten(1).any(dim=1).numpy())
    rows: list[dict[str, Any]] = []
    for question in questions:
        known = ~np.isnan(question.asked)
        some = known & (np.cumsum(known) <= reversed_images)
        null = readings.of(question, plain)
        if reversed_images:
            null["", "reversibility"] = readings.error(study.back_from_null(plain, some), some)
        patients = set(table[groups].to_numpy(object)[known])
        asked = {"radiographs": int(known.sum()), "patients": len(patients)}
        for label, guidance in guidances.items():
            changed = study.changed(question, guidance, known)
            answer, imposed = readings.of(question, changed), _Found()
            if reversed_images:
                back = study.back(question, guidance, changed, some)
                answer["", "reversibility"] = readings.error(back, some)
            if guidance.form == "none":  # imposes nothing
                imposed = {k: v for k, v in null.items() if k[1] != "reversibility"}
            elif guided_nulls:
                imposed = readings.of(question, study.imposed(question, guidance, known))
            rows += _report(question.label, label, (answer, null, imposed), asked)
    return pd.DataFrame(rows)


def _report(
    intervention: str,
    guidance: str,
    found: Sequence[_Found],
    asked: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Returns the rows of one answer: its measures beside those of both nulls."""
    answer, *nulls = found
    return [
        {
            "intervention": intervention,
            "guidance": guidance,
            "predictor": predictor,
            "measure": measure,
            **_columns("", value),
            **_columns("null", nulls[0].get((predictor, measure))),
            **_columns("guided_null", nulls[1].get((predictor, measure))),
            "excludes_null": all(
                value.excludes(null[predictor, measure])
                for null in nulls
                if (predictor, measure) in null
            ),
            **asked,
        }
        for (predictor, measure), value in answer.items()
    ]


class _Readings:
    """Everything that is read of one world, over the same resamples of patients."""

    def __init__(
        self,
        images: Image,
        oracles: "Sequence[_Oracle]",
        readers: Sequence[Reader],
        bootstrap: PatientBootstrap,
    ) -> None:
        self.images, self.oracles, self.readers = images, oracles, readers
        self.bootstrap = bootstrap

    def of(self, question: Question, world: Image) -> _Found:
        """Returns every figure of the images of which the question is asked."""
        found = {("", "change"): self.error(world, ~np.isnan(question.asked))}
        for oracle in self.oracles:
            found |= oracle.measure(question, world, self.bootstrap)
        for reader in self.readers:
            more = reader.measure(question, world, self.bootstrap)
            found |= {("", name): value for name, value in more.items()}
        return found

    def error(self, world: Image, rows: np.ndarray) -> Interval:
        """Returns the mean absolute difference of some images from the radiographs."""
        error = (world - self.images).abs().flatten(1).mean(dim=1).double().numpy()
        return self.bootstrap.interval(weighted_mean(np.where(rows, error, np.nan)))


class _Oracle:
    """One predictor's scores of the radiographs, and what real radiographs show in them."""

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        images: Image,
        table: pd.DataFrame,
        mechanism: ImageMechanism,
    ) -> None:
        self.name, self.predictor = name, predictor
        self.before = predictor.score(images, table.index)
        self.real = Standardised(self.before, table, mechanism.graph)

    def scored(self, question: Question) -> str | None:
        """Returns the score by which the answer is read; None if the predictor does not read it.

        Of a variable of which the predictor saw more than two levels, that is the score of the
        level to which `asked` = +1 leads.
        """
        if question.variable not in self.predictor.observed:
            return None
        levels = self.predictor.observed[question.variable]
        if question.levels is None or len(levels) == 2:
            if question.levels is not None and tuple(levels) != question.levels:
                raise InterventionError(
                    f"the question exchanges {summarise(question.levels)} of "
                    f"{question.variable!r}; the predictor tells apart {summarise(levels)}"
                )
            return question.variable
        if not set(question.levels) <= set(levels):
            raise InterventionError(
                f"the question exchanges {summarise(question.levels)} of {question.variable!r}; "
                f"the predictor saw {summarise(levels)}"
            )
        return f"{question.variable}={question.levels[1]}"

    def measure(self, question: Question, world: Image, bootstrap: PatientBootstrap) -> _Found:
        """Returns what this predictor reads of one world, by its name and the measure's."""
        at = np.flatnonzero(~np.isnan(question.asked))
        after = pd.DataFrame(np.nan, index=self.before.index, columns=self.before.columns)
        after.iloc[at] = self.predictor.score(world[torch.from_numpy(at)]).to_numpy()
        out: dict[str, Interval] = {}
        scored = self.scored(question)
        for name in map(str, self.before):
            scores = self.before[name].to_numpy(), after[name].to_numpy()
            variable = name.split("=")[0]
            real = self.real.change(name, question)
            if name == scored:
                continuous = not self.predictor.graph.variables[variable].is_discrete
                threshold = None if continuous else self.predictor.threshold[name]
                out |= vars(effectiveness(*scores, question.asked, real, bootstrap, threshold))
            elif variable != question.variable:
                own, change = self.real.gap(name), mean_change(*scores, question.asked)
                out[f"shift of {name}"] = bootstrap.interval(_over(change, own))
                out[f"excess of {name}"] = bootstrap.interval(_over(change, own, real))
        return {(self.name, measure): value for measure, value in out.items()}


def _over(change: Statistic, own: Statistic, real: Statistic | None = None) -> Statistic:
    """Returns the statistic: a change, less what is real of it, over the score's own effect."""
    return lambda w: (change(w) - (real(w) if real is not None else 0.0)) / np.abs(own(w))


class _Study:
    """The worlds of one set of radiographs, each painted once."""

    def __init__(
        self,
        mechanism: ImageMechanism,
        table: pd.DataFrame,
        noise: Noise,
        solver: Solver | None,
        batch_size: int,
        store: Path | None,
    ) -> None:
        self.mechanism, self.noise = mechanism, noise
        self.solver, self.batch_size = solver, batch_size
        self.names = [v.name for v in mechanism.attributes]
        self.factual = mechanism.encode(check_table(table, mechanism.graph, ()))[0]
        self.store = store
        self._made: dict[str, Tensor] = {}

    def parents(self, question: Question) -> Attributes:
        return self.mechanism.encode(question.table)[0]

    def mask(self, variable: str) -> Tensor:
        """Returns which attributes an intervention on the variable sets, (images, attributes)."""
        if variable not in self.names:
            raise InterventionError(
                f"{variable!r} is not a parent of the image{nearest(variable, self.names) or '.'} "
                f"Its parents are: {summarise(self.names, 20)}"
            )
        mask = torch.zeros(self.factual.shape, dtype=torch.bool, device=self.factual.device)
        mask[:, self.names.index(variable)] = True
        return mask

    def null(self, rows: np.ndarray) -> Image:
        nothing = torch.zeros(self.factual.shape, dtype=torch.bool, device=self.factual.device)
        return self._paint(self.noise, self.factual, nothing, Guidance("none"), rows)

    def changed(self, question: Question, guidance: Guidance, rows: np.ndarray) -> Image:
        mask = self.mask(question.variable)
        return self._paint(self.noise, self.parents(question), mask, guidance, rows)

    def imposed(self, question: Question, guidance: Guidance, rows: np.ndarray) -> Image:
        """The guided null: the attribute is imposed, at the value that it has anyway."""
        mask = self.mask(question.variable)
        return self._paint(self.noise, self.factual, mask, guidance, rows)

    def back(
        self, question: Question, guidance: Guidance, world: Image, rows: np.ndarray
    ) -> Image:
        """Abducts the counterfactual under its own parents, and sets the attribute back."""
        parents = self.parents(question)
        noise = self._abduct(world, parents, rows)
        mask = self.mask(question.variable)
        return self._paint(noise, self.factual, mask, guidance, rows, parents)

    def back_from_null(self, world: Image, rows: np.ndarray) -> Image:
        noise = self._abduct(world, self.factual, rows)
        nothing = torch.zeros_like(self.factual, dtype=torch.bool)
        return self._paint(noise, self.factual, nothing, Guidance("none"), rows)

    def _abduct(self, images: Image, parents: Attributes, rows: np.ndarray) -> Noise:
        at = torch.from_numpy(np.flatnonzero(rows))

        def make() -> Noise:
            return torch.cat(
                [
                    self.mechanism.abduct(images[part], parents[part], solver=self.solver).cpu()
                    for part in at.split(self.batch_size)
                ]
            )

        out = torch.full_like(self.noise, torch.nan)
        out[at] = self._once(_digest("abduct", self.solver, images[at], parents[at]), make)
        return out

    def _paint(
        self,
        noise: Noise,
        parents: Attributes,
        mask: Tensor,
        guidance: Guidance,
        rows: np.ndarray,
        factual: Attributes | None = None,
    ) -> Image:
        """Returns the images of these rows, NaN elsewhere; equal integrals are not run twice."""
        at = torch.from_numpy(np.flatnonzero(rows))
        factual = self.factual if factual is None else factual
        subset, new, before = noise[at], parents[at], factual[at]
        intervened = mask[at]

        def make() -> Image:
            return paint(
                self.mechanism,
                subset,
                before,
                new,
                intervened,
                guidance,
                solver=self.solver,
                batch_size=self.batch_size,
            )

        meaning = self._meaning(before, new, intervened, guidance)
        images = self._once(_digest("paint", self.solver, subset, new, meaning), make)
        out = torch.full((len(noise), *images.shape[1:]), torch.nan)
        out[at] = images
        return out

    def _once(self, key: str, make: Callable[[], Tensor]) -> Tensor:
        """Returns what was made under this key before, here or in the store; else makes it."""
        if key in self._made:
            return self._made[key]
        file = None if self.store is None else self.store / f"{key}.safetensors"
        if file is not None and file.exists():
            self._made[key] = load_file(file)["values"]
        else:
            self._made[key] = make()
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(file) as beside:
                    save_file({"values": self._made[key].contiguous()}, beside)
        return self._made[key]

    def _meaning(
        self, factual: Attributes, parents: Attributes, intervened: Tensor, guidance: Guidance
    ) -> Tensor:
        """Returns what guidance amounts to: forms with the same branches give the same image."""
        keep, weight = guidance.branches(groups_of(factual, parents, intervened), self.names)
        order = sorted(range(len(keep)), key=lambda i: keep[i].cpu().numpy().tobytes())
        return torch.cat([keep[order].flatten().double(), weight[order].flatten().double()])


def _columns(prefix: str, interval: Interval | None) -> dict[str, float]:
    interval = interval or Interval(np.nan, np.nan, np.nan)
    stem = f"{prefix}_" if prefix else ""
    return {
        prefix or "value": interval.value,
        f"{stem}low": interval.low,
        f"{stem}high": interval.high,
    }


def _digest(what: str, solver: Solver | None, *tensors: Tensor) -> str:
    digest = hashlib.blake2b(f"{what} {solver}".encode(), digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
