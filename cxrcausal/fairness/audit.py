"""One call: does this classifier treat a patient differently because of sex, race or age?"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import PatientBootstrap
from cxrcausal.counterfactual.arguments import check_count, guidance_record
from cxrcausal.errors import OptionError, TableError, summarise
from cxrcausal.fairness.classifier import Classifier
from cxrcausal.fairness.estimates import effects, gaps, group_rates, with_label_noise
from cxrcausal.fairness.painted import Painted
from cxrcausal.fairness.radiographs import Columns, Given
from cxrcausal.fairness.read_back import ReadBack
from cxrcausal.fairness.result import FairnessAudit
from cxrcausal.fairness.study import Study, study_of
from cxrcausal.fairness.subject import Subject, subjects_of
from cxrcausal.fairness.tables import of_each, score_rows
from cxrcausal.fairness.worlds import Path, contrasts, pairs
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel
    from cxrcausal.image.guidance import Guidance

__all__ = ["audit"]


def audit(
    classifier: Classifier | Mapping[str, Classifier],
    model: "CounterfactualModel",
    images: Given,
    table: pd.DataFrame | str | os.PathLike,
    protected: Sequence[str | tuple[str, str]] | str = ("sex",),
    *,
    columns: Columns | None = None,
    resolution: int | None = None,
    outputs: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | float = 0.5,
    steps: Mapping[str, float] | None = None,
    check: Classifier | Mapping[str, Classifier] | None = None,
    path: Path = "direct",
    margin: float = 0.0,
    guidance: "Guidance | Literal['recommended'] | None" = "recommended",
    groups: str = "patient_id",
    resamples: int = 2000,
    confidence: float = 0.95,
    batch_size: int = 64,
    seed: int = 0,
) -> FairnessAudit:
    """Returns how a classifier answers for the same patients in worlds where an attribute differs.

    Each radiograph is painted again from its own noise with the protected attribute at every other
    level, and scored. The *direct* effect changes the attribute in the image alone: findings,
    devices, view and all else in the metadata are held, so a change of the score is neither
    disease nor acquisition. The *total* effect lets what descends from the attribute follow; where
    findings follow, a fair classifier answers differently. Controls stand beside every figure, see
    `cxrcausal.fairness.worlds`. Radiographs that do not come back from their own noise are counted
    and left out. Parents of the image that are unknown are drawn first, given the known cells; the
    shift where they are left unknown stands beside.

    Arguments:
        classifier: A module or a function from radiographs to scores, higher for more likely; or
            several of them by name, which answer for the same counterfactuals.
        model: The joint model.
        images: Radiographs in [0, 1], (batch, channel, height, width), squares of the model's size
            or larger; or a DataLoader, a folder or files of them.
        table: Their metadata, row by row, or a file of them.
        protected: Attributes that should make no difference, or one; two in a tuple are asked each
            alone and both at once, with the interaction, and their intersections are groups.
        columns: Which column of the table is what, as `read_table` takes its `source`: a dict as
            ``{"Patient Gender": "sex"}`` or a source's name; the graph's own if left out.
        resolution: The side of the square that the classifier is given, where files are read; the
            model's if left out. What is painted is carried over to finer radiographs, see
            `cxrcausal.fairness.radiographs`.
        outputs: Names of the classifier's outputs, if it does not give a table.
        labels: The column of the table that says what is true of an output; the column of the
            output's name if left out. Positive is a variable's second level, or 1.
        thresholds: Above which an output decides, the same for all or by output.
        steps: By how much continuous attributes are moved, up and down; age by 20 years.
        check: What reads the attribute in a counterfactual, as `augment` takes it; the shift of
            those in which it reads the level that was set then stands beside the shift of all.
        path: `direct` or `total`.
        margin: How far the image model's own error may move a score, in the score's unit. No
            interval holds that error; a difference is said to be one only where its interval lies
            beyond the margin. 0 leaves it out.
        guidance: How strongly the changed attribute is imposed; the recipe's if left out.
        groups: The column of patients; every radiograph is a patient if the table has none.
        resamples: Resamples of patients.
        confidence: The probability that an interval holds.
        batch_size: Radiographs at a time.
        seed: Makes the answer a function of it.

    Example:
        From files, and a table in NIH's own columns, to a page::

            model = cxrcausal.load_pretrained("cxr19-small")
            answer = audit(
                classifier, model, "radiographs/", "Data_Entry_2017.csv", "sex",
                columns="nih", resolution=224,
            )
            answer.save("audit")

    Raises:
        ImageError: If images or scores are not as they should be.
        InterventionError: If an attribute is no parent of the image.
        UnobservedError: If the image mechanism never observed it.
        OptionError: If a threshold or label is of no output, `path` is neither, or the margin is
            no finite number above or at 0.
        TableError: If the table holds what the graph does not allow, or no row can be asked.
    """
    if path not in ("direct", "total"):
        raise OptionError(f"path is {path!r}; allowed: direct, total")
    if not isinstance(margin, Real) or not 0 <= margin < math.inf:
        raise OptionError(f"margin is {margin!r}; give a finite number, 0 or above")
    check_count(batch_size, "batch_size")
    attributes, together = _asked(protected)
    study = study_of(model, images, table, columns=columns, resolution=resolution, groups=groups)
    if guidance == "recommended":
        guidance = study.mechanism.guidance
    guided = guidance_record(guidance)
    asked = contrasts(study.table, model, attributes, steps or {})
    if not asked:
        raise TableError(
            f"none of {len(study.table)} rows can be asked about {summarise(attributes)}: it is "
            "unknown, or what would be set lies outside what the image mechanism observed"
        )
    asked += pairs(asked, together)

    def resampled(rows: np.ndarray) -> PatientBootstrap:
        return PatientBootstrap(
            study.patients[rows], resamples=resamples, confidence=confidence, seed=seed
        )

    # The radiographs as they are come first: what is wrong with a classifier, a threshold or a
    # label is said before anything is painted.
    subjects = subjects_of(
        classifier, study,
        outputs=outputs, labels=labels, thresholds=thresholds, batch_size=batch_size,
    )  # fmt: skip
    rates = [_rates(study.table, (*attributes, *together), one, resampled) for one in subjects]
    levels = _levels(study, attributes)
    read_back = None if check is None else ReadBack(check, levels, batch_size=batch_size)
    if read_back is not None:  # what is wrong with a check is said before anything is painted
        read_back.scores(study.radiographs.images)
    painted = Painted(
        study, read_back, seed=seed, path=path, guidance=guidance, batch_size=batch_size
    )
    found = painted.scores(subjects, asked)
    of_effects = [
        effects(scores, one.outputs, one.thresholds, resampled, margin)
        for one, scores in zip(subjects, found, strict=True)
    ]
    rows = [
        score_rows(scores, one.outputs, study.given.index)
        for one, scores in zip(subjects, found, strict=True)
    ]
    return FairnessAudit(
        effects=of_each(subjects, of_effects),
        groups=of_each(subjects, rates),
        rows=of_each(subjects, rows),
        scores=of_each(subjects, [_scores(one, study.table, attributes) for one in subjects]),
        not_reconstructed=pd.Series(painted.lost, study.given.index, name="not_reconstructed"),
        provenance={
            "version": __version__,
            "model": model.name,
            "graph": model.graph.fingerprint,
            "image": dict(study.mechanism.describe(None)),
            "guidance": guided,
            "path": path,
            "margin": margin,
            "protected": list(attributes),
            "together": [list(pair) for pair in together],
            "thresholds": {one.name: one.thresholds for one in subjects},
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


def _asked(
    protected: Sequence[str | tuple[str, str]] | str,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Returns the attributes that are asked alone, and those that are asked two at once.

    Raises:
        OptionError: If there is none, or a tuple is no two different ones.
    """
    if not isinstance(protected, Sequence):
        raise OptionError(f"protected is {protected!r}; give attributes, as ['sex', 'age']")
    given = [protected] if isinstance(protected, str) else list(protected)
    together = [pair for pair in given if not isinstance(pair, str)]
    for pair in together:
        if not isinstance(pair, tuple | list) or len(pair) != 2 or len(set(pair)) != 2:
            raise OptionError(
                f"protected attributes at once are two different ones in a tuple; found {pair!r}"
            )
    alone = [name for one in given for name in ((one,) if isinstance(one, str) else one)]
    if not alone:
        raise OptionError("no protected attribute is given, as protected=['sex']")
    return list(dict.fromkeys(alone)), [(str(a), str(b)) for a, b in together]


