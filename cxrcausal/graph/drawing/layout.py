"""Where to draw what: a layered layout of a directed acyclic graph, causes above effects.

Nodes are put on layers so that every arrow points down, with at most so many nodes on one layer;
an arrow that skips layers passes between their nodes. Arrows that leave one node for distant ones
share a trunk, as do those that arrive at a node with many causes: nineteen variables have too many
arrows for each to have a line of its own. Within the layers the order is improved by barycentres,
and the horizontal places are found by isotonic regression, which keeps order and distances.

References:
    | Methods for visual understanding of hierarchical system structures
    | (Sugiyama, Tagawa and Toda, 1981), https://doi.org/10.1109/TSMC.1981.4308636
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import networkx as nx
import numpy as np
from scipy.optimize import isotonic_regression

__all__ = ["Layout", "layered"]

Arrow = tuple[str, str]
Item = Hashable
"""A node's name, or a point at which a trunk passes a layer."""

SWEEPS = 40


@final
@dataclass(frozen=True)
class Layout:
    """Places in units of a node's width across, and of layers down.

    Arguments:
        places: Of each node, (across, layer).
        routes: Of each arrow, the places that its line passes, both ends included.
    """

    places: Mapping[str, tuple[float, float]]
    routes: Mapping[Arrow, tuple[tuple[float, float], ...]]


def layered(
    graph: "nx.DiGraph[str]",
    *,
    gather: Sequence[str] = (),
    trunk: Mapping[Arrow, Hashable] | None = None,
    most: int = 6,
    gap: float = 0.16,
    lane: float = 0.13,
) -> Layout:
    """Returns the layout of a directed acyclic graph.

    Arguments:
        graph: The graph.
        gather: The nodes whose incoming arrows share a trunk; other arrows share their source's.
        trunk: A further key per arrow; arrows of different keys share nothing.
        most: The largest number of nodes on a layer.
        gap: The distance between neighbouring nodes, in widths of a node.
        lane: The distance between neighbouring lines, in widths of a node.
    """
    level = _levels(graph, most)
    chains: dict[Arrow, list[Item]] = {}
    for source, target in graph.edges:
        kind = (trunk or {}).get((source, target))
        end = ("into", target) if target in gather else ("from", source, kind)
        passed = [(*end, y) for y in range(level[source] + 1, level[target])]
        chains[source, target] = [source, *passed, target]
    if not level:
        return Layout({}, {})
    layers: list[list[Item]] = [[] for _ in range(max(level.values()) + 1)]
    for node in graph:
        layers[level[node]].append(node)
    for chain in chains.values():
        for y, item in enumerate(chain[1:-1], start=level[str(chain[0])] + 1):
            if item not in layers[y]:
                layers[y].append(item)
    links = list(dict.fromkeys(p for c in chains.values() for p in pairwise(c)))
    layers = _ordered(layers, links)
    across = _placed(layers, links, gap, lane)
    down = {item: float(y) for y, layer in enumerate(layers) for item in layer}
    return Layout(
        {node: (across[node], down[node]) for node in graph},
        {a: tuple((across[i], down[i]) for i in chain) for a, chain in chains.items()},
    )


def _levels(graph: "nx.DiGraph[str]", most: int) -> dict[str, int]:
    """Returns each node's layer: below its parents, where there is room."""
    filled: dict[int, int] = {}
    level: dict[str, int] = {}
    place = {node: i for i, node in enumerate(graph)}
    inner = [n for n in graph if graph.in_degree(n)]
    for node in nx.lexicographical_topological_sort(graph.subgraph(inner), key=place.__getitem__):
        parents = [p for p in graph.predecessors(node) if p in level]
        y = max([level[p] for p in parents], default=0) + 1
        while filled.get(y, 0) >= most:
            y += 1
        level[node] = y
        filled[y] = filled.get(y, 0) + 1
    # A root stands just above its first effect, so that what only the last layer sees is near it.
    for node in reversed([n for n in graph if not graph.in_degree(n)]):
        below = [level[c] for c in graph.successors(node)]
        y = min(below, default=1) - 1
        while y > 0 and filled.get(y, 0) >= most:
            y -= 1
        level[node] = y
        filled[y] = filled.get(y, 0) + 1
    used = {y: i for i, y in enumerate(sorted(set(level.values())))}
    return {node: used[y] for node, y in level.items()}


def _ordered(layers: list[list[Item]], links: Sequence[tuple[Item, Item]]) -> list[list[Item]]:
    """Returns the layers in an order with few crossings, the best of many barycentre sweeps."""
    up: dict[Item, list[Item]] = {}
    down: dict[Item, list[Item]] = {}
    for a, b in links:
        down.setdefault(a, []).append(b)
        up.setdefault(b, []).append(a)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, down)
    now = [list(layer) for layer in layers]
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        near = up if forward else down
        ys = range(1, len(now)) if forward else range(len(now) - 2, -1, -1)
        for y in ys:
            beside = now[y - 1 if forward else y + 1]
            place = {item: (i + 0.5) / len(beside) for i, item in enumerate(beside)}
            own = {item: (i + 0.5) / len(now[y]) for i, item in enumerate(now[y])}
            centre = {
                item: float(np.mean([place[n] for n in near[item]])) if item in near else own[item]
                for item in now[y]
            }
            now[y] = sorted(now[y], key=centre.__getitem__)
        count = _crossings(now, down)
        if count < fewest:
            best, fewest = [list(layer) for layer in now], count
    return best


def _crossings(layers: Sequence[Sequence[Item]], down: Mapping[Item, Sequence[Item]]) -> int:
    """Returns how many pairs of links between neighbouring layers cross."""
    total = 0
    for above, below in pairwise(layers):
        place = {item: i for i, item in enumerate(below)}
        ends = [(i, place[n]) for i, item in enumerate(above) for n in down.get(item, ())]
        pairs = np.array(ends).reshape(-1, 2)
        apart = np.sign(pairs[:, None, :] - pairs[None, :, :]).prod(-1)
        total += int((apart < 0).sum()) // 2
    return total


def _placed(
    layers: Sequence[Sequence[Item]], links: Sequence[tuple[Item, Item]], gap: float, lane: float
) -> dict[Item, float]:
    """Returns each item's place across: near what it is linked to, in order, apart enough."""
    near: dict[Item, list[Item]] = {}
    for a, b in links:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    half = {item: 0.5 if isinstance(item, str) else 0.0 for layer in layers for item in layer}
    offsets = []
    across: dict[Item, float] = {}
    for layer in layers:
        steps = [
            half[a] + half[b] + (gap if half[a] or half[b] else lane) for a, b in pairwise(layer)
        ]
        offset = np.concatenate([[0.0], np.cumsum(steps)])
        offsets.append(offset)
        across |= dict(zip(layer, (offset - offset[-1] / 2).tolist(), strict=True))
    for sweep in range(SWEEPS):
        for y in range(len(layers)) if sweep % 2 == 0 else reversed(range(len(layers))):
            wish = [
                float(np.mean([across[n] for n in near[item]])) if item in near else across[item]
                for item in layers[y]
            ]
            found = isotonic_regression(np.array(wish) - offsets[y]).x + offsets[y]
            across |= dict(zip(layers[y], found.tolist(), strict=True))
        middle = (min(across.values()) + max(across.values())) / 2
        across = {item: x - middle for item, x in across.items()}
    return across
