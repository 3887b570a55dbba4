"""Graphs by name: those that ship with the package, and files of one's own."""

import logging
from os import PathLike, fspath, sep
from pathlib import Path

from cxrcausal.errors import GraphError, nearest
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.read import read_graph
from cxrcausal.shipped import shipped_folder

__all__ = ["list_graphs", "load_graph"]

logger = logging.getLogger("cxrcausal")


def list_graphs() -> tuple[str, ...]:
    """Returns the names of the graphs that ship with the package."""
    return tuple(sorted(p.stem for p in shipped_folder("graphs").glob("*.yaml")))


def load_graph(graph: "str | PathLike[str] | CausalGraph") -> CausalGraph:
    """Returns a shipped graph by its name, or the graph that a file declares.

    Arguments:
        graph: A name of `list_graphs`, or the path of a YAML file (anything with a folder or the
            ending `.yaml` or `.yml`). A `CausalGraph` is returned as it is, so that functions may
            take either.

    Raises:
        GraphError: If there is no such graph or file, or if it is malformed; the words name the
            file, the line, what is allowed and the nearest name.

    Example:
        >>> load_graph("cxr-minimal").parents("effusion")
        ('age', 'sex')
    """
    if isinstance(graph, CausalGraph):
        return graph
    text = fspath(graph)
    is_path = not isinstance(graph, str) or sep in text or "/" in text
    if is_path or text.lower().endswith((".yaml", ".yml")):
        path = Path(text)
    else:
        path = shipped_folder("graphs") / f"{text}.yaml"
        if text not in list_graphs():
            hint = nearest(text, list_graphs()) or "."
            raise GraphError(
                f"no graph is called {text!r}{hint} Shipped: {', '.join(list_graphs())}; for a "
                f"graph of your own, give the path of its file, ending in .yaml"
            )
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraphError(f"{path} is not a text file in UTF-8 ({error.reason})") from error
    except OSError as error:
        hint = nearest(path.stem, list_graphs())
        raise GraphError(
            f"cannot read graph file {path}: {error.strerror}{hint or '.'} "
            f"Shipped: {', '.join(list_graphs())}"
        ) from error
    loaded = CausalGraph(**read_graph(content, str(path), path.stem))
    logger.debug("read %r from %s", loaded, path)
    return loaded
