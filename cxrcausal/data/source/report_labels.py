"""Labels mined from reports in CheXpert's vocabulary, one column per finding.

CheXpert, MIMIC-CXR and BRAX write 1 (positive), 0 (negative), -1 (uncertain) or nothing (not
mentioned). 'No Finding' is a summary that the labeller writes only as 1: where it is empty the
labeller did find something, or was uncertain of it, so empty is negative there under every policy.

References:
    | CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison
    | (Irvin et al., 2019), https://arxiv.org/abs/1901.07031
"""

from collections.abc import Mapping

import pandas as pd

from cxrcausal.data.source.vocabulary import (
    FINDINGS,
    Columns,
    Policies,
    column,
    likelihood_column,
    mention_ratio,
    numbers,
    translate,
)

__all__ = ["FROM_REPORTS", "report_labels"]

FROM_REPORTS: Mapping[str, str] = {
    name: "1 positive, 0 negative"
    if name != "no_finding"
    else "1 positive, 0 or empty negative (written only where nothing was found)"
    for name in FINDINGS.values()
}
"""What becomes of a report label's values, by finding."""


def report_labels(
    frame: pd.DataFrame,
    source: str,
    policies: Policies,
    notes: dict[str, int],
    labelled: pd.Series | None = None,
) -> Columns:
    """Returns the findings of a table that has CheXpert's columns.

    Arguments:
        frame: The table, one row per radiograph.
        source: What to call its source in an error.
        policies: What silence (empty) and uncertainty (-1) are.
        notes: Counts of cells that are not taken as written, added to in place.
        labelled: Whether the row has labels at all (rows,); where not, every finding is unknown,
            which is not the silence of a report. All have if left out.

    Raises:
        TableError: If a column is absent or holds another value.
    """
    rows = pd.Series(True, index=frame.index) if labelled is None else labelled.astype(bool)
    notes["row without any report label, its findings unknown"] = int((~rows).sum())
    words: dict[float, str | None] = {1.0: "positive", 0.0: "negative"}
    decided = policies.uncertain in ("negative", "positive")
    words[-1.0] = policies.uncertain if decided else None
    columns: Columns = {}
    for theirs, ours in FINDINGS.items():
        silent = policies.not_mentioned == "negative" or ours == "no_finding"
        label = numbers(column(frame, theirs, source))
        found = translate(label, words, empty="negative" if silent else None)
        columns[ours] = found.where(rows)
        if policies.uncertain == "likelihood" and (label == -1).any():
            said = pd.Series(mention_ratio(label[rows]), index=frame.index).where(label == -1)
            columns[likelihood_column(ours)] = said
    return columns
