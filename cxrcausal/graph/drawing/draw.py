"""The graph as a figure: causes above effects, with one patient's values where they are given.

A node's colour is its role, an arrow's its kind. With `values`, each node says its value, and
those that are not known are hollow; with `compare`, those that differ between the two worlds say
both, and are outlined; those that were set have a heavier outline, and the arrows into them are
dotted, since `do` cuts them.
"""

import html
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cxrcausal.graph.drawing.export import to_networkx
from cxrcausal.graph.drawing.layout import layered
from cxrcausal.graph.edge import IMAGE, HiddenCause
from cxrcausal.graph.variable import Variable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.path import Path as Curve

    from cxrcausal.graph.dag import CausalGraph

__all__ = ["draw", "to_html"]

Point = tuple[float, float]

ROLES = {
    "context": "#d9d9d9",
    "demographic": "#fbe3a6",
    "acquisition": "#dccbea",
    "finding": "#c3dcf1",
    "device": "#c4e5cd",
    "summary": "#f6cdb5",
    IMAGE: "#454545",
    "hidden": "#ffffff",
    "selection": "#ffffff",
}
OTHER_ROLES = ("#e7d8c9", "#cfe8e6", "#eecfe0", "#dfe3b4")
KINDS = {
    "context": "#a3a3a3",
    "risk": "#c98f00",
    "disease": "#2a6fad",
    "sign": "#c2571a",
    "care": "#2e8b57",
    "acquisition": "#7b519d",
    "other": "#5f5f5f",
    None: "#5f5f5f",
    IMAGE: "#8c8c8c",
    "hidden": "#5f5f5f",
}
SET, CHANGED, INK = "#b3123f", "#d9660a", "#1a1a1a"
PAGE = 7.2
"""Inches of a page between its margins."""
MANY = 8
"""From so many causes on, the arrows into a node share a trunk."""
MANY_ARROWS = 30
"""From so many arrows on, the layers stand further apart."""
COLUMNS = 8
"""The most entries on one line of the legend."""
SHORT = 12
"""Names of so many letters stay on one line."""
FEW = 12
"""Up to so many arrows, hidden causes and selections are drawn; beyond, said below the graph."""


def draw(
    graph: "CausalGraph",
    values: "Mapping[str, Any] | pd.Series | None" = None,
    compare: "Mapping[str, Any] | pd.Series | None" = None,
    *,
    do: Sequence[str] = (),
    ax: "Axes | None" = None,
) -> "Figure":
    """Returns a figure of the graph, legible at the width of a page.

    Arguments:
        graph: The graph.
        values: One patient's values by variable: a row of a table. What it lacks, or holds as NaN,
            is drawn as unknown; names that are not variables are ignored.
        compare: The same patient in another world: a row of counterfactuals.
        do: The variables that were set in that world.
        ax: Where to draw; a new figure if None.

    Returns:
        The figure, new or that of `ax`. It belongs to no window and is shown by no one but the
        caller; `figure.savefig("graph.png")` writes it.
    """
    from matplotlib.figure import Figure

    known = _Row(values)
    sketch = _Sketch(graph, known, _Row(compare) if compare is not None else known, do)
    if ax is None:
        figure = Figure(figsize=(PAGE, sketch.height), dpi=200)
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    else:
        figure = ax.figure.figure  # of a subfigure, the whole
    sketch.onto(ax)
    return figure


def to_html(graph: "CausalGraph") -> str:
    """Returns the figure as SVG in HTML, for notebooks."""
    text = io.StringIO()
    draw(graph).savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    said = html.escape(repr(graph))
    return f'<div style="max-width: 60em"><p><code>{said}</code></p>{svg}</div>'


class _Row:
    """One patient's values, read by variable, None standing for unknown."""

    def __init__(self, values: "Mapping[str, Any] | pd.Series | None") -> None:
        self.given = values is not None
        self.values = {} if values is None else {str(key): v for key, v in values.items()}

    def text(self, variable: Variable) -> str | None:
        import pandas as pd

        value = self.values.get(variable.name)
        if value is None or pd.isna(value):
            return None
        if variable.is_discrete:
            by_index = not isinstance(value, str) and 0 <= value < len(variable.levels)
            return variable.levels[int(value)] if by_index else str(value)
        return f"{value:.6g}"


