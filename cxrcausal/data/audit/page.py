"""The audit as one HTML page that needs no other file, and as JSON for programs."""

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cxrcausal.data.audit.finding import Audit
from cxrcausal.files import atomic_path
from cxrcausal.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_audit"]

SHOWN = 12  # rows of a finding on the page; the JSON has all
HEADS = {
    "act": "To be mended",
    "look": "To be looked at",
    "know": "To be known",
}


def write_audit(
    audit: Audit,
    path: str | os.PathLike,
    table: pd.DataFrame | None = None,
    title: str = "Audit",
) -> Path:
    """Writes an audit as a page, what has to be acted on first, and as JSON beside it.

    Arguments:
        audit: What was found.
        path: The page to write, as ``report.html``.
        table: The audited table, whose ages are drawn.
        title: The page's title.

    Returns:
        The JSON file, of the same name but for its ending.
    """
    path = Path(path)
    page = Page(title)
    act, look, know = (
        sum(finding.weight == weight for finding in audit.findings) for weight in HEADS
    )
    sizes = [f"{audit.numbers[key]:,} {key}" for key in ("rows", "patients", "radiographs")
             if audit.numbers.get(key) is not None]  # fmt: skip
    page.say(
        f"{', '.join(sizes)}. {act} findings to be mended, {look} to be looked at, {know} to be "
        f"known. Tables here show at most {SHOWN} rows; "
        f"{path.with_suffix('.json').name} has all of them."
    )
    for weight, head in HEADS.items():
        chosen = [finding for finding in audit.findings if finding.weight == weight]
        if not chosen:
            continue
        page.head(head)
        for finding in chosen:
            page.say(finding.said)
            if len(finding.rows):
                page.table(_shown(finding.rows))
    for gallery, (captions, pictures) in audit.pictures.items():
        if len(captions):
            page.head(gallery)
            page.figure(_contact_sheet(captions, pictures), f"{gallery}: file and what was found.")
    if "Unknown cells" in audit.tables:
        page.head("Unknown cells")
        page.figure(_missing_figure(audit.tables["Unknown cells"]), "Share of unknown cells.")
    if table is not None and "age" in table.columns and table["age"].notna().any():
        page.head("Age")
        page.figure(_age_figure(table), "Rows by age in years and sex.")
    if len(prevalence := audit.tables.get("Prevalence", pd.DataFrame())):
        page.head("Prevalence")
        page.figure(
            _prevalence_figure(prevalence),
            "Positive per cent of the rows where the finding is known; the colour says how many "
            "times the prevalence in all rows. Pale figures rest on fewer than 50 rows.",
        )
    page.head("Numbers")
    page.table(_numbers(audit))
    page.save(path)
    with atomic_path(path.with_suffix(".json")) as beside:
        beside.write_text(audit.to_json() + "\n", encoding="utf-8")
    return path.with_suffix(".json")


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the first rows, files by their last two names."""
    rows = rows.head(SHOWN).copy()
    for name in rows.columns:
        if str(name).startswith("image"):
            parts = rows[name].astype(str).str.replace("\\", "/").str.split("/")
            rows[name] = parts.str[-2:].str.join("/")
    return rows


def _numbers(audit: Audit) -> pd.DataFrame:
    lines = [(key, value) for key, value in audit.numbers.items() if value is not None]
    lines.append(("seconds", round(audit.seconds, 1)))
    said = [json.dumps(v) if isinstance(v, dict) else str(v) for _, v in lines]
    return pd.DataFrame({"what": [key for key, _ in lines], "value": said})


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _contact_sheet(captions: list[str], pictures: np.ndarray) -> "Figure":
    """Draws thumbnails under their captions."""
    columns = 6 if pictures.shape[2] == pictures.shape[1] else 4
    rows = math.ceil(len(captions) / columns)
    figure = _figure(10.5, 2.0 * rows if columns == 6 else 1.65 * rows)
    for i, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
        axes.axis("off")
        if i < len(captions):
            axes.imshow(pictures[i], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            name, _, said = captions[i].rpartition(": ")
            axes.set_title(f"{name[-28:]}\n{said}", fontsize=6)
    return figure


def _missing_figure(missing: pd.DataFrame) -> "Figure":
    figure = _figure(7, 0.5 + 0.22 * len(missing))
    axes = figure.subplots()
    axes.barh(missing["variable"], 100 * missing["share"], color="#4a6fa5")
    axes.invert_yaxis()
    axes.set(xlabel="unknown (%)", xlim=(0, 100))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _age_figure(table: pd.DataFrame) -> "Figure":
    figure = _figure(7, 2.6)
    axes = figure.subplots()
    ages = table["age"]
    edges = np.arange(np.floor(ages.min()), np.ceil(ages.max()) + 2)
    sexes = table["sex"].astype(object) if "sex" in table.columns else ages.map(lambda _: None)
    groups = {sex: ages[sexes == sex] for sex in ("Female", "Male") if (sexes == sex).any()}
    for sex, chosen in (groups or {"all": ages}).items():
        axes.hist(chosen.dropna(), edges.tolist(), histtype="step", label=sex)
    axes.legend(frameon=False)
    axes.set(xlabel="age (years)", ylabel="rows")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _prevalence_figure(prevalence: pd.DataFrame) -> "Figure":
    """Draws findings by groups, coloured by how far each prevalence is from that of all rows."""
    wide = prevalence.assign(column=prevalence["by"] + "\n" + prevalence["group"])
    columns = list(dict.fromkeys(wide["column"]))
    columns = [c for c in columns if c.startswith("all")] + sorted(
        (c for c in columns if not c.startswith("all")), key=lambda c: c.split("\n")[0]
    )
    findings = list(dict.fromkeys(wide["finding"]))
    shares = wide.pivot(index="finding", columns="column", values="prevalence")
    shares = shares.reindex(index=findings, columns=columns)
    positive = wide.pivot(index="finding", columns="column", values="known")
    positive = positive.reindex(index=findings, columns=columns).to_numpy()
    values = shares.to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.log2(values / values[:, :1])
    figure = _figure(1.6 + 0.62 * len(columns), 1.0 + 0.3 * len(findings))
    axes = figure.subplots()
    shown = axes.imshow(
        np.clip(np.where(values == 0, -3.0, times), -3, 3), cmap="RdBu_r", vmin=-3, vmax=3,
        aspect="auto",
    )  # fmt: skip
    for i, j in np.argwhere(np.isfinite(values)):
        rests = "black" if positive[i, j] >= 50 else "#999999"
        axes.text(j, i, f"{100 * values[i, j]:.3g}", ha="center", va="center", size=7, color=rests)
    labels = [column.replace("\n", "\n" if column != "all\nall" else "") for column in columns]
    axes.set_xticks(range(len(columns)), [c.replace("allall", "all") for c in labels], size=7)
    axes.set_yticks(range(len(findings)), findings, size=8)
    axes.xaxis.tick_top()
    bar = figure.colorbar(shown, ax=axes, ticks=[-3, -1, 0, 1, 3], shrink=0.6)
    bar.ax.set_yticklabels(["1/8", "1/2", "1", "2", "8"])
    return figure
