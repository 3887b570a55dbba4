"""One call: does this classifier treat a patient differently because of sex, race or age?"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, final

import numpy as np
import pandas as pd
import torch

from cxrcausal.bootstrap import PatientBootstrap
from cxrcausal.counterfactual.arguments import check_count
from cxrcausal.counterfactual.image_mechanism import ImageMechanism
from cxrcausal.counterfactual.round_trip import RoundTrip, round_trip_error
from cxrcausal.errors import ImageError, OptionError, TableError, nearest, summarise
from cxrcausal.fairness.classifier import Classifier, Scorer
from cxrcausal.fairness.estimates import Scores, effects, gaps, group_rates
from cxrcausal.fairness.radiographs import (
    Columns,
    Given,
    Radiographs,
    metadata_of,
    radiographs_of,
)
from cxrcausal.fairness.result import FairnessAudit
from cxrcausal.fairness.worlds import Contrast, Path, Worlds, contrasts
from cxrcausal.scm.table import complete_table
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
    protected: Sequence[str] | str = ("sex",),
    *,
    columns: Columns | None = None,
    resolution: int | None = None,
    outputs: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | float = 0.5,
    steps: Mapping[str, float] | None = None,
    path: Path = "direct",
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
    and left out.

    Arguments:
        classifier: A module or a function from radiographs to scores, higher for more likely; or
            several of them by name, which answer for the same counterfactuals.
        model: The joint model.
        images: Radiographs in [0, 1], (batch, channel, height, width), squares of the model's size
            or larger; or a DataLoader, a folder or files of them.
        table: Their metadata, row by row, or a file of them.
        protected: Attributes that should make no difference, or one.
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
        path: `direct` or `total`.
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
        OptionError: If a threshold or label is of no output, or `path` is neither.
        TableError: If the table holds what the graph does not allow, or no row can be asked.
    """
    protected = (protected,) if isinstance(protected, str) else tuple(protected)
    mechanism, table, complete, radiographs = _checked(
        model, images, table, path, columns, resolution
    )
    check_count(batch_size, "batch_size")
    if guidance == "recommended":
        guidance = mechanism.guidance
    asked = contrasts(complete, model, protected, {"age": 20.0, **(steps or {})})
    if not asked:
        raise TableError(
            f"in none of {len(table)} rows is {summarise(protected)} known, so nothing can be set "
            "to another level"
        )
    patients = _patients(table, groups)

    def resampled(rows: np.ndarray) -> PatientBootstrap:
        return PatientBootstrap(
            patients[rows], resamples=resamples, confidence=confidence, seed=seed
        )

    # The radiographs as they are come first: what is wrong with a classifier, a threshold or a
    # label is said before anything is painted.
    frames: dict[str, list[pd.DataFrame]] = {"effects": [], "groups": [], "rows": []}
    subjects = []
    for name, one in _by_name(classifier).items():
        scorer = Scorer(one, outputs, batch_size=batch_size, name=name)
        subject = _Subject(name, scorer, scorer(radiographs.given), thresholds)
        truth = _truths(table, complete, subject.outputs, labels or {})
        rates = _rates(complete, protected, subject, truth, resampled)
        frames["groups"].append(rates.assign(classifier=name))
        subjects.append(subject)
    worlds = Worlds(
        model, radiographs.images, complete, patients,
        path=path, guidance=guidance, batch_size=batch_size, seed=seed,
    )  # fmt: skip
    error = round_trip_error(radiographs.images, worlds.reconstruction)
    lost = error > RoundTrip(mechanism, model.graph).most(error, None)
    for subject, found in zip(
        subjects, _scores(subjects, radiographs, worlds, asked, ~lost), strict=True
    ):
        of_effects = effects(found, subject.outputs, subject.thresholds, resampled)
        frames["effects"].append(of_effects.assign(classifier=subject.name))
        rows = _rows(found, subject.outputs, table.index)
        frames["rows"].append(rows.assign(classifier=subject.name))
    return FairnessAudit(
        **{kind: pd.concat(parts, ignore_index=True) for kind, parts in frames.items()},
        not_reconstructed=pd.Series(lost, table.index, name="not_reconstructed"),
        provenance={
            "version": __version__,
            "model": model.name,
            "graph": model.graph.fingerprint,
            "image": dict(mechanism.describe(None)),
            "guidance": None if guidance is None else repr(guidance),
            "path": path,
            "protected": list(protected),
            "thresholds": {subject.name: subject.thresholds for subject in subjects},
            "radiographs": len(table),
            "pixels": {
                "model": mechanism.image_shape[-1],
                "classifier": radiographs.given.shape[-1],
            },
            "clipped_share": radiographs.clipped,
            "patients": len(set(patients)),
            "not_reconstructed": int(lost.sum()),
            "resamples": resamples,
            "confidence": confidence,
            "seed": seed,
        },
    )


