"""An SCM as a notebook shows it: one line per variable, its causes and its mechanism."""

import html
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["mechanism_table", "to_html"]


def mechanism_table(scm: "FlowSCM") -> pd.DataFrame:
    """Returns one row per variable, causes before effects: kind, parents, mechanism, observed.

    Arguments:
        scm: An SCM, fitted or not; without a mechanism a variable's last two cells are empty.
    """
    mechanisms = scm.mechanisms if scm.is_fitted else {}
    lines = []
    for name in scm.graph.topological_order:
        variable = scm.graph.variables.get(name)
        if variable is None:  # the image, which is no metadata
            continue
        lines.append(
            {
                "variable": name,
                "kind": variable.kind,
                "parents": ", ".join(scm.graph.parents(name)),
                "mechanism": type(mechanisms[name]).__name__ if name in mechanisms else "",
                "observed": _words(scm.observed[name]) if name in mechanisms else "",
            }
        )
    return pd.DataFrame(lines)


def to_html(scm: "FlowSCM") -> str:
    """Returns the SCM as HTML: its line, and the table of its mechanisms."""
    table = mechanism_table(scm).to_html(index=False, border=0, escape=True)
    return f"<div><p><code>{html.escape(repr(scm))}</code></p>{table}</div>"


def _words(observed: tuple) -> str:
    """Returns levels separated by commas, a range by a dash."""
    if len(observed) == 2 and not any(isinstance(x, str) for x in observed):
        return f"{observed[0]:g} to {observed[1]:g}"
    return ", ".join(map(str, observed))
