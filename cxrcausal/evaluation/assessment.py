"""What an image mechanism does on radiographs that it has not seen, on one page.

The short form of the project's own soundness table (`benchmarks/image_soundness.py`), for anyone's
model and radiographs: does a radiograph come back; is the noise white, and does it know nothing of
the parents; what are the parents worth; do interventions move what predictors read.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from cxrcausal.bootstrap import PatientBootstrap, weighted_mean
from cxrcausal.errors import TableError
from cxrcausal.evaluation.axioms import RoundTrip, paint, round_trip
from cxrcausal.evaluation.figure import counterfactual_grid, image_grid
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.evaluation.probe import Features, noise_statistics, ridge_probe
from cxrcausal.evaluation.question import Question, flip, move
from cxrcausal.evaluation.report import interval_text
from cxrcausal.evaluation.study import soundness
from cxrcausal.image.guidance import Guidance
from cxrcausal.image.loading import ImageFlow
from cxrcausal.image.training.nats import parents_worth
from cxrcausal.page import Page
from cxrcausal.shapes import Attributes, Image

__all__ = ["assess"]

FAMILIES: tuple[Features, ...] = ("pixels", "blocks", "bands", "neighbours")
FOLDS = 5
YEARS = 30.0
SHOWN = 6


def assess(
    mechanism: ImageFlow,
    images: Image,
    table: pd.DataFrame,
    predictors: Mapping[str, Predictor] | None = None,
    *,
    title: str = "Image mechanism",
    permutations: int = 100,
    resamples: int = 1000,
    batch_size: int = 32,
) -> Page:
    """Returns a page on a mechanism's round trip, noise, nats, interventions and samples.

    Arguments:
        mechanism: The mechanism.
        images: Radiographs in [0, 1] of patients that neither it nor the predictors saw.
        table: Their metadata, with `patient_id`.
        predictors: Trained on other patients, by the name under which they are reported; without
            any, interventions are shown and not measured.
        title: Of the page.
        permutations: Of the probes' chance.
        resamples: Of the bootstrap by patient.
        batch_size: Radiographs at a time.

    Raises:
        TableError: If there are fewer than two patients.
        ImageError: If the images have another shape or range.
    """
    page = Page(title)
    mechanism.check_images(images)
    if table["patient_id"].nunique() < 2:
        raise TableError("an assessment needs radiographs of two patients at least")
    parents = mechanism.encode(table)[0]
    patients = PatientBootstrap(table["patient_id"], resamples=resamples)
    page.say(
        f"{len(images)} radiographs of {table['patient_id'].nunique()} patients. Intervals are "
        f"95 %, by patient. Generated radiographs are not for diagnosis."
    )
    trip = round_trip(mechanism, images, parents, batch_size=batch_size)
    page.head("There and back under unchanged parents")
    error = patients.interval(weighted_mean(trip.mae[-1]))
    page.say(
        f"Mean absolute error {interval_text(dataclasses.asdict(error), digits=4)} of the grey "
        f"scale, the worst radiograph {trip.mae[-1].max():.4f}, in {trip.evaluations} "
        f"evaluations both ways."
    )
    _noise(page, mechanism, table, trip, permutations, resamples)
    page.head("What the parents are worth")
    worth = parents_worth(mechanism, images, parents, batch_size=batch_size)
    page.say(
        f"Conditioned on nothing the bound is {worth['nats_gap']:.1f} nats per radiograph higher "
        f"than on everything, {worth['nats_gap_late']:.1f} of them at t > .85."
    )
    questions = _questions(mechanism, table)
    if predictors:
        _effects(page, mechanism, dict(predictors), images, table, trip, questions, resamples)
    _figures(page, mechanism, images, parents, trip, questions)
    return page


def _noise(
    page: Page,
    mechanism: ImageFlow,
    table: pd.DataFrame,
    trip: RoundTrip,
    permutations: int,
    resamples: int,
) -> None:
    """The distribution of the noise, and what probes read from it."""
    page.head("The noise")
    found = noise_statistics(trip.noise)
    low, high = min(found.spectrum), max(found.spectrum)
    page.say(
        f"Mean {found.mean:.3f} (white noise 0), standard deviation {found.std:.3f} (1), power "
        f"per ring of spatial frequency {low:.2f} to {high:.2f} (1), correlation of neighbours "
        f"{found.neighbour_correlation:.3f} (0)."
    )
    varying = [v.name for v in mechanism.attributes if v.name in ("view", "sex", "age")]
    varying = [name for name in varying if table[name].nunique() > 1]
    lines = []
    folds = min(FOLDS, table["patient_id"].nunique())
    for family in FAMILIES:
        probed = ridge_probe(
            trip.noise, table, mechanism.graph, varying, features=family, folds=folds,
            permutations=permutations, resamples=resamples,
        )  # fmt: skip
        lines += [
            {"probe": family, "variable": p["variable"], "AUC or correlation": _said(p),
             "95 % of chance below": f"{p['chance_high']:.2f}"}
            for p in probed.reset_index().to_dict(orient="records")
        ]  # fmt: skip
    page.say(f"What can be read from it, cross-validated by patient in {folds} folds:")
    page.table(pd.DataFrame(lines))


def _questions(mechanism: ImageFlow, table: pd.DataFrame) -> list[Question]:
    """Returns every parent that shows two levels exchanged, and age moved up and down."""
    graph, questions = mechanism.graph, []
    for variable in mechanism.attributes:
        levels = table[variable.name].dropna().nunique()
        if variable.is_discrete and levels == 2:
            questions.append(flip(table, graph, variable.name))
        elif variable.name == "age" and levels > 1:
            seen = mechanism.observed.get("age")
            within = (seen[0], seen[1]) if seen else None
            questions += [move(table, graph, "age", by, within) for by in (YEARS, -YEARS)]
    return [q for q in questions if not np.isnan(q.asked).all()]


def _effects(
    page: Page,
    mechanism: ImageFlow,
    predictors: dict[str, Predictor],
    images: Image,
    table: pd.DataFrame,
    trip: RoundTrip,
    questions: list[Question],
    resamples: int,
) -> None:
    """How far interventions move what predictors read, over what real radiographs show."""
    read = {v.name for predictor in predictors.values() for v in predictor.targets}
    asked = [q for q in questions if q.variable in read]
    found = soundness(
        mechanism, predictors, images, table, trip.noise, asked,
        {"none": Guidance("none"), "recommended": mechanism.guidance},
        reconstruction=trip.images, guided_nulls=False, resamples=resamples,
    )  # fmt: skip
    page.head("Interventions, read by predictors")
    page.say(
        "One parent is set alone. Shift: the change of the predictor's score over that of real "
        "radiographs which differ in this parent alone; excess: the change of another score "
        "beyond theirs, over its own effect."
    )
    page.table(
        pd.DataFrame(
            {
                "set": row["intervention"],
                "guidance": row["guidance"],
                "predictor": row["predictor"],
                "measure": row["measure"],
                "value": _said(row),
                "radiographs": row["radiographs"],
            }
            for row in found.to_dict(orient="records")
            if row["measure"].startswith(("shift", "crossed", "excess", "change"))
            and not row["measure"].startswith("shift of")
        )
    )


def _figures(
    page: Page,
    mechanism: ImageFlow,
    images: Image,
    factual: Attributes,
    trip: RoundTrip,
    questions: list[Question],
) -> None:
    """Some radiographs under every question, and free samples under their parents."""
    rows = torch.linspace(0, len(images) - 1, min(SHOWN, len(images))).long()
    at = rows.numpy()
    worlds = {}
    for question in questions:
        able = ~np.isnan(question.asked[at])
        drawn = torch.full_like(images[rows], torch.nan)
        some = rows[torch.from_numpy(able)]
        if len(some):
            mask = torch.tensor(
                [v.name == question.variable for v in mechanism.attributes], device=factual.device
            )
            drawn[torch.from_numpy(able)] = paint(
                mechanism,
                trip.noise[some],
                factual[some],
                mechanism.encode(question.table.iloc[some.numpy()])[0],
                mask.expand(len(some), -1),
                mechanism.guidance,
            )
        worlds[question.label] = drawn
    page.head("To look at")
    page.figure(
        counterfactual_grid(images[rows], trip.images[rows], worlds),
        "Radiographs, what comes back, and every question at the recommended guidance; below, "
        "what changed.",
    )
    samples = mechanism.predict(mechanism.prior(at, seed=0), factual[rows]).cpu()
    page.figure(
        image_grid({"real": images[rows], "samples": samples}),
        "Free samples under the parents of the radiographs above them.",
    )


def _said(row: Mapping[str, float]) -> str:
    """Returns a record's value and interval; what cannot be had of so few radiographs is blank."""
    if np.isnan(row["value"]):
        return ""
    return f"{row['value']:.2f}" if np.isnan(row["low"]) else interval_text(row)
