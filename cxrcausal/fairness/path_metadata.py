"""The same parts of the metadata: what follows an attribute before any radiograph is painted.

An output that is named after a finding follows it: where the finding itself differs between
groups, and by which part, stands beside the parts of the score. Where a part of the score is a
claim of the model, the bounds that data allow on how many patients' findings follow the attribute
stand beside it.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cxrcausal.effect.causes_of_effect import Causation, causation
from cxrcausal.effect.disparity import ctf_effects
from cxrcausal.effect.result import Effect
from cxrcausal.fairness.path_claims import Paths
from cxrcausal.fairness.worlds import Contrast
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.reach import descendants_of

__all__ = ["ctf_table", "mediator_bounds"]

_CTF = (
    "attribute", "from", "to", "outcome", "part", "value", "value_low", "value_high", "basis",
    "claim",
)  # fmt: skip
_BOUNDS = (
    "attribute", "from", "to", "mediator", "through", "event", "value", "value_low", "value_high",
    "least", "most", "claim",
)  # fmt: skip


def ctf_table(
    scm: FlowSCM,
    table: pd.DataFrame,
    asked: Sequence[Contrast],
    outputs: Sequence[str],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Returns Ctf-DE, IE and SE of the attribute on each finding that an output is named after.

    Signs and patients are those of the parts of the score: from the first level to the second,
    among those with the first, and variation = direct + indirect + spurious.

    Arguments:
        scm: The SCM.
        table: The metadata.
        asked: The contrasts; those of continuous attributes are left out.
        outputs: The outputs; those that are binary or continuous variables and descend from the
            attribute are asked.
        options: Those of every effect.
    """
    lines: list[dict[str, Any]] = []
    for contrast in _of_levels(asked):
        for outcome in _below(scm, contrast.attribute, outputs):
            levels = (contrast.target, contrast.origin)  # the direct part is that of the way back
            found = ctf_effects(scm, table, contrast.attribute, outcome, levels=levels, **options)
            parts: list[tuple[str, Effect, float]] = [
                ("direct", found.direct, 1.0),
                ("indirect", found.indirect, -1.0),
                ("spurious", found.spurious, -1.0),
                ("variation", found.variation, -1.0),
            ]
            of = {**_asked(contrast), "outcome": outcome}
            lines += [
                {
                    **of,
                    "part": part,
                    **_figure(sign * e.estimate, sign * e.low, sign * e.high),
                    "basis": e.claim.basis,
                    "claim": e.statement,
                }
                for part, e, sign in parts
            ]
            seen = found.observed
            lines.append(
                {
                    **of,
                    "part": "observed",
                    **_figure(-seen.value, -seen.low, -seen.high),
                    "basis": "data",
                    "claim": "the difference between the groups in the table",
                }
            )
    return pd.DataFrame(lines, columns=list(_CTF))


def mediator_bounds(
    scm: FlowSCM,
    table: pd.DataFrame,
    asked: Sequence[Contrast],
    paths: Mapping[str, Paths],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Returns in how many patients a mediator follows the attribute, and what data allow.

    Of those with the first level of the attribute: in how many without the finding it *appears*
    (the probability of sufficiency), and from how many with it it *disappears* (of necessity),
    for every binary mediator of a part that is a claim of the model, with the bounds of Tian and
    Pearl, which hold whatever couples the two worlds.

    Arguments:
        scm: The SCM.
        table: The metadata.
        asked: The contrasts; those of continuous attributes are left out.
        paths: The mediators of every attribute.
        options: Those of every effect.
    """
    lines: list[dict[str, Any]] = []

    @functools.cache
    def of(attribute: str, name: str, low: str, high: str) -> Causation:
        return causation(scm, table, attribute, name, levels=(low, high), **options)

    for contrast in _of_levels(asked):
        ways = paths[contrast.attribute]
        for kind, mediators in ways.by_kind.items():
            if ways.indirect(kind).basis not in ("model", "coupling"):
                continue
            for name in mediators:
                if scm.graph.variables[name].kind != "binary":
                    continue
                here, there = contrast.origin, contrast.target
                events = {
                    "appears": of(contrast.attribute, name, here, there).sufficiency,
                    "disappears": of(contrast.attribute, name, there, here).necessity,
                }
                lines += [
                    {
                        **_asked(contrast),
                        "mediator": name,
                        "through": kind,
                        "event": event,
                        **_figure(e.estimate, e.low, e.high),
                        "least": e.bounds[0] if e.bounds else None,
                        "most": e.bounds[1] if e.bounds else None,
                        "claim": e.statement,
                    }
                    for event, e in events.items()
                ]
    return pd.DataFrame(lines, columns=list(_BOUNDS))


def _of_levels(asked: Sequence[Contrast]) -> list[Contrast]:
    return [contrast for contrast in asked if isinstance(contrast.do, str)]


def _below(scm: FlowSCM, attribute: str, outputs: Sequence[str]) -> list[str]:
    below = descendants_of(scm.mechanisms, [attribute])
    kinds = ("binary", "continuous")
    return [name for name in outputs if name in below and scm.graph.variables[name].kind in kinds]


def _asked(contrast: Contrast) -> dict[str, str]:
    return {"attribute": contrast.attribute, "from": contrast.origin, "to": contrast.target}


def _figure(value: float, *ends: float) -> dict[str, float]:
    # Of a figure whose sign was turned the ends have changed places, and 0 is -0.
    return {"value": value + 0.0, "value_low": min(ends) + 0.0, "value_high": max(ends) + 0.0}