def _levels(study: Study, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the observed levels of the protected attributes that have levels."""
    observed = study.mechanism.observed
    variables = study.model.graph.variables
    return {name: tuple(observed[name]) for name in attributes if variables[name].is_discrete}


def _rates(
    table: pd.DataFrame,
    protected: Sequence[str | tuple[str, str]],
    subject: Subject,
    resampled: Callable[[np.ndarray], PatientBootstrap],
) -> pd.DataFrame:
    """Returns the rates of every group of every protected attribute, and of every intersection.

    A continuous attribute has no groups.
    """
    lines: list[dict[str, object]] = []
    bootstrap = resampled(np.arange(len(table)))
    named = [(one,) if isinstance(one, str) else one for one in protected]
    groups = {
        names: _members(table, names)
        for names in named
        if not any(pd.api.types.is_float_dtype(table[name]) for name in names)
    }
    for column, output in enumerate(subject.outputs):
        truth = subject.truth[:, column]
        label = None if np.isnan(truth).all() else truth
        rates = group_rates(subject.scores[:, column], label, subject.thresholds[output])
        for names, members in groups.items():
            lines += [
                {"output": output, "attribute": ", ".join(names), **line}
                for line in with_label_noise([*gaps(members, rates, bootstrap)])
            ]
    return pd.DataFrame(lines)


def _members(table: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns who (rows,) is in each group of one attribute, or of several at once.

    Whose attribute is unknown is in none.
    """
    values = [table[name].astype(object).to_numpy() for name in names]
    present = table[list(names)].dropna().astype(object).drop_duplicates()
    members = {
        ", ".join(map(str, levels)): np.logical_and.reduce(
            [value == level for value, level in zip(values, levels, strict=True)]
        )
        for levels in present.itertuples(index=False, name=None)
    }
    return dict(sorted(members.items()))


def _scores(subject: Subject, table: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """Returns every score of the radiographs as they are, with what is true and the decision."""
    thresholds = subject.thresholds
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "row": subject.study.given.index,
                    "output": output,
                    **{name: table[name].to_numpy(object) for name in attributes},
                    "score": subject.scores[:, column],
                    "label": subject.truth[:, column],
                    "decision": subject.scores[:, column] > thresholds[output],
                }
            )
            for column, output in enumerate(subject.outputs)
        ],
        ignore_index=True,
    )
