"""A table of patients, looked at before anything is fitted to it.

What can be wrong without a word: a summary that contradicts what it summarises, a child label
without its parent (Irvin et al. 2019, figure 1), one patient on both sides of a split, one
radiograph in two rows, a patient of two sexes. And what is not wrong and has to be known: what a
source never labels, and prevalences that differ so much between views or sources that a
classifier can read the view instead of the finding.

References:
    | CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison
    | (Irvin et al., 2019), https://arxiv.org/abs/1901.07031
"""

import time
from collections.abc import Hashable, Iterator
from itertools import pairwise

import pandas as pd

from cxrcausal.data.audit.finding import Audit, Finding
from cxrcausal.data.split import split_by_patient
from cxrcausal.errors import TableError, nearest, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.load import load_graph
from cxrcausal.patients import FEWEST

__all__ = ["AGES", "HIERARCHY", "audit_table"]

HIERARCHY = {
    "enlarged_cardiomediastinum": ("cardiomegaly",),
    "lung_opacity": ("edema", "consolidation", "pneumonia", "lung_lesion", "atelectasis"),
    "consolidation": ("pneumonia",),
}
"""From a label to those that imply it (Irvin et al. 2019, figure 1)."""

AGES = (0, 18, 40, 60, 80, 200)
"""Edges of the age bands in years."""

FACTOR = 3.0  # of prevalence between two groups: what a classifier reads with little effort


def audit_table(
    table: pd.DataFrame, graph: str | CausalGraph = "cxr19", *, split: str | None = None
) -> Audit:
    """Looks for what is missing, contradictory, leaking or repeated in a table.

    Arguments:
        table: Rows as `read_table` returns; `patient_id` and `image` are used where it has them.
        graph: A causal graph, its name or its file.
        split: A column that says which part (train, test, ...) each row is in.

    Returns:
        Findings with the rows that they are about, and tables: unknown cells per variable, and
        prevalence of each finding by dataset, sex, age band and view.

    Raises:
        TableError: If the table has no rows, no column of the graph, or no column `split`.
    """
    begun = time.perf_counter()
    graph = graph if isinstance(graph, CausalGraph) else load_graph(graph)
    variables = [name for name in graph.variables if name in table.columns]
    if not len(table) or not variables:
        raise TableError(
            f"a table of {len(table)} rows and the columns {summarise(table.columns, 30)} has "
            f"nothing of graph {graph.name!r} to audit; read it by read_table"
        )
    if split is not None and split not in table.columns:
        raise TableError(
            f"no column {split!r} that says the split{nearest(split, table.columns) or '.'} "
            f"The table has: {summarise(table.columns, 30)}"
        )
    findings = [
        *_as_read(table),
        *_unknown(table, variables),
        *_definitions(table, graph),
        *_hierarchy(table, graph),
        *_patients(table),
        *_splits(table, split),
        *_repeated(table),
        *_rare(table, graph, variables),
        *_top_coded(table),
    ]
    prevalence = _prevalence(table, graph)
    findings += _shortcuts(prevalence)
    return (
        Audit(
            tuple(findings),
            {"Unknown cells": _missingness(table, variables), "Prevalence": prevalence},
            {
                "rows": len(table),
                "patients": int(table["patient_id"].nunique()) if "patient_id" in table else None,
                "graph": graph.name,
                **{
                    key: table.attrs.get("cxrcausal", {}).get(key)
                    for key in ("source", "policies")
                },
            },
            seconds=time.perf_counter() - begun,
        )
        + Audit()
    )


def _as_read(table: pd.DataFrame) -> Iterator[Finding]:
    """Yields what was remarked when the table was read."""
    for reason, count in table.attrs.get("cxrcausal", {}).get("notes", {}).items():
        if not reason.startswith("no_finding"):  # found again below, with its rows
            said = f"As the table was read, in {count:,} rows: {reason}."
            yield Finding("as_read", "know", said, int(count))


def _missingness(table: pd.DataFrame, variables: list[str]) -> pd.DataFrame:
    unknown = table[variables].isna()
    return pd.DataFrame(
        {
            "variable": variables,
            "unknown": unknown.sum().to_numpy(),
            "share": unknown.mean().to_numpy().round(4),
        }
    )


