"""One call: does a classifier still answer when the radiograph is taken another way?

Counterfactual stress tests: the same patient from the front, at another site, with a chest tube,
older. The disease is held, so labels hold, and sensitivity, specificity and AUC before and under
the stress are of the same patients.

References:
    | RadEdit: stress-testing biomedical vision models via diffusion image editing
    | (Pérez-García et al., 2023), https://arxiv.org/abs/2312.12865
"""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import (
    Interval,
    PatientBootstrap,
    Statistic,
    weighted_auc,
    weighted_mean,
)
from cxrcausal.counterfactual.arguments import check_count
from cxrcausal.errors import ImageError, TableError
from cxrcausal.fairness.classifier import Classifier
from cxrcausal.fairness.estimates import Scores, effects
from cxrcausal.fairness.painted import Painted
from cxrcausal.fairness.radiographs import Columns, Given
from cxrcausal.fairness.stress_result import StressTest
from cxrcausal.fairness.stresses import Question, Stresses, questions
from cxrcausal.fairness.study import study_of
from cxrcausal.fairness.subject import Subject, subjects_of
from cxrcausal.fairness.tables import of_each, score_rows
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel
    from cxrcausal.graph import CausalGraph
    from cxrcausal.image.guidance import Guidance

__all__ = ["stress_test"]

Bootstrap = Callable[[np.ndarray], PatientBootstrap]


def stress_test(
    classifier: Classifier | Mapping[str, Classifier],
    model: "CounterfactualModel",
    images: Given,
    table: pd.DataFrame | str | os.PathLike,
    stresses: Stresses = None,
    *,
    columns: Columns | None = None,
    resolution: int | None = None,
    outputs: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | float = 0.5,
    guidance: "Guidance | Literal['recommended'] | None" = "recommended",
    groups: str = "patient_id",
    resamples: int = 2000,
    confidence: float = 0.95,
    batch_size: int = 64,
    seed: int = 0,
) -> StressTest:
    """Returns how a classifier answers when the same patients' radiographs are taken another way.

    Another view, another site, with and without devices, at other ages: each radiograph is painted
    again from its own noise with the stress in the image alone, and scored. Findings and all other
    metadata are held, and so is what is true of the patient, so that the change of sensitivity,
    specificity and AUC is the classifier's. The controls of `cxrcausal.fairness.worlds` stand
    beside every figure: generation alone may move a score or blur a finding. Radiographs that do
    not come back from their own noise are counted and left out.

    Arguments:
        classifier: A module or a function from radiographs to scores, higher for more likely; or
            several of them by name, which answer for the same counterfactuals.
        model: The joint model.
        images: Radiographs in [0, 1], (batch, channel, height, width), squares of the model's size
            or larger; or a DataLoader, a folder or files of them.
        table: Their metadata, row by row, or a file of them.
        stresses: Stresses by name, as ``{"portable": {"view": "AP"}}``, ``{"age": {"age": [30,
            60]}}`` or a `Stress`; or names of standard ones. All of `standard_stresses` if left
            out, those that the model cannot paint listed with the reason.
        columns: Which column of the table is what, as `read_table` takes its `source`; the graph's
            own if left out.
        resolution: The side of the square that the classifier is given, where files are read; the
            model's if left out.
        outputs: Names of the classifier's outputs, if it does not give a table.
        labels: The column of the table that says what is true of an output; the column of the
            output's name if left out. Positive is a variable's second level, or 1.
        thresholds: Above which an output decides, the same for all or by output.
        guidance: How strongly the stress is imposed; the recipe's if left out.
        groups: The column of patients; every radiograph is a patient if the table has none.
        resamples: Resamples of patients.
        confidence: The probability that an interval holds.
        batch_size: Radiographs at a time.
        seed: Makes the answer a function of it.

    Raises:
        ImageError: If images or scores are not as they should be.
        InterventionError: If a stress sets what is no parent of the image, or to no value of it.
        UnobservedError: If a stress that was asked for by name or as an intervention sets what the
            image mechanism never observed.
        OptionError: If a stress, a threshold or a label is of nothing that there is.
        TableError: If the table holds what the graph does not allow, or no row can be asked.
    """
    check_count(batch_size, "batch_size")
    study = study_of(model, images, table, columns=columns, resolution=resolution, groups=groups)
    if guidance == "recommended":
        guidance = study.mechanism.guidance
    asked, left = questions(stresses, study.table, model)
    if not asked:
        raise TableError(
            f"none of {len(study.table)} rows can be put under any stress: {_why(left)}"
        )

    def resampled(rows: np.ndarray) -> PatientBootstrap:
        return PatientBootstrap(
            study.patients[rows], resamples=resamples, confidence=confidence, seed=seed
        )

    resampled(np.arange(len(study.table)))  # a patient that is missing is said before painting
    subjects = subjects_of(
        classifier, study,
        outputs=outputs, labels=labels, thresholds=thresholds, batch_size=batch_size,
    )  # fmt: skip
    painted = Painted(study, seed=seed, path="direct", guidance=guidance, batch_size=batch_size)
    asked = [part for part in (one.of(~painted.lost) for one in asked) if len(part.contrast.rows)]
    if not asked:
        raise ImageError(
            f"none of the radiographs that can be asked comes back from its own noise: "
            f"{int(painted.lost.sum())} of {len(painted.lost)} do not"
        )
    frames = []
    for subject, found in zip(subjects, _scores(painted, subjects, asked), strict=True):
        truth, moved = _held(subject, asked, model.graph)
        left += [line for line in moved if line not in left]
        frames.append(_frames(asked, found, subject, truth, resampled, study.given.index))
    return StressTest(
        **{kind: _joined(subjects, [part[kind] for part in frames]) for kind in frames[0]},
        not_asked=pd.DataFrame(left, columns=["stress", "why"]),
        not_reconstructed=pd.Series(painted.lost, study.given.index, name="not_reconstructed"),
        provenance={
            "version": __version__,
            "model": model.name,
            "graph": model.graph.fingerprint,
            "image": dict(study.mechanism.describe(None)),
            "guidance": None if guidance is None else repr(guidance),
            "stresses": list(dict.fromkeys(question.stress for question in asked)),
            "thresholds": {subject.name: subject.thresholds for subject in subjects},
            "radiographs": len(study.table),
            "patients": len(set(study.patients)),
            "not_reconstructed": int(painted.lost.sum()),
            "imputed": {name: int(count) for name, count in painted.imputed.items()},
            "pixels": {
                "model": study.mechanism.image_shape[-1],
                "classifier": study.radiographs.given.shape[-1],
            },
            "clipped_share": study.radiographs.clipped,
            "resamples": resamples,
            "confidence": confidence,
            "seed": seed,
        },
    )


