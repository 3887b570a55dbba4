"""The tree tells the science: every import of the package points up it."""

import ast
import importlib
from pathlib import Path

import networkx as nx
import pytest

import cxrcausal

PACKAGE = Path(cxrcausal.__file__).parent
LEAVES = {
    "bootstrap",
    "checkpoint",
    "version",
    "device",
    "errors",
    "files",
    "gradients",
    "page",
    "patients",
    "shapes",
    "shipped",
    "randomness",
}  # read by all, read nothing else
READS = {
    "bootstrap": {"errors", "randomness"},
    "checkpoint": {"errors", "files", "version"},
    "device": {"errors"},
    "errors": set(),
    "files": {"errors"},
    "gradients": set(),
    "page": {"files"},
    "patients": {"errors"},
    "shapes": set(),
    "shipped": set(),
    "randomness": {"errors"},
    "graph": LEAVES,
    "scm": LEAVES | {"graph"},
    "training": LEAVES,
    "image": LEAVES | {"graph", "scm", "training"},
    "effect": LEAVES | {"graph", "scm"},  # averages need no radiograph, and no joint answer
    "counterfactual": LEAVES | {"graph", "scm"},  # works with every image mechanism, imports none
    "data": LEAVES | {"graph", "scm"},
    "evaluation": LEAVES | {"graph", "scm", "data", "counterfactual", "image", "training"},
    "fairness": LEAVES
    | {"graph", "scm", "effect", "image", "counterfactual", "data", "evaluation"},
    "pretrained": LEAVES | {"graph", "scm", "image", "counterfactual"},
    "pretraining": LEAVES | {"graph", "image", "data", "pretrained"},
    "explore": LEAVES | {"graph", "scm", "image", "counterfactual", "data"},
    "cli": None,  # reads all
    "__init__": None,
    "__main__": None,
    "version": set(),
}


def imports(tree: ast.AST):
    """Yields the cxrcausal modules that run-time code imports; names for type checkers do not
    count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxrcausal."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (
                a.name.split(".")[1] for a in node.names if a.name.startswith("cxrcausal.")
            )
        else:
            yield from imports(node)


def modules() -> dict[str, Path]:
    """Every module of the package by its name."""
    named = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("cxrcausal", *path.relative_to(PACKAGE).with_suffix("").parts)
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


def read_by(tree: ast.AST, known: dict[str, Path]):
    """Yields the modules that run-time code reads, inside of functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxrcausal"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        else:
            yield from read_by(node, known)


def test_no_module_reads_itself_by_a_detour():
    """No circle of imports, those inside of functions counted: there is an order to read them
    in."""
    known = modules()
    reads = nx.DiGraph()
    for name, path in known.items():
        for other in read_by(ast.parse(path.read_text(encoding="utf-8")), known):
            if other != name:
                reads.add_edge(name, other)
    circles = [sorted(c) for c in nx.strongly_connected_components(reads) if len(c) > 1]
    assert not circles


def rooms() -> list:
    paths = sorted(PACKAGE.rglob("*.py"))
    return [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in paths]


@pytest.mark.parametrize("path", rooms())
def test_imports_point_up_the_tree(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    allowed = READS[room]
    if allowed is None:
        return
    found = set(imports(ast.parse(path.read_text(encoding="utf-8")))) - {room}
    assert found <= allowed, f"{room} may not read {sorted(found - allowed)}"


@pytest.mark.parametrize("path", rooms())
def test_modules_say_what_they_are(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "package",
    ["graph", "scm", "effect", "training", "image", "counterfactual", "data", "evaluation"],
)
def test_no_exported_name_hides_its_module(package):
    """`cxrcausal.evaluation.axioms` is a module, whatever the package exports."""
    exported = set(importlib.import_module(f"cxrcausal.{package}").__all__)
    modules = {path.stem for path in (PACKAGE / package).glob("*.py")}
    assert not exported & modules


def test_every_annotated_shape_is_checked(request):
    """A module that annotates shapes stands where the tests check them at every call."""
    watched = request.config.getoption("jaxtyping_packages").split(",")[:-1]
    assert watched
    known = modules()
    for name, path in known.items():
        if "cxrcausal.shapes" in read_by(ast.parse(path.read_text(encoding="utf-8")), known):
            assert any(name.startswith(package) for package in watched), name


def test_test_files_have_names_of_their_own():
    """Two of one name stop a run of the whole suite, and no run of either alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