def _unknown(table: pd.DataFrame, variables: list[str]) -> Iterator[Finding]:
    """Yields the variables that nobody labelled, and those that most rows lack."""
    share = table[variables].isna().mean()
    never = [str(name) for name in share.index[share == 1.0]]
    mostly = [str(name) for name in share.index[(share > 0.5) & (share < 1.0)]]
    if never:
        said = "unknown in every row, so nothing can be fitted to them or asked of them"
        yield Finding("never_labelled", "know", f"{', '.join(never)}: {said}.", len(never))
    if mostly:
        said = ", ".join(f"{name} ({share[name]:.0%})" for name in mostly)
        yield Finding("mostly_unknown", "know", f"Unknown in most rows: {said}.", len(mostly))


def _definitions(table: pd.DataFrame, graph: CausalGraph) -> Iterator[Finding]:
    """Yields rows where a summary is not what it summarises."""
    for name, variable in graph.variables.items():
        causes = [cause for cause in graph.parents(name) if cause in table.columns]
        if variable.mechanism != "nor" or name not in table.columns or not causes:
            continue
        yes = {cause: graph.variables[cause].levels[1] for cause in causes}
        no = {cause: graph.variables[cause].levels[0] for cause in causes}
        labelled = [cause for cause in causes if table[cause].notna().any()]
        found = (table[causes] == pd.Series(yes)).any(axis=1)
        clean = (table[labelled] == pd.Series(no)[labelled]).all(axis=1)
        wrong = (table[name] == variable.levels[1]) & found
        if wrong.any():
            where = _rows(table, wrong)
            where["positive"] = [
                ", ".join(cause for cause in causes if row[cause] == yes[cause])
                for row in table.loc[wrong, causes].to_dict("records")
            ]
            yield Finding(
                "definition_positive",
                "act",
                f"{name} is {variable.levels[1]} beside a positive finding, which its definition "
                f"excludes, in {_many(wrong.sum(), 'row')}: correct either label, or make it "
                "unknown.",
                int(wrong.sum()),
                where,
            )
        empty = (table[name] == variable.levels[0]) & clean & bool(labelled)
        if empty.any():
            yield Finding(
                "definition_negative",
                "know",
                f"{name} is {variable.levels[0]} although every labelled finding is negative, in "
                f"{_many(empty.sum(), 'row')}: the source found something that has no column "
                "here, or was uncertain.",
                int(empty.sum()),
                _rows(table, empty),
            )


def _hierarchy(table: pd.DataFrame, graph: CausalGraph) -> Iterator[Finding]:
    """Yields rows where a label is positive and the one that it implies is negative."""
    counts, conflict = [], pd.Series(False, index=table.index)
    for above, implying in HIERARCHY.items():
        for below in implying:
            if not {above, below} <= set(graph.variables) & set(table.columns):
                continue
            up, down = graph.variables[above].levels, graph.variables[below].levels
            both = table[[above, below]].notna().all(axis=1) & (table[below] == down[1])
            wrong = both & (table[above] == up[0])
            if wrong.any():
                counts.append((below, above, int(wrong.sum()), wrong.sum() / both.sum()))
            conflict |= wrong
    if counts:
        counts.sort(key=lambda line: -line[2])
        below, above, number, share = counts[0]
        rows = pd.DataFrame(counts, columns=["positive", "negative", "rows", "share"])
        yield Finding(
            "hierarchy",
            "look",
            f"A finding is positive and the label that includes it negative in "
            f"{_many(conflict.sum(), 'row')}; most often {below} without {above} ({number:,} rows,"
            f" {share:.0%} of those with both known). Where silence was read as negative, the "
            "report named the one and not the other: this is no error of the table, and a model "
            "that takes the hierarchy for granted is wrong here.",
            int(conflict.sum()),
            rows.round({"share": 3}),
        )


