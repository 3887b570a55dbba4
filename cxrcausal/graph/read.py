"""Graph files: YAML in, checked line by line.

A file declares `name`, `version`, `variables`, `edges`, and where they apply `hidden`,
`selection` and `image`. It is read with the positions that the YAML parser keeps, so that every
complaint names its line. Names and levels are taken as written: `[no, yes]` are the words, not
truth values. No tag of the file is ever acted upon, so reading a file runs no code.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import yaml

from cxrcausal.errors import GraphError, nearest
from cxrcausal.graph.edge import Edge, HiddenCause, Selection
from cxrcausal.graph.structure import check_structure
from cxrcausal.graph.variable import Variable

__all__ = ["read_graph"]

logger = logging.getLogger("cxrcausal")

TOP = ("name", "version", "description", "variables", "edges", "hidden", "selection", "image")
VARIABLE = ("kind", "role", "levels", "unit", "bounds", "resolution", "mechanism")
EDGE = ("from", "to", "kind", "source", "rationale")
HIDDEN = ("name", "touches", "rationale")
SELECTION = ("name", "caused_by", "rationale")
IMAGE_KEYS = ("parents", "rationale")


def read_graph(text: str, where: str = "graph text", name: str = "graph") -> dict[str, Any]:
    """Returns the parts of a graph that a graph file declares, as `CausalGraph` takes them.

    Arguments:
        text: The file's content.
        where: What to call the file in an error.
        name: The graph's name if the file gives none.

    Raises:
        GraphError: If it is malformed; the words name the line.
    """
    if not isinstance(text, str):
        raise GraphError(
            f"the text of a graph file is a str; found {type(text).__name__}; load_graph reads "
            "files"
        )
    return _Reader(where).graph(text, default_name=name)


class _Reader:
    """Turns positioned YAML nodes into the parts of a graph, complaining by file and line."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.lines: dict[tuple[str, int | str], int] = {}
        self.lending: list[yaml.Node] = []

    def graph(self, text: str, default_name: str) -> dict[str, Any]:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark else ""
            said = ", ".join(part for part in (error.context, error.problem) if part)
            raise GraphError(f"{self.where}{line}: not valid YAML: {said}") from error
        except yaml.YAMLError as error:
            raise GraphError(f"{self.where}: not valid YAML: {error}") from error
        except RecursionError as error:
            raise GraphError(
                f"{self.where}: lists or mappings lie too deep in each other"
            ) from error
        if root is None:
            raise GraphError(f"{self.where} is empty; a graph file declares: {', '.join(TOP)}")
        top = self.mapping(root, "a graph file", TOP, required=("variables",))
        variables = self.variables(top["variables"])
        edges = self.edges(top["edges"]) if "edges" in top else []
        hidden = [
            HiddenCause(*parts)
            for parts in self.unseen(top.get("hidden"), "hidden", HIDDEN, "touches")
        ]
        selection = [
            Selection(*parts)
            for parts in self.unseen(top.get("selection"), "selection", SELECTION, "caused_by")
        ]
        parents, rationale = None, None
        if "image" in top:
            image = self.mapping(top["image"], "image", IMAGE_KEYS, required=("parents",))
            nodes = self.items(image["parents"], "image: parents")
            parents = [self.text(node, "image: parents") for node in nodes]
            self.lines["image", 0] = self.line(image["parents"])
            self.lines |= {
                ("image", name): self.line(node) for name, node in zip(parents, nodes, strict=True)
            }
            rationale = self.optional(image, "rationale", "image")
        check_structure(
            variables,
            edges,
            hidden,
            selection,
            parents or (),
            has_image=parents is not None,
            locate=self.locate,
        )
        return {
            "variables": variables.values(),
            "edges": edges,
            "name": self.optional(top, "name", "graph") or default_name,
            "version": self.optional(top, "version", "graph"),
            "hidden": hidden,
            "selection": selection,
            "image_parents": parents,
            "image_rationale": rationale,
        }

    # --- sections ------------------------------------------------------------------------------

    def variables(self, node: yaml.Node) -> dict[str, Variable]:
        entries = self.mapping(node, "variables", None)
        found: dict[str, Variable] = {}
        for name, entry in entries.items():
            what = f"variable {name!r}"
            self.lines["variables", name] = self.line(entry)
            keys = self.mapping(entry, what, VARIABLE, required=("kind",))
            levels = [
                self.text(level, f"{what}: levels")
                for level in (
                    self.items(keys["levels"], f"{what}: levels") if "levels" in keys else []
                )
            ]
            resolution = (
                self.number(keys["resolution"], f"{what}: resolution")
                if "resolution" in keys
                else None
            )
            parts: dict[str, Any] = {
                "kind": self.text(keys["kind"], f"{what}: kind"),
                "levels": tuple(levels),
                "unit": self.optional(keys, "unit", what),
                "bounds": self.bounds(keys["bounds"], what) if "bounds" in keys else None,
                "resolution": resolution,
                "role": self.optional(keys, "role", what),
                "mechanism": self.optional(keys, "mechanism", what),
            }
            try:
                found[name] = Variable(name, **parts)
            except GraphError as error:
                self.fail(entry, str(error))
        return found

    def bounds(self, node: yaml.Node, what: str) -> tuple[float, float]:
        ends = self.items(node, f"{what}: bounds")
        pair = 2
        if len(ends) != pair:
            self.fail(
                node, f"{what}: bounds has {len(ends)} numbers; give the lowest and the highest"
            )
        low, high = (self.number(end, f"{what}: bounds") for end in ends)
        return low, high

    def edges(self, node: yaml.Node) -> list[Edge]:
        found: list[Edge] = []
        for i, entry in enumerate(self.items(node, "edges", single=False)):
            what = f"edges, entry {i + 1}"
            keys = self.mapping(entry, what, EDGE, required=("from", "to"))
            causes = self.texts(keys["from"], f"{what}: from")
            effects = self.texts(keys["to"], f"{what}: to")
            kind: Any = self.optional(keys, "kind", what)  # check_structure knows those allowed
            said = [self.optional(keys, key, what) for key in ("source", "rationale")]
            for cause in causes:
                for effect in effects:
                    self.lines["edges", len(found)] = self.line(entry)
                    found.append(Edge(cause, effect, kind, *said))
        return found

    def unseen(
        self, node: yaml.Node | None, section: str, allowed: tuple[str, ...], verb: str
    ) -> list[tuple[str, tuple[str, ...], str | None]]:
        found: list[tuple[str, tuple[str, ...], str | None]] = []
        for i, entry in enumerate(self.items(node, section, single=False) if node else []):
            what = f"{section}, entry {i + 1}"
            required = ("name", verb) if section == "hidden" else ("name",)
            keys = self.mapping(entry, what, allowed, required=required)
            self.lines[section, i] = self.line(entry)
            names = self.texts(keys[verb], f"{what}: {verb}") if verb in keys else ()
            found.append(
                (self.text(keys["name"], what), names, self.optional(keys, "rationale", what))
            )
        return found

    # --- nodes ---------------------------------------------------------------------------------

    def mapping(
        self,
        node: yaml.Node,
        what: str,
        allowed: Sequence[str] | None,
        required: Sequence[str] = (),
    ) -> dict[str, yaml.Node]:
        """Returns the node's entries by key; `allowed` None means that the keys are names."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping of keys to values; found {_found(node)}")
        own = [(key, value) for key, value in node.value if key.value != "<<"]
        entries: dict[str, yaml.Node] = {}
        for key, value in own:
            name = self.text(key, f"a key of {what}")
            if name in entries:
                self.fail(key, f"{what} has the key {name!r} twice; keep one")
            entries[name] = value
        for key, value in node.value:  # YAML's merge key lends what the entry does not say itself
            if key.value == "<<":
                for lent in self.items(value, f"{what}: <<"):
                    if any(lent is lender for lender in (node, *self.lending)):
                        self.fail(key, f"{what}: << merges what it stands in")
                    self.lending.append(node)
                    entries = self.mapping(lent, f"{what}: <<", None) | entries
                    self.lending.pop()
        if allowed is not None:
            for key, _ in own:
                if key.value not in allowed:
                    hint = nearest(key.value, allowed) or "."
                    self.fail(
                        key,
                        f"{what} has the unknown key {key.value!r}{hint} "
                        f"Allowed: {', '.join(allowed)}.",
                    )
        absent = [key for key in required if key not in entries]
        if absent:
            keys = ", ".join(absent)
            self.fail(node, f"{what} lacks {keys}; it has: {', '.join(entries) or 'nothing'}")
        return entries

    def items(self, node: yaml.Node, what: str, *, single: bool = True) -> list[yaml.Node]:
        """Returns the items of a list; with `single`, one item may stand without brackets."""
        if isinstance(node, yaml.SequenceNode):
            return node.value
        if single and not _is_null(node):
            return [node]
        self.fail(node, f"{what} must be a list; found {_found(node)}")

    def text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            self.fail(node, f"{what} must be a word; found {_found(node)}")
        return node.value

    def texts(self, node: yaml.Node, what: str) -> tuple[str, ...]:
        return tuple(self.text(item, what) for item in self.items(node, what))

    def optional(self, keys: Mapping[str, yaml.Node], key: str, what: str) -> str | None:
        node = keys.get(key)
        return None if node is None or _is_null(node) else self.text(node, f"{what}: {key}")

    def number(self, node: yaml.Node, what: str) -> float:
        try:
            return float(self.text(node, what))
        except ValueError:
            self.fail(node, f"{what} must be a number; found {_found(node)}")

    # --- lines ---------------------------------------------------------------------------------

    def line(self, node: yaml.Node) -> int:
        return node.start_mark.line + 1

    def locate(self, section: str, item: int | str) -> str:
        line = self.lines.get((section, item))
        return f"{self.where}: " if line is None else f"{self.where}, line {line}: "

    def fail(self, node: yaml.Node, message: str) -> NoReturn:
        raise GraphError(f"{self.where}, line {self.line(node)}: {message}")


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _found(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return f"a list of {len(node.value)}"
    return "nothing" if _is_null(node) else repr(node.value)
