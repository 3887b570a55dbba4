"""Every verdict of identification under selection, held against a recursion and against exact
models.

    python benchmarks/selection_verdicts.py [--graphs 1000] [--most 6] [--seed 0] [--output FOLDER]

Each random graph has hidden causes and one or two selections. Of every ordered pair of its
variables, and of one pair of causes, `identifiable` and `adjustment_sets` are asked, and their
verdicts held

- against the recursion of Bareinboim and Tian, which is complete: what it recovers is to be
  claimed;
- against two random models with every hidden cause written out: each formula, read on the
  distribution of the selected, is to be the effect among all, for all values, to 1e-9.

So are effects among those alike in one or two other variables, each with and without selection:
there the recursion says at least that where the joint effect is recovered, the conditional one is.

The clause of Correa and Bareinboim's type-1 adjustment that a cause on which selection depends has
no open back-door path is counted apart. Writes JSON and markdown.
"""

import itertools
from collections import Counter

import networkx as nx
import numpy as np

from cxrcausal.graph import CausalGraph
from cxrcausal.graph.identification.estimand import Conditional, Formula, Product, Sum

from latent_models import LatentModel, publish, random_graph, recovers  # isort: skip  (beside this one)

CLOSE = 1e-9
MODELS = 2
Names = tuple[str, ...]


def questions(graph: CausalGraph, rng: np.random.Generator) -> list[tuple[Names, Names]]:
    """Returns every pair of a cause and an effect, and two causes of one effect."""
    names = rng.permutation(list(graph.variables)).tolist()
    pairs: list[tuple[Names, Names]] = [((a,), (b,)) for a, b in itertools.permutations(names, 2)]
    return [*pairs, ((names[0], names[1]), (names[2],))]


def adjusted(x: Names, y: Names, z: Names) -> Formula:
    """Returns the back-door formula."""
    outcome = Conditional(y, (*x, *z))
    return Sum(z, Product((Conditional(z), outcome))) if z else outcome


def violates_clause(graph: CausalGraph, x: Names, y: Names) -> bool:
    """Whether selection depends on a cause with an open back-door path, and on nothing after
    do.
    """
    network = graph.to_networkx(hidden=True)
    selected = {s.name for s in graph.selection}
    arrowless = network.copy()
    arrowless.remove_edges_from(list(network.in_edges(x)))
    tailless = network.copy()
    tailless.remove_edges_from(list(network.out_edges(x)))
    leading = {v for v in x if selected & nx.descendants(network, v)}
    return (
        nx.is_d_separator(arrowless, set(y), selected, set(x))
        and bool(leading)
        and not nx.is_d_separator(tailless, leading, set(y), set())
    )


def ask(graph: CausalGraph, x: Names, y: Names, models: list[LatentModel]) -> Counter:
    """Returns what one question adds to the counts."""
    found, sets = graph.identifiable(x, y), graph.adjustment_sets(x, y)
    recovered, clause = recovers(graph, x, y), violates_clause(graph, x, y)
    formulas = [adjusted(x, y, z) for z in sets.back_door]
    if found.formula is not None:
        formulas.append(found.formula)
    false = sum(any(m.error(f, x, y) > CLOSE for m in models) for f in formulas)
    return Counter(
        questions=1,
        claimed=int(bool(found)),
        recovered=int(recovered),
        missed=int(recovered and not found),
        beyond=int(bool(found) and not recovered),
        formulas=len(formulas),
        false=false,
        clause=int(clause),
        clause_adjusted=int(clause and bool(sets.back_door)),
        clause_claimed=int(clause and bool(found)),
    )


def ask_given(graph: CausalGraph, models: list[LatentModel], rng: np.random.Generator) -> Counter:
    """Returns what effects among those alike in something add to the counts."""
    total: Counter = Counter()
    for _ in range(len(graph.variables)):
        names = rng.permutation(list(graph.variables)).tolist()
        x, y, z = (names[0],), (names[1],), tuple(names[2 : 3 + rng.integers(0, 2)])
        for selection in (True, False):
            found = graph.identifiable(x, y, z, selection=selection)
            false = found.formula is not None and any(
                m.error(found.formula, x, y, z, selected=selection) > CLOSE for m in models
            )
            where = "selected" if selection else "all"
            total[f"given_{where}"] += 1
            total[f"given_{where}_claimed"] += bool(found)
            total["given_false"] += false
            if selection and recovers(graph, x, (*y, *z)):
                total["given_missed"] += not found
            elif selection:
                total["given_beyond_joint"] += bool(found)
                on_average = graph.identifiable(x, y)
                total["average_alone"] += bool(on_average) and not found
    return total


def verdicts(graphs: int, most: int, seed: int) -> dict[str, int]:
    """Returns the counts over random graphs."""
    rng = np.random.default_rng(seed)
    total = Counter(graphs=graphs)
    for _ in range(graphs):
        graph = random_graph(rng, most)
        models = [LatentModel(graph, rng) for _ in range(MODELS)]
        for x, y in questions(graph, rng):
            total.update(ask(graph, x, y, models))
        total.update(ask_given(graph, models, rng))
    return dict(total)


def markdown(report: dict) -> str:
    """Returns the counts as a table."""
    found = report["counts"]
    lines = [
        ("graphs with hidden causes and selection", "graphs"),
        ("effects asked for", "questions"),
        ("claimed to follow from data of the selected", "claimed"),
        ("recovered by the recursion", "recovered"),
        ("recovered, and not claimed", "missed"),
        ("claimed, and not recovered", "beyond"),
        ("formulas evaluated (those claimed, and every back-door set)", "formulas"),
        ("of these false in an exact model", "false"),
        ("selection depends on a cause with an open back-door path", "clause"),
        ("of these adjusted for", "clause_adjusted"),
        ("of these claimed by another formula", "clause_claimed"),
        ("effects given others, from data of the selected", "given_selected"),
        ("of these claimed", "given_selected_claimed"),
        ("of these claimed though the joint effect is not recovered", "given_beyond_joint"),
        ("not claimed though the joint effect is recovered", "given_missed"),
        ("not claimed though the average effect is", "average_alone"),
        ("effects given others, from data of all", "given_all"),
        ("of these claimed", "given_all_claimed"),
        ("formulas of both false in an exact model", "given_false"),
    ]
    return "\n".join(
        [
            "Verdicts under selection (`python benchmarks/selection_verdicts.py`): random graphs, "
            f"seed {report['seed']}, at most {report['most']} variables, {MODELS} exact models "
            "each.",
            "",
            "| | count |",
            "|---|---|",
            *(f"| {words} | {found.get(key, 0):,} |" for words, key in lines),
            "",
            f"{report['date']}, Python {report['versions']['python']}, "
            f"numpy {report['versions']['numpy']}, {report['machine']}.",
        ]
    )


if __name__ == "__main__":
    publish("selection_verdicts", __doc__.splitlines()[0], 6, verdicts, markdown)