def _patients(table: pd.DataFrame) -> Iterator[Finding]:
    """Yields patients who are two people, and rows of nobody."""
    if "patient_id" not in table.columns:
        said = "The table names no patients, so nothing can keep one patient in one split."
        yield Finding("no_patients", "act", said, len(table))
        return
    nobody = table["patient_id"].isna()
    if nobody.any():
        said = f"{_many(nobody.sum(), 'row')} name no patient; they cannot be split by patient."
        yield Finding("no_patient", "act", said, int(nobody.sum()), _rows(table, nobody))
    for name in ("sex", "race"):
        if name not in table.columns:
            continue
        number = table.groupby("patient_id", observed=True)[name].nunique()
        several = number.index[number > 1]
        if len(several):
            where = table["patient_id"].isin(several)
            yield Finding(
                f"patient_{name}",
                "act",
                f"{_many(len(several), 'patient')} of more than one {name}: a wrong entry, or two "
                "people under one id.",
                len(several),
                _rows(table, where, name).sort_values("patient_id"),
            )


def _splits(table: pd.DataFrame, split: str | None) -> Iterator[Finding]:
    """Yields patients on two sides of a split."""
    if "patient_id" not in table.columns or table["patient_id"].isna().any():
        return
    ours = split_by_patient(table)
    sizes = ", ".join(f"{part} {count:,}" for part, count in ours.value_counts().items())
    said = f"The library's split by patient would have {sizes} rows; no patient is in two parts."
    if split is None:
        yield Finding("split", "know", said, 0)
        return
    parts = table.groupby("patient_id", observed=True)[split].nunique()
    leaking = parts.index[parts > 1]
    if len(leaking):
        where = table["patient_id"].isin(leaking)
        yield Finding(
            "leakage",
            "act",
            f"{_many(len(leaking), 'patient')} ({_many(where.sum(), 'row')}) are in more than one "
            f"part of the column {split!r}: what is measured on the test part is of patients whom "
            "training has seen. Keep each patient in one part.",
            len(leaking),
            _rows(table, where, split).sort_values("patient_id"),
        )
    both = pd.crosstab(table[split], ours.to_numpy()).to_dict("index")
    yield Finding(
        "split",
        "know",
        f"{said} It is not the table's own split, {split!r}; use one of them throughout.",
        0,
        pd.DataFrame([{split: part, **counts} for part, counts in both.items()]),
    )


def _repeated(table: pd.DataFrame) -> Iterator[Finding]:
    """Yields radiographs that several rows name."""
    if "image" not in table.columns:
        return
    without = table["image"].isna()
    if without.any():
        said = f"{_many(without.sum(), 'row')} name no radiograph."
        yield Finding("no_image", "know", said, int(without.sum()), _rows(table, without))
    twice = table["image"].duplicated(keep=False) & ~without
    if twice.any():
        yield Finding(
            "image_twice",
            "act",
            f"{_many(table.loc[twice, 'image'].nunique(), 'radiograph')} stand in several rows "
            f"({twice.sum():,}): they count several times, or on both sides of a split.",
            int(table.loc[twice, "image"].nunique()),
            _rows(table, twice).sort_values("image"),
        )


def _rare(table: pd.DataFrame, graph: CausalGraph, variables: list[str]) -> Iterator[Finding]:
    """Yields levels that too few rows have."""
    few = []
    for name in variables:
        if graph.variables[name].is_discrete and table[name].notna().any():
            counts = table[name].astype(object).value_counts()
            few += [
                (name, level, int(counts.get(level, 0)))
                for level in graph.variables[name].levels
                if counts.get(level, 0) < FEWEST and name != "dataset"
            ]
    if few:
        said = ", ".join(f"{name} = {level} ({count})" for name, level, count in few)
        yield Finding(
            "rare",
            "know",
            f"Fewer than {FEWEST} rows have {said}: what is said of them rests on little.",
            len(few),
            pd.DataFrame(few, columns=["variable", "level", "rows"]),
        )


