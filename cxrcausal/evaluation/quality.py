"""How well a predictor reads radiographs of patients that it was not trained on."""

import numpy as np
import pandas as pd

from cxrcausal.bootstrap import PatientBootstrap, weighted_auc, weighted_mean
from cxrcausal.evaluation.predictor import Predictor
from cxrcausal.shapes import Image

__all__ = ["predictor_quality"]


def predictor_quality(
    predictor: Predictor,
    images: Image,
    table: pd.DataFrame,
    *,
    groups: str = "patient_id",
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Returns how well the predictor reads radiographs that it was not trained on.

    Arguments:
        predictor: A fitted predictor.
        images: Radiographs of other patients.
        table: Their metadata, row by row.
        groups: The column of patients, for the intervals.
        resamples: Bootstrap resamples.
        seed: Of the bootstrap.

    Returns:
        One row per scored column: `metric` (AUC, or MAE in the variable's unit), `value`, `low`,
        `high` (95 % by patient), `radiographs` (known ones) and `positives` (NaN where
        continuous).
    """
    score, truth = predictor.score(images, table.index), predictor.truth(table)
    bootstrap = PatientBootstrap(table[groups], resamples=resamples, seed=seed)
    rows = {}
    for name in score:
        variable = predictor.graph.variables[str(name).split("=")[0]]
        s, y = score[name].to_numpy(), truth[name].to_numpy()
        if variable.is_discrete:
            interval = bootstrap.interval(weighted_auc(s, y))
        else:
            interval = bootstrap.interval(weighted_mean(np.abs(s - y)))
        rows[name] = {
            "metric": "AUC" if variable.is_discrete else f"MAE ({variable.unit or 'own unit'})",
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "radiographs": int((~np.isnan(y)).sum()),
            "positives": int(np.nansum(y)) if variable.is_discrete else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("target")