def _why(left: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{line['stress']}: {line['why']}" for line in left)


def _scores(
    painted: Painted, subjects: Sequence[Subject], asked: Sequence[Question]
) -> list[list[Scores]]:
    """Returns each classifier's scores under every question, by worlds that are painted once."""
    alone = [question.contrast for question in asked if question.contrast.also is None]
    of_alone = [iter(scores) for scores in painted.scores(subjects, alone)]
    found: list[list[Scores]] = [[] for _ in subjects]
    for question in asked:
        whole = question.contrast
        if whole.also is None:
            scores = [next(of_subject) for of_subject in of_alone]
        else:  # `Painted` asks for each attribute alone too
            parts = [dataclasses.replace(part, also=None) for part in whole.parts]
            scores = [some[-1] for some in painted.scores(subjects, [*parts, whole])]
        for kept, one in zip(found, scores, strict=True):
            # What two attributes have beyond the sum of each is a sum of two; labels are held.
            beyond = one.alone if len(question.sets) == 2 else None
            kept.append(dataclasses.replace(one, alone=beyond, label=None, label_there=None))
    return found


def _held(
    subject: Subject, asked: Sequence[Question], graph: "CausalGraph"
) -> tuple[list[np.ndarray], list[dict[str, str]]]:
    """Returns what is true under each question, and which stresses set what was true.

    A stress that sets the label itself, or what the label is defined by, does not hold it.
    """
    found = []
    left = []
    for question in asked:
        held = subject.truth.copy()
        for column, (output, label) in enumerate(
            zip(subject.outputs, subject.columns, strict=True)
        ):
            by = {label}
            if label in graph.variables and graph.variables[label].mechanism is not None:
                by |= set(graph.parents(label))
            if by & set(question.sets) and not np.isnan(held[:, column]).all():
                held[:, column] = np.nan
                why = f"sensitivity, specificity and AUC of {output!r}: the stress sets its label"
                left.append({"stress": question.stress, "why": why})
        found.append(held)
    return found, left


def _frames(
    asked: Sequence[Question],
    found: Sequence[Scores],
    subject: Subject,
    truth: Sequence[np.ndarray],
    resampled: Bootstrap,
    index: pd.Index,
) -> dict[str, pd.DataFrame]:
    """Returns one classifier's figures: effects, accuracy, curves, and the scores themselves."""
    outputs = subject.outputs
    names = [question.stress for question in asked]
    of_effects = effects(list(found), outputs, subject.thresholds, resampled)
    of_effects.insert(0, "stress", np.repeat(names, len(outputs)))
    rows = score_rows(found, outputs, index)
    lengths = [len(scores.rows) * len(outputs) for scores in found]
    rows.insert(0, "stress", np.repeat(names, lengths))
    lines: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for question, scores, true in zip(asked, found, truth, strict=True):
        bootstrap = resampled(scores.rows)
        for column, output in enumerate(outputs):
            where = {"stress": question.stress, "output": output}
            known, threshold = true[:, column], subject.thresholds[output]
            if not np.isnan(known[scores.rows]).all():
                between = {"from": scores.origin, "to": scores.target}
                lines += [
                    {**where, **between, **line}
                    for line in _accuracy(scores, column, known, threshold, bootstrap)
                ]
            if question.number is not None:
                point = {**where, "attribute": scores.attribute, "value": question.number}
                mean = weighted_mean(scores.counterfactual[:, column])
                points.append(point | _columns("score", bootstrap.interval(mean)))
    return {
        "effects": of_effects,
        "accuracy": pd.DataFrame(lines, columns=_ACCURACY),
        "curves": _with_shifts(pd.DataFrame(points, columns=_CURVES), of_effects, asked, outputs),
        "rows": rows,
    }


def _with_shifts(
    points: pd.DataFrame,
    of_effects: pd.DataFrame,
    asked: Sequence[Question],
    outputs: Sequence[str],
) -> pd.DataFrame:
    """Returns a sweep's points with the shifts and controls that `effects` has of them."""
    swept = np.repeat([question.number is not None for question in asked], len(outputs))
    taken = of_effects.loc[swept].reset_index(drop=True)
    names = ("radiographs", "patients", *_with_ends("shift"), *_with_ends("there_and_back"))
    return points.assign(**{name: taken[name] for name in names})


def _accuracy(
    scores: Scores, column: int, truth: np.ndarray, threshold: float, bootstrap: PatientBootstrap
) -> list[dict[str, Any]]:
    """Returns sensitivity, specificity and AUC here and under the stress, and the change.

    Beside the change stand those of the controls; all are paired, patient by patient.
    """
    label = truth[scores.rows]
    count = {"positives": int((label == 1).sum()), "negatives": int((label == 0).sum())}
    worlds = {
        "reconstruction": scores.reconstruction[:, column],
        "stressed": scores.counterfactual[:, column],
        "there_and_back": scores.back[:, column],
        "placebo": scores.placebo[:, column],
    }
    lines: list[dict[str, Any]] = []
    for rate in ("AUC", "sensitivity", "specificity"):
        of = {name: _rate(rate, score, label, threshold) for name, score in worlds.items()}
        line: dict[str, Any] = {"rate": rate, **count}
        for name in ("reconstruction", "stressed"):
            line |= _columns(name, bootstrap.interval(of[name]))
        changes = {"change": "stressed", "there_and_back": "there_and_back", "placebo": "placebo"}
        for name, world in changes.items():
            change = _difference(of[world], of["reconstruction"])
            line |= _columns(name, bootstrap.interval(change))
        lines.append(line)
    return lines


def _rate(rate: str, score: np.ndarray, label: np.ndarray, threshold: float) -> Statistic:
    if rate == "AUC":
        return weighted_auc(score, label)
    decided = score > threshold
    if rate == "sensitivity":
        return weighted_mean(np.where(label == 1, decided, np.nan))
    return weighted_mean(np.where(label == 0, ~decided, np.nan))


def _joined(subjects: Sequence[Subject], parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns one table of what was found of each classifier; without lines it has no types."""
    some = [(one, part) for one, part in zip(subjects, parts, strict=True) if len(part)]
    chosen = some or [(subjects[0], parts[0])]
    frame = of_each([one for one, _ in chosen], [part for _, part in chosen])
    return frame[["classifier", *frame.columns.drop("classifier")]]


def _difference(one: Statistic, other: Statistic) -> Statistic:
    return lambda weights: one(weights) - other(weights)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    ends = (interval.value, interval.low, interval.high)
    return dict(zip(_with_ends(name), ends, strict=True))


def _with_ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


_ACCURACY = [
    "stress", "output", "from", "to", "rate", "positives", "negatives",
    *(
        column
        for name in ("reconstruction", "stressed", "change", "there_and_back", "placebo")
        for column in _with_ends(name)
    ),
]  # fmt: skip
_CURVES = ["stress", "output", "attribute", "value", *_with_ends("score")]