@final
class _Subject:
    """A classifier that is audited.

    Arguments:
        name: What it is called.
        scorer: It as a function, called once already.
        scores: Of the radiographs as they are, (radiographs, outputs).
        thresholds: As `audit` takes them.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        scores: np.ndarray,
        thresholds: Mapping[str, float] | float,
    ) -> None:
        self.name, self.scorer, self.scores = name, scorer, scores
        self.outputs = scorer.outputs or ()
        self.thresholds = _thresholds(thresholds, self.outputs)


def _checked(
    model: "CounterfactualModel",
    images: Given,
    table: pd.DataFrame | str | os.PathLike,
    path: Path,
    columns: Columns | None = None,
    resolution: int | None = None,
) -> tuple[ImageMechanism, pd.DataFrame, pd.DataFrame, Radiographs]:
    """Returns what paints, the table, the same with a column for every variable, and the images.

    Raises:
        OptionError: If `path` is neither.
        ImageError: If images are not the model's, or not the table's.
    """
    if path not in ("direct", "total"):
        raise OptionError(f"path is {path!r}; allowed: direct, total")
    if model.image is None:
        raise ImageError(f"model {model.name!r} is of metadata alone; it paints no radiographs")
    table = metadata_of(table, columns, model.graph)
    complete = complete_table(table, model.graph)[0]
    radiographs = radiographs_of(images, table, model.image.image_shape[-1], resolution)
    model.image.check_images(radiographs.images)
    return model.image, table, complete, radiographs


def _scores(
    subjects: Sequence[_Subject],
    radiographs: Radiographs,
    worlds: Worlds,
    asked: Sequence[Contrast],
    kept: np.ndarray,
) -> list[list[Scores]]:
    """Returns each classifier's scores of every contrast's worlds, which are painted once."""
    back = worlds.reconstruction
    everyone = np.arange(len(back))
    again = [radiographs.scores(subject.scorer, everyone, back, back) for subject in subjects]
    found: list[list[Scores]] = [[] for _ in subjects]
    for contrast in (contrast.of(kept) for contrast in asked):
        if not len(contrast.rows):
            continue
        world = worlds.of(contrast)
        before = back[torch.from_numpy(contrast.rows)]
        for subject, here, scores in zip(subjects, again, found, strict=True):
            scores.append(
                Scores(
                    contrast.attribute,
                    contrast.origin,
                    contrast.target,
                    contrast.rows,
                    subject.scores[contrast.rows],
                    here[contrast.rows],
                    radiographs.scores(
                        subject.scorer, contrast.rows, world.counterfactual, before
                    ),
                    radiographs.scores(subject.scorer, contrast.rows, world.back, before),
                    radiographs.scores(subject.scorer, contrast.rows, world.placebo, before),
                )
            )
    if not any(found):
        raise ImageError(
            f"none of the {len(kept)} radiographs comes back from its own noise: inverted, of "
            "another part of the body, or not as the model reads them"
        )
    return found


def _by_name(classifier: Classifier | Mapping[str, Classifier]) -> Mapping[str, Classifier]:
    if isinstance(classifier, Mapping):
        if not classifier:
            raise OptionError("no classifier was given to audit")
        return classifier
    return {"classifier": classifier}


def _patients(table: pd.DataFrame, groups: str) -> np.ndarray:
    """Returns the patient of every row, the row itself where the table names none."""
    if groups in table.columns:
        return table[groups].to_numpy(object)
    if groups != "patient_id":
        raise TableError(
            f"no column {groups!r} of patients{nearest(groups, table.columns) or '.'} The table "
            f"has: {summarise(table.columns, 30)}"
        )
    return np.arange(len(table)).astype(object)


def _rates(
    table: pd.DataFrame,
    protected: Sequence[str],
    subject: _Subject,
    truth: Mapping[str, np.ndarray | None],
    resampled: Callable[[np.ndarray], PatientBootstrap],
) -> pd.DataFrame:
    """Returns the rates of every group of every protected attribute that has levels."""
    lines: list[dict[str, object]] = []
    bootstrap = resampled(np.arange(len(table)))
    levelled = [name for name in protected if not pd.api.types.is_float_dtype(table[name])]
    for column, output in enumerate(subject.outputs):
        threshold = subject.thresholds[output]
        rates = group_rates(subject.scores[:, column], truth[output], threshold)
        for attribute in levelled:  # a continuous attribute has no groups
            values = table[attribute].astype(object)
            members = {
                str(level): (values == level).to_numpy(bool)
                for level in sorted(values.dropna().unique())
            }
            lines += [
                {"output": output, "attribute": attribute, **line}
                for line in gaps(members, rates, bootstrap)
            ]
    return pd.DataFrame(lines)


def _rows(found: Sequence[Scores], outputs: Sequence[str], index: pd.Index) -> pd.DataFrame:
    """Returns every score of every radiograph and world."""
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "row": index[scores.rows],
                    "output": output,
                    "attribute": scores.attribute,
                    "from": scores.origin,
                    "to": scores.target,
                    "image": scores.image[:, column],
                    "reconstruction": scores.reconstruction[:, column],
                    "counterfactual": scores.counterfactual[:, column],
                    "back": scores.back[:, column],
                    "placebo": scores.placebo[:, column],
                }
            )
            for scores in found
            for column, output in enumerate(outputs)
        ],
        ignore_index=True,
    )


def _thresholds(given: Mapping[str, float] | float, outputs: Sequence[str]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return dict.fromkeys(outputs, float(given))
    for name in given:
        if name not in outputs:
            raise OptionError(
                f"a threshold is given of {name!r}{nearest(name, outputs) or '.'} The outputs "
                f"are: {summarise(outputs, 20)}"
            )
    return {name: float(given.get(name, 0.5)) for name in outputs}


def _truths(
    given: pd.DataFrame, table: pd.DataFrame, outputs: Sequence[str], labels: Mapping[str, str]
) -> dict[str, np.ndarray | None]:
    """Returns what is true of every output (rows,), 1 or 0, NaN where unknown; None if unsaid.

    Raises:
        OptionError: If a label is of no output, or in no column.
    """
    for output, column in labels.items():
        if output not in outputs:
            raise OptionError(
                f"a label is given of {output!r}{nearest(output, outputs) or '.'} The outputs "
                f"are: {summarise(outputs, 20)}"
            )
        if column not in given.columns:
            raise OptionError(
                f"no column {column!r} says what is true of {output!r}"
                f"{nearest(column, given.columns) or '.'} The table has: "
                f"{summarise(given.columns, 30)}"
            )
    return {output: _truth(given, table, labels.get(output, output)) for output in outputs}


def _truth(given: pd.DataFrame, table: pd.DataFrame, column: str) -> np.ndarray | None:
    if column in table.columns and isinstance(table[column].dtype, pd.CategoricalDtype):
        levels, values = table[column].cat.categories, table[column].astype(object)
        if len(levels) != 2 or values.isna().all():
            return None
        return (values == levels[1]).astype(float).where(values.notna()).to_numpy(float)
    if column in given.columns:
        return pd.to_numeric(given[column], errors="coerce").to_numpy(float)
    return None
