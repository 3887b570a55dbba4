"""*Unknown* as a level of its own, for those who reproduce models that have one.

RadiT's metadata have the level *unknown* beside negative and positive (De Sousa Ribeiro, Stanley
et al. 2026). There, what a source never labelled is a value that a patient could have, and a model
learns who is labelled rather than who is ill: an intervention may set a finding to *unknown*, and
an effect of one variable on another runs through who wrote it down. The rest of this package keeps
unknown cells unknown; here is the other way, for comparison.
"""

from dataclasses import replace

import pandas as pd

from cxrcausal.errors import TableError
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.table import categories

__all__ = ["UNKNOWN", "unknown_as_level", "with_unknown_level"]

UNKNOWN = "unknown"


def with_unknown_level(graph: CausalGraph) -> CausalGraph:
    """Returns the graph in which every discrete variable has the further level `unknown`.

    A binary variable becomes nominal (its three levels have no order), and a definition an
    ordinary variable: of a finding that is unknown, nobody can say that nothing was found.
    Continuous variables stay as they are, and their unknown cells unknown.

    Arguments:
        graph: A graph without such levels; those that have it keep it.
    """
    return CausalGraph(
        [_with_level(variable) for variable in graph.variables.values()],
        graph.edges,
        name=f"{graph.name}-{UNKNOWN}",
        version=graph.version,
        hidden=graph.hidden,
        selection=graph.selection,
        image_parents=graph.image_parents,
        image_rationale=graph.image_rationale,
    )


def unknown_as_level(table: pd.DataFrame, graph: CausalGraph) -> pd.DataFrame:
    """Returns the table with its unknown cells at the level `unknown`, where the graph has it.

    Arguments:
        table: A table in canonical form (`check_table`), which is not modified.
        graph: Its graph, as `with_unknown_level` gives it.

    Raises:
        TableError: If no variable of the graph has such a level.
    """
    having = [v for v in graph.variables.values() if UNKNOWN in v.levels and v.name in table]
    if not having:
        raise TableError(
            f"graph {graph.name!r} has no variable with the level {UNKNOWN!r}; "
            "give with_unknown_level(graph)"
        )
    filled = {v.name: table[v.name].astype(categories(v)).fillna(UNKNOWN) for v in having}
    return table.assign(**filled)


def _with_level(variable: Variable) -> Variable:
    if not variable.is_discrete or UNKNOWN in variable.levels:
        return variable
    levels = (*variable.levels, UNKNOWN)
    return replace(variable, kind="nominal", levels=levels, mechanism=None)
