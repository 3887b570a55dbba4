"""What `metadata_likelihood.py` prints: the whole table, its verdict, and the shorter table
of the evidence page.
"""

PEERS = ("logistic", "logistic, age spline", "boosted trees", "marginal", "marginal per source")
OURS = "cxrcausal"
TOLERANCE = 0.002  # nats per row, in any group
NOTABLE = 0.0005  # nats per row: what a single variable's loss must exceed to be named
SHOWN = {
    "age": "age (per year)",
    "no_finding": "no_finding",
    "all others": "all others",
    "whole row": "whole row",
}


def markdown(results: list[dict]) -> str:
    """Returns all figures as one table: groups first, then the variables."""
    models = [OURS, *PEERS]
    head = [
        "graph",
        "fitted on",
        "scored on",
        "variable",
        "rows",
        *models,
        "lead over logistic (s.e.)",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in results:
        # a group of one variable stands in the table once, as a group
        for name, figures in (r["variables"] | r["groups"]).items():
            bold = "**" if name in r["groups"] else ""
            nats = [f"{figures['nats'][m]:.4f}" if m in figures["nats"] else "–" for m in models]
            rows = figures["rows"]
            count = (
                "0"
                if not rows
                else f"{min(rows):,}" + (f"–{max(rows):,}" if max(rows) > min(rows) else "")
            )
            lead = (
                f"{figures['lead']:+.4f} ({figures['standard_error']:.4f})"
                if "lead" in figures
                else "–"
            )
            lines.append(
                f"| {r['graph']} | {r['fit']} | {r['source']} | {bold}{name}{bold} | {count} | "
                + " | ".join(nats)
                + f" | {lead} |"
            )
    return "\n".join(lines)


def verdict(results: list[dict]) -> tuple[bool, str]:
    """Returns whether no group is more than `TOLERANCE` below logistic regression, and the
    sentence.
    """
    cases = [
        (g["lead"], f"{r['graph']}, {r['fit']} on {r['source']}, {name}")
        for r in results
        for name, g in r["groups"].items()
        if "lead" in g
    ]
    if not cases:
        return False, "verdict: no peer was fitted, so there is nothing to hold the SCM against"
    worst, where = min(cases)
    holds = worst >= -TOLERANCE
    return holds, (
        f"verdict: {'holds' if holds else 'FAILS'}: never below logistic regression (linear or "
        f"spline in age, whichever is better) by more than {TOLERANCE} nats in any of "
        f"{len(cases)} groups; worst {worst:+.5f} ({where})"
    )


def losers(results: list[dict]) -> list[str]:
    """Returns a line for every variable that loses notably to the better logistic regression."""
    return [
        f"{r['graph']}, {r['fit']} on {r['source']}: {name} {v['lead']:+.5f} "
        f"(s.e. {v['standard_error']:.5f}) against {v['rival']}"
        for r in results
        for name, v in r["variables"].items()
        if v.get("lead", 0.0) < -NOTABLE
    ]


def evidence_table(results: list[dict]) -> str:
    """Returns what the evidence page shows: every group of a fit of one source, whole rows of a
    pooled one.

    *logistic* is the better of the two regressions.
    """
    lines = [
        "| graph, fitted on; scored on | group | cxrcausal | logistic | trees | marginals | per "
        "source |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        for group, label in SHOWN.items():
            if r["fit"] == "pooled" and group != "whole row":
                continue
            nats = r["groups"][group]["nats"]
            logistic = [nats[peer] for peer in PEERS[:2] if peer in nats]
            cells = [nats[OURS], max(logistic) if logistic else None]
            cells += [nats.get(peer) for peer in PEERS[2:]]
            shown = " | ".join("" if cell is None else f"{cell:.4f}" for cell in cells)
            lines.append(f"| {r['graph']}, {r['fit']}; {r['source']} | {label} | {shown} |")
    return "\n".join(lines)