def _top_coded(table: pd.DataFrame) -> Iterator[Finding]:
    """Yields the highest age, where it is so frequent that it must stand for older ones too."""
    if "age" not in table.columns:
        return
    ages = table["age"].dropna().astype(float).floordiv(1)
    if ages.empty:
        return
    oldest = ages.max()
    there = int((ages == oldest).sum())
    below = ages.between(oldest - 3, oldest - 1).sum() / 3  # rows per year
    if there >= FEWEST and below and there > 2 * below:
        yield Finding(
            "top_coded",
            "know",
            f"{_many(there, 'row')} have age {oldest:g}, the highest, {there / below:.1f} times "
            "as many as the years before it: it probably stands for every higher age too.",
            there,
        )


def _groups(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Returns the groups that prevalences are compared between, unknown ones as NaN."""
    groups = {name: table[name] for name in ("dataset", "sex", "view") if name in table.columns}
    if "dataset" in groups and groups["dataset"].nunique() < 2:
        del groups["dataset"]  # the column of all rows, once more
    if "age" in table.columns:
        names = [f"{low}-{high - 1}" for low, high in pairwise(AGES)]
        names[-1] = f"{AGES[-2]}+"
        groups["age"] = pd.cut(table["age"], AGES, right=False, labels=names)
    return groups


def _prevalence(table: pd.DataFrame, graph: CausalGraph) -> pd.DataFrame:
    """Returns for each finding and group how many rows are known, and the share of positives."""
    lines: list[dict[str, Hashable | float]] = []
    groups: dict[str, pd.Series] = {"all": pd.Series("all", index=table.index), **_groups(table)}
    for name, variable in graph.variables.items():
        if variable.kind != "binary" or name == "sex" or name not in table.columns:
            continue
        known = table[name].notna().to_numpy()
        positive = (table[name] == variable.levels[1]).to_numpy()
        for by, group in groups.items():
            counts = pd.DataFrame({"known": known, "positive": positive}).groupby(
                group.to_numpy(), sort=True
            )
            for level, line in counts.sum().iterrows():
                if line["known"]:
                    share = line["positive"] / line["known"]
                    lines.append(
                        {
                            "finding": name,
                            "by": by,
                            "group": str(level),
                            "known": int(line["known"]),
                            "positive": int(line["positive"]),
                            "prevalence": round(share, 5),
                        }
                    )
    return pd.DataFrame(
        lines, columns=["finding", "by", "group", "known", "positive", "prevalence"]
    )


def _shortcuts(prevalence: pd.DataFrame) -> Iterator[Finding]:
    """Yields findings that the view, the sex or the source gives away."""
    lines = []
    enough = prevalence[(prevalence["known"] >= 20 * FEWEST) & (prevalence["by"] != "age")]
    for (name, by), part in enough.groupby(["finding", "by"], sort=False):
        high, low = part.loc[part["prevalence"].idxmax()], part.loc[part["prevalence"].idxmin()]
        if high["positive"] < FEWEST or len(part) < 2:
            continue
        times = high["prevalence"] / max(low["prevalence"], 0.5 / low["known"])
        if times >= FACTOR:
            lines.append(
                (name, by, high["group"], high["prevalence"], low["group"], low["prevalence"],
                 round(times, 1))
            )  # fmt: skip
    if lines:
        lines.sort(key=lambda line: -line[-1])
        name, by, high_group, high_share, low_group, low_share, _ = lines[0]
        names = ["finding", "by", "highest in", "prevalence", "lowest in", "there", "times"]
        yield Finding(
            "shortcut",
            "know",
            f"The prevalence of {_many(len(lines), 'finding')} differs by a factor of {FACTOR:g} "
            f"or more between groups, most for {name} by {by}: {high_share:.1%} in {high_group}, "
            f"{low_share:.1%} in {low_group}. A classifier can read the group instead of the "
            "finding; compare within groups, or balance them.",
            len(lines),
            pd.DataFrame(lines, columns=names),
        )


def _rows(table: pd.DataFrame, where: pd.Series, *further: str) -> pd.DataFrame:
    """Returns the labels, patients and files of rows."""
    names = [name for name in ("patient_id", "image", *further) if name in table.columns]
    chosen = table.loc[where.to_numpy(bool), names].astype(object)
    chosen.insert(0, "row", chosen.index.astype(str))
    return chosen.reset_index(drop=True)


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
