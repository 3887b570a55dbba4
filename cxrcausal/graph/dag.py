"""Who causes whom: an immutable causal graph over metadata variables and the radiograph.

The radiograph is the node `image`. It is a node of the graph, so it may be asked about and
conditioned on, but it is not among the `variables`, and it causes none of them. Hidden common
causes and selection are declared beside the arrows and count in every statement about data.

References:
    | Causality: Models, Reasoning, and Inference
    | (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, final

from cxrcausal.errors import GraphError
from cxrcausal.graph.edge import IMAGE, Edge, EdgeKind, HiddenCause, Selection
from cxrcausal.graph.identification.separation import (
    Independence,
    ancestors_of,
    connected,
    local_markov,
    markov_blanket,
)
from cxrcausal.graph.structure import check_structure, topological_order, unknown_name
from cxrcausal.graph.variable import Variable

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    import pgmpy.base
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cxrcausal.graph.diff import GraphDiff
    from cxrcausal.graph.falsification.falsify import Falsification
    from cxrcausal.graph.identification.adjustment import AdjustmentSets
    from cxrcausal.graph.identification.identify import Identification

__all__ = ["CausalGraph", "Names"]

Names = str | Iterable[str]
"""One name, or several."""


@final
class CausalGraph:
    """A directed acyclic graph of causes, immutable; every change returns a new graph.

    Arguments:
        variables: The metadata variables, in the order in which they are listed and drawn.
        edges: The arrows among them, as `Edge` or as (cause, effect).
        name: What the graph is called.
        version: Its version, for the reader.
        hidden: Common causes that no variable records.
        selection: What entering the data depends on.
        image_parents: The variables that the radiograph shows, or None for a graph without a
            radiograph.
        image_rationale: Why these.

    Raises:
        GraphError: If the parts are not a causal graph; the words say which and what is allowed.

    Example:
        >>> sex = Variable("sex", "binary", ("Female", "Male"))
        >>> view = Variable("view", "nominal", ("PA", "AP"))
        >>> CausalGraph([sex, view], [("sex", "view")]).parents("view")
        ('sex',)
    """

    __slots__ = (
        "_children",
        "_edges",
        "_hash",
        "_hidden",
        "_image_parents",
        "_image_rationale",
        "_name",
        "_order",
        "_parents",
        "_selection",
        "_variables",
        "_version",
    )

    _name: str
    _version: str | None
    _variables: dict[str, Variable]
    _edges: dict[tuple[str, str], Edge]
    _hidden: tuple[HiddenCause, ...]
    _selection: tuple[Selection, ...]
    _image_parents: tuple[str, ...] | None
    _image_rationale: str | None
    _order: tuple[str, ...]
    _parents: dict[str, tuple[str, ...]]
    _children: dict[str, tuple[str, ...]]
    _hash: int

    def __init__(
        self,
        variables: Iterable[Variable],
        edges: Iterable[Edge | tuple[str, str]] = (),
        *,
        name: str = "graph",
        version: str | None = None,
        hidden: Iterable[HiddenCause] = (),
        selection: Iterable[Selection] = (),
        image_parents: Iterable[str] | None = None,
        image_rationale: str | None = None,
    ) -> None:
        listed = list(variables)
        named = {v.name: v for v in listed}
        if len(named) != len(listed):
            repeated = sorted(n for n in named if sum(v.name == n for v in listed) > 1)
            raise GraphError(f"variable {repeated[0]!r} is declared twice; keep one")
        arrows = [e if isinstance(e, Edge) else Edge(*e) for e in edges]
        hidden, selection = tuple(hidden), tuple(selection)
        shown = None if image_parents is None else tuple(image_parents)
        check_structure(named, arrows, hidden, selection, shown or (), has_image=shown is not None)

        order = topological_order(list(named), arrows)
        place = {v: i for i, v in enumerate(order)}
        parents: dict[str, tuple[str, ...]] = {}
        children: dict[str, tuple[str, ...]] = {}
        for v in order:
            causes = [e.source for e in arrows if e.target == v]
            parents[v] = tuple(sorted(causes, key=place.__getitem__))
            effects = [e.target for e in arrows if e.source == v]
            children[v] = tuple(sorted(effects, key=place.__getitem__))
        if shown is not None:
            parents[IMAGE], children[IMAGE] = tuple(sorted(shown, key=place.__getitem__)), ()
        listing = {v: i for i, v in enumerate(named)}
        arrows.sort(key=lambda e: (listing[e.source], listing[e.target]))

        parts = {
            "_name": name,
            "_version": version,
            "_variables": named,
            "_edges": {(e.source, e.target): e for e in arrows},
            "_hidden": hidden,
            "_selection": selection,
            "_image_parents": parents.get(IMAGE),
            "_image_rationale": image_rationale,
            "_order": order,
            "_parents": parents,
            "_children": children,
        }
        for key, value in parts.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "_hash", hash((name, version, tuple(listed), tuple(arrows))))

    # --- reading -------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the graph is called."""
        return self._name

    @property
    def version(self) -> str | None:
        """The version that its file declares."""
        return self._version

    @property
    def variables(self) -> Mapping[str, Variable]:
        """The metadata variables by name, in the order of the file, read-only."""
        return MappingProxyType(self._variables)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The arrows among the variables, by the order of cause and effect in `variables`."""
        return tuple(self._edges.values())

    @property
    def hidden(self) -> tuple[HiddenCause, ...]:
        """The declared hidden common causes."""
        return self._hidden

    @property
    def selection(self) -> tuple[Selection, ...]:
        """The declared selections."""
        return self._selection

    @property
    def has_image(self) -> bool:
        """Whether the radiograph is a node of this graph."""
        return self._image_parents is not None

    @property
    def image_parents(self) -> tuple[str, ...]:
        """The variables that the radiograph shows, topologically ordered; () without one."""
        return self._image_parents or ()

    @property
    def image_rationale(self) -> str | None:
        """Why the radiograph shows these."""
        return self._image_rationale

    @property
    def topological_order(self) -> tuple[str, ...]:
        """The variables, causes before effects; ties are broken by the order of the file."""
        return self._order

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change exactly when what the graph says changes."""
        from cxrcausal.graph.diff import fingerprint

        return fingerprint(self)

    def parents(self, name: str) -> tuple[str, ...]:
        """Returns the direct causes of `name` (a variable or `image`), in topological order."""
        self._check(name)
        return self._parents[name]

    def children(self, name: str, *, image: bool = False) -> tuple[str, ...]:
        """Returns the direct effects, topologically ordered; `image` counts the radiograph."""
        self._check(name)
        shown = image and name in self.image_parents
        return self._children[name] + ((IMAGE,) if shown else ())

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Returns the causes, direct or not, of `name` (or of `image`), itself excluded."""
        self._check(name)
        found = ancestors_of(self._parents, [name])
        return tuple(v for v in self._order if v in found and v != name)

    def descendants(self, name: str, *, image: bool = False) -> tuple[str, ...]:
        """Returns the effects, direct or not, itself excluded; `image` counts the radiograph."""
        self._check(name)
        found = ancestors_of(self._children, [name])
        shown = image and name != IMAGE and not found.isdisjoint(self.image_parents)
        return tuple(v for v in self._order if v in found and v != name) + (
            (IMAGE,) if shown else ()
        )

    def markov_blanket(self, name: str, *, image: bool = False) -> tuple[str, ...]:
        """Returns the variables that, once known, make all others irrelevant to `name`.

        Its parents, its children and their other parents; where hidden causes are declared, also
        what they tie to it or to its children, with the parents of these. Causes of one selection
        are tied to each other, since that they were selected is known.

        Arguments:
            name: A variable or `image`.
            image: Whether the radiograph is seen too: it is an effect that ties all that it shows.
        """
        self._check(name)
        parents = self._all_parents()
        if not (image or name == IMAGE):
            parents.pop(IMAGE, None)
        tied = markov_blanket(parents, name, [f"hidden:{h.name}" for h in self._hidden])
        seen = (*self._order, IMAGE)
        return tuple(v for v in seen if v in tied)

    def edge(self, source: str, target: str) -> Edge:
        """Returns the arrow from `source` to `target`, with its kind, reference and rationale.

        Raises:
            GraphError: If there is no such arrow; the words say if it points the other way.
        """
        self._check(source, target)
        if target == IMAGE and source in self.image_parents:
            return Edge(source, IMAGE, rationale=self._image_rationale)
        found = self._edges.get((source, target))
        if found is None:
            if (target, source) in self._edges:
                hint = f"it points the other way, {target} -> {source}"
            else:
                hint = f"the parents of {target!r}: {', '.join(self.parents(target)) or 'none'}"
            raise GraphError(f"graph {self._name!r} has no edge {source} -> {target}; {hint}")
        return found

    # --- reasoning -----------------------------------------------------------------------------

    def d_separated(
        self, x: Names, y: Names, given: Names = (), *, selection: bool = True
    ) -> bool:
        """Returns whether every path between `x` and `y` is blocked given `given`.

        Declared hidden causes count, and so does a declared selection: the statement is about the
        data that one has.

        Arguments:
            x: One or several variables, or `image`.
            y: One or several variables, or `image`.
            given: What is conditioned on.
            selection: False asks about everybody, before selection.

        Raises:
            GraphError: On unknown names, or if the three sets are not disjoint.
        """
        groups = {"x": self._names(x), "y": self._names(y), "given": self._names(given)}
        for one, other in (("x", "y"), ("x", "given"), ("y", "given")):
            both = [n for n in groups[one] if n in groups[other]]
            if both:
                raise GraphError(
                    f"d_separated needs disjoint sets, but {both[0]!r} is both in {one} and in "
                    f"{other}"
                )
        held = {*groups["given"], *(self._selected() if selection else ())}
        reached = connected(self._all_parents(), groups["x"], held)
        return reached.isdisjoint(groups["y"])

    def implied_independencies(self, *, selection: bool = True) -> tuple[Independence, ...]:
        """Returns the local Markov basis among the variables, see `separation.local_markov`."""
        held = self._selected() if selection else ()
        return local_markov(self._all_parents(), self._order, held)

    def adjustment_sets(
        self, x: Names, y: Names, *, selection: bool = True, most: int = 100
    ) -> "AdjustmentSets":
        """Returns the minimal back-door and front-door sets, see `adjustment.adjustment_sets`."""
        from cxrcausal.graph.identification.adjustment import adjustment_sets

        names = self._names(x), self._names(y)
        return adjustment_sets(self, *names, selection=selection, most=most)

    def identifiable(
        self, x: Names, y: Names, given: Names = (), *, selection: bool = True
    ) -> "Identification":
        """Returns whether data can answer for the effect of `x` on `y`, and how.

        See `identify.identify`; among those alike in `given`, `conditional.identify_given`.
        """
        from cxrcausal.graph.identification.conditional import identify_given
        from cxrcausal.graph.identification.identify import identify

        causes, effects, alike = self._names(x), self._names(y), self._names(given)
        if alike:
            return identify_given(self, causes, effects, alike, selection=selection)
        return identify(self, causes, effects, selection=selection)

    def falsify(
        self,
        table: "pd.DataFrame",
        groups: "str | Sequence[Hashable] | None" = None,
        *,
        compare: "CausalGraph | Sequence[CausalGraph]" = (),
        alpha: float = 0.05,
        tolerance: float = 1e-4,
    ) -> "Falsification":
        """Returns what data say of every independence and edge, see `falsify.falsify`."""
        from cxrcausal.graph.falsification.falsify import falsify

        bars = {"alpha": alpha, "tolerance": tolerance}
        return falsify(self, table, groups, compare=compare, **bars)

    # --- changing ------------------------------------------------------------------------------

    def do(self, *names: Names | Mapping[str, Any]) -> "CausalGraph":
        """Returns the mutilated graph, the arrows into each named node cut, hidden ones too.

        Arguments:
            names: Variables (or `image`), or a mapping as in `do={"sex": "Male"}`, of which only
                the names count here.
        """
        from cxrcausal.graph.edit import mutilate

        return mutilate(self, {n for group in names for n in self._names(group)})

    def with_edge(
        self,
        source: str,
        target: str,
        *,
        kind: EdgeKind | None = None,
        rationale: str | None = None,
        source_ref: str | None = None,
    ) -> "CausalGraph":
        """Returns the graph with one more arrow; one into `image` adds its rationale to theirs.

        Raises:
            GraphError: If an arrow into `image` is given a kind or a source of its own, since its
                parents are a mere list.
        """
        from cxrcausal.graph.edit import with_edge

        return with_edge(self, Edge(source, target, kind, source_ref, rationale))

    def without_edge(self, source: str, target: str) -> "CausalGraph":
        """Returns the graph without one of its arrows; those into `image` as well."""
        from cxrcausal.graph.edit import without_edge

        return without_edge(self, source, target)

    def project(self, observed: Names) -> "CausalGraph":
        """Returns the latent projection onto `observed`, see `project.latent_projection`."""
        from cxrcausal.graph.identification.project import latent_projection

        return latent_projection(self, self._names(observed))

    def diff(self, other: "CausalGraph") -> "GraphDiff":
        """Returns which arrows `other` adds, removes and reverses, a `GraphDiff`."""
        from cxrcausal.graph.diff import GraphDiff

        return GraphDiff.between(self, other)

    # --- showing and keeping -------------------------------------------------------------------

    def to_networkx(self, *, hidden: bool = False) -> "nx.DiGraph[str]":
        """Returns a new `networkx.DiGraph`, nodes and edges with their declarations as attributes.

        Arguments:
            hidden: Whether hidden causes and selections become nodes too.
        """
        from cxrcausal.graph.drawing.export import to_networkx

        return to_networkx(self, hidden=hidden)

    def to_dowhy(self) -> "nx.DiGraph[str]":
        """Returns the metadata's arrows as DoWhy reads them, hidden causes as unobserved nodes.

        Example:
            >>> from cxrcausal.graph import load_graph
            >>> sorted(load_graph("cxr19").to_dowhy().predecessors("pleural_effusion"))
            ['cardiomegaly', 'pleural_other', 'pneumonia']
        """
        from cxrcausal.graph.drawing.export import to_dowhy

        return to_dowhy(self)

    def to_pgmpy(self) -> "pgmpy.base.DAG":
        """Returns the metadata's arrows as a `pgmpy.base.DAG`, hidden causes as its latents.

        Raises:
            CxrCausalError: If pgmpy is not installed.
        """
        from cxrcausal.graph.drawing.export import to_pgmpy

        return to_pgmpy(self)

    def to_yaml(self, path: "str | PathLike[str] | None" = None) -> str:
        """Returns the graph as the text of a graph file, and writes it to `path` if given."""
        from cxrcausal.graph.write import to_yaml

        return to_yaml(self, path)

    @classmethod
    def from_yaml(cls, text: str) -> "CausalGraph":
        """Returns the graph that the text of a graph file declares.

        Raises:
            GraphError: If it is malformed; the words name the line.
        """
        from cxrcausal.graph.read import read_graph

        return cls(**read_graph(text))

    def draw(
        self,
        values: "Mapping[str, Any] | None" = None,
        compare: "Mapping[str, Any] | None" = None,
        *,
        do: Names | Mapping[str, Any] = (),
        ax: "Axes | None" = None,
    ) -> "Figure":
        """Returns a figure of the graph, with one patient's values if given; see `draw.draw`."""
        from cxrcausal.graph.drawing.draw import draw

        return draw(self, values, compare, do=self._names(do), ax=ax)

    def to_dot(self) -> str:
        """Returns the graph in the DOT language of Graphviz."""
        from cxrcausal.graph.drawing.export import to_dot

        return to_dot(self)

    def to_mermaid(self) -> str:
        """Returns the graph as a Mermaid flowchart, which Markdown viewers draw."""
        from cxrcausal.graph.drawing.export import to_mermaid

        return to_mermaid(self)

    def _repr_html_(self) -> str:
        from cxrcausal.graph.drawing.draw import to_html

        return to_html(self)

    def __repr__(self) -> str:
        image = f", {len(self.image_parents)} into the image" if self.has_image else ""
        return (
            f"CausalGraph({self._name!r}, {len(self._variables)} variables, "
            f"{len(self._edges)} edges{image}, fingerprint {self.fingerprint})"
        )

    # --- being a value -------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CausalGraph) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._parts(),)

    def __copy__(self) -> "CausalGraph":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "CausalGraph":
        return self

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"a CausalGraph is immutable; do, with_edge, without_edge and project return a new "
            f"one (tried to set {name!r})"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a CausalGraph is immutable (tried to delete {name!r})")

    def _parts(self) -> dict[str, Any]:
        return {
            "variables": tuple(self._variables.values()),
            "edges": self.edges,
            "name": self._name,
            "version": self._version,
            "hidden": self._hidden,
            "selection": self._selection,
            "image_parents": self._image_parents,
            "image_rationale": self._image_rationale,
        }

    def _replace(self, **changes: Any) -> "CausalGraph":  # noqa: ANN401, any of the parts
        return CausalGraph(**(self._parts() | changes))

    def _selected(self) -> tuple[str, ...]:
        return tuple(f"selection:{s.name}" for s in self._selection)

    def _all_parents(self) -> dict[str, tuple[str, ...]]:
        """Returns each node's parents, hidden causes and selections being nodes with a prefix."""
        parents = {f"hidden:{h.name}": () for h in self._hidden} | self._parents
        chosen = {s.name: f"selection:{s.name}" for s in self._selection}
        parents |= {chosen[s.name]: s.caused_by for s in self._selection}
        for h in self._hidden:
            for n in h.touches:
                node = chosen.get(n, n)
                parents[node] = (*parents[node], f"hidden:{h.name}")
        return parents

    def _names(self, names: Names | Mapping[str, Any]) -> tuple[str, ...]:
        listed = (names,) if isinstance(names, str) else tuple(names)
        self._check(*listed)
        return listed

    def _check(self, *names: str) -> None:
        for name in names:
            if name not in self._parents:
                raise unknown_name(self, name)


def _rebuild(parts: dict[str, Any]) -> CausalGraph:
    """Rebuilds a pickled graph."""
    return CausalGraph(**parts)