class _Sketch:
    """Everything that is to be drawn, in inches on a page of width `PAGE`, y downward."""

    def __init__(self, graph: "CausalGraph", seen: _Row, other: _Row, do: Sequence[str]) -> None:
        unseen = sum(len(h.touches) for h in graph.hidden)
        unseen += sum(len(s.caused_by) for s in graph.selection)
        self.graph = graph
        self.nodes = to_networkx(graph, hidden=unseen <= FEW)
        self.kind: dict[tuple[str, str], str | None] = {}
        for a, b, kind in self.nodes.edges(data="kind"):
            dashed = "hidden" in (self.role(a), self.role(b)) or self.role(b) == "selection"
            self.kind[a, b] = "hidden" if dashed else IMAGE if b == IMAGE else kind or None
        gather = [n for n, count in self.nodes.in_degree() if count >= MANY]
        layout = layered(self.nodes, gather=gather, trunk=self.kind)

        self.set = set(do)
        self.before = {n: seen.text(v) for n, v in graph.variables.items()}
        self.after = {n: other.text(v) for n, v in graph.variables.items()}
        self.valued = seen.given or other.given
        self.changed = {n for n in self.before if self.before[n] != self.after[n]}
        self.unknown = {n for n in self.before if self.valued and self.before[n] is None}

        across = [x for route in layout.routes.values() for x, _ in route]
        across += [x for x, _ in layout.places.values()]
        low, high = min(across, default=0.0), max(across, default=0.0)
        self.unit = min(1.12, (PAGE - 0.2) / (high - low + 1.0))
        self.box = (0.92 * self.unit, 0.43 if self.valued else 0.32)
        pitch = self.box[1] + (0.33 if len(self.kind) > MANY_ARROWS else 0.26)
        left = (PAGE - (high - low) * self.unit) / 2

        def inches(place: tuple[float, float]) -> Point:
            return left + (place[0] - low) * self.unit, 0.1 + self.box[1] / 2 + place[1] * pitch

        self.places = {n: inches(p) for n, p in layout.places.items()}
        self.routes = {a: [inches(p) for p in route] for a, route in layout.routes.items()}
        self.notes = [] if unseen <= FEW else [f"hidden: {h}" for h in map(_unseen, graph.hidden)]
        if unseen > FEW:
            self.notes += [f"selected by: {', '.join(s.caused_by)}" for s in graph.selection]
        self.notes = [line for note in self.notes for line in textwrap.wrap(note, 128)]
        bottom = max([y for _, y in self.places.values()], default=0.0) + self.box[1] / 2
        self.notes_top = bottom + 0.16
        self.legend_top = self.notes_top + 0.12 * len(self.notes)
        self.handles = self.legend()
        rows = max(-(-len(self.handles) // COLUMNS), 1)
        self.columns = max(-(-len(self.handles) // rows), 1)
        self.height = self.legend_top + 0.14 * rows + 0.1

    def role(self, node: str) -> str | None:
        return self.nodes.nodes[node]["role"]

    def colour(self, role: str | None) -> str:
        if role in ROLES:
            return ROLES[role]
        own = sorted({v.role or "" for v in self.graph.variables.values()} - set(ROLES))
        return OTHER_ROLES[own.index(role or "") % len(OTHER_ROLES)]

    def onto(self, ax: "Axes") -> None:
        """Draws onto the axes, letters and lines scaled to the room that they have."""
        ax.set_xlim(0, PAGE)
        ax.set_ylim(self.height, 0)
        ax.set_aspect("equal")
        ax.set_axis_off()
        room = ax.get_window_extent()
        dpi = ax.figure.dpi
        self.size = min(room.width / dpi / PAGE, room.height / dpi / self.height)
        faint = ("context", IMAGE, "hidden")
        for arrow in sorted(self.routes, key=lambda a: self.kind[a] not in faint):
            self.arrow(ax, arrow)
        for node in self.places:
            self.node(ax, node)
        for i, note in enumerate(self.notes):
            place = (0.15, self.notes_top + 0.12 * i)
            ax.text(*place, note, fontsize=6 * self.size, va="top", color=INK)
        ax.legend(
            handles=self.handles,
            loc="lower center",
            ncols=self.columns,
            frameon=False,
            fontsize=6.4 * self.size,
            handlelength=1.6,
            columnspacing=1.1,
            borderaxespad=0.2,
        )

    # --- nodes ---------------------------------------------------------------------------------

    def node(self, ax: "Axes", node: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        x, y = self.places[node]
        width, height = self.box
        role = self.role(node)
        edge, stroke = "#8a8a8a", 0.6
        style: Any = "-"
        face, ink = self.colour(role), "white" if node == IMAGE else INK
        if node in self.unknown or role in ("hidden", "selection"):
            face, edge, stroke, style = "white", "#5f5f5f", 0.9, (0, (3, 2))
        if node in self.changed:
            edge, stroke, style = CHANGED, 1.7, "-"
        if node in self.set:
            edge, stroke, style = SET, 2.6, "-"
        corner = height / 2 if role == "hidden" else 0.05
        ax.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2),
                width,
                height,
                boxstyle=f"round,pad=0,rounding_size={corner}",
                facecolor=face,
                edgecolor=edge,
                linewidth=stroke * self.size,
                linestyle=style,
                zorder=3,
            )
        )
        name = _broken(node)
        value = self.value(node) if node in self.graph.variables and self.valued else ""
        rows = [(line, 6.8, "normal") for line in name] + ([(value, 6.4, "bold")] if value else [])
        step = min(0.115, (height - 0.06) / len(rows))
        for i, (line, points, weight) in enumerate(rows):
            fits = (width - 0.05) * 72 / (0.56 * max(len(line), 1))
            ax.text(
                x,
                y + (i - (len(rows) - 1) / 2) * step,
                line,
                fontsize=min(points, fits) * self.size,
                fontweight=weight,
                color=ink,
                ha="center",
                va="center_baseline",
                zorder=4,
            )

    def value(self, node: str) -> str:
        before, after = self.before[node] or "?", self.after[node] or "?"
        unit = self.graph.variables[node].unit
        both = before if before == after else f"{before} → {after}"
        return f"{both} {unit}" if unit and both != "?" else both

    # --- arrows --------------------------------------------------------------------------------

    def arrow(self, ax: "Axes", arrow: tuple[str, str]) -> None:
        from matplotlib.patches import FancyArrowPatch

        kind = self.kind[arrow]
        cut = arrow[1] in self.set
        carries = arrow[0] in self.set | self.changed and arrow[1] in self.changed and not cut
        faint = kind in ("context", IMAGE, "hidden")
        colour = "#b8b8b8" if cut else KINDS[kind]
        dashes = (0, (1, 2)) if cut else (0, (4, 2)) if kind == "hidden" else "-"
        ax.add_patch(
            FancyArrowPatch(
                path=self.curve(arrow),
                arrowstyle="-|>,head_length=0.28,head_width=0.13",
                mutation_scale=11 * self.size,
                facecolor=colour,
                edgecolor=colour,
                linewidth=(1.9 if carries else 0.6 if faint or cut else 0.95) * self.size,
                linestyle=dashes,
                joinstyle="round",
                zorder=2.5 if carries else 1 if faint else 2,
            )
        )

    def curve(self, arrow: tuple[str, str]) -> "Curve":
        """Returns a smooth line through the arrow's route, upright where it passes a layer."""
        from matplotlib.path import Path

        source, target = arrow
        route = self.routes[arrow]
        half = self.box[1] / 2
        outward = [r[1] for a, r in self.routes.items() if a[0] == source]
        inward = [r[-2] for a, r in self.routes.items() if a[1] == target]
        start = self.port(source, outward, route[1])
        end = self.port(target, inward, route[-2])
        points: list[Point] = [(start, route[0][1] + half)]
        codes = [Path.MOVETO]
        for (x, y), is_last in [(p, False) for p in route[1:-1]] + [((end, route[-1][1]), True)]:
            x0, y0 = points[-1]
            top = y - half
            middle = (y0 + top) / 2
            points += [(x0, middle), (x, middle), (x, top)]
            codes += [Path.CURVE4] * 3
            if not is_last:
                points.append((x, y + half))
                codes.append(Path.LINETO)
        return Path(points, codes)

    def port(self, node: str, ends: Sequence[Point], end: Point) -> float:
        """Returns where on the node's edge the line to `end` is tied, lines side by side."""
        ends = sorted(set(ends))
        share = (ends.index(end) + 1) / (len(ends) + 1) - 0.5
        return self.places[node][0] + share * 0.9 * self.box[0]

    # --- legend --------------------------------------------------------------------------------

    def legend(self) -> "list[Patch | Line2D]":
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles: list[Patch | Line2D] = []
        for role in dict.fromkeys(self.role(n) for n in self.places if self.role(n) != IMAGE):
            dashed = "--" if role in ("hidden", "selection") else "-"
            handles.append(
                Patch(
                    fc=self.colour(role), ec="#8a8a8a", lw=0.6, ls=dashed, label=role or "variable"
                )
            )
        for present, edge, width, style, label in (
            (self.set, SET, 2.2, "-", "set (do)"),
            (self.changed - self.set, CHANGED, 1.6, "-", "changed"),
            (self.unknown, "#5f5f5f", 0.9, "--", "unknown"),
        ):
            if present:
                handles.append(Patch(fc="white", ec=edge, lw=width, ls=style, label=label))
        kinds = set(self.kind.values())
        for kind, colour in KINDS.items():
            if kind in kinds and kind not in (IMAGE, "hidden"):
                handles.append(Line2D([], [], color=colour, lw=1.4, label=kind or "causes"))
        if IMAGE in kinds:
            handles.append(Line2D([], [], color=KINDS[IMAGE], lw=0.8, label="shown in the image"))
        if any(target in self.set for _, target in self.routes):
            handles.append(Line2D([], [], color="#b8b8b8", lw=1, ls=":", label="cut by do"))
        return handles


def _broken(name: str) -> list[str]:
    """Returns the name's words on at most two lines of nearly equal length."""
    words = name.split("_")
    cuts = range(1, len(words) + 1)
    lines = [(" ".join(words[:i]), " ".join(words[i:])) for i in cuts]
    if len(name) <= SHORT:
        return [" ".join(words)]
    return [line for line in min(lines, key=lambda pair: max(map(len, pair))) if line]


def _unseen(cause: HiddenCause) -> str:
    return f"{cause.name} → {', '.join(cause.touches)}"
