"""The documentation: its blocks run as printed, its links resolve, and the site is built."""

import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from cxrcausal.effect import EffectOptions, EffectQuestion

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What a link may point at in a page: headings as sites name them, and anchors."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in heads}
    return named | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_every_block_of_a_page_runs_as_printed(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), names)  # our own page
    said = capsys.readouterr().out
    assert said
    shown = re.findall(r"^```text\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for output in shown:
        assert output in said
    if page.stem == "fairness":
        assert (tmp_path / "audit" / "report.html").exists()


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.stem)
def test_every_link_leads_somewhere(page):
    text = CODE.sub("", page.read_text("utf-8"))
    for link in LINK.findall(text):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}: no such heading"


def test_every_package_with_public_names_has_a_page():
    described = {p.stem for p in (DOCS / "reference").glob("*.md")}
    packages = {
        path.parent.name
        for path in (ROOT / "cxrcausal").glob("*/__init__.py")
        if getattr(importlib.import_module(f"cxrcausal.{path.parent.name}"), "__all__", [])
    }
    assert packages - {"cli"} <= described


def public() -> list[tuple[str, str]]:
    """Every public name, with the package that the reference describes it under."""
    pages = {p.stem for p in (DOCS / "reference").glob("*.md")}
    packages = ["cxrcausal", *(f"cxrcausal.{name}" for name in sorted(pages - {"cxrcausal"}))]
    return [(p, name) for p in packages for name in importlib.import_module(p).__all__]


@pytest.mark.parametrize(("package", "name"), public())
def test_every_public_function_describes_its_arguments(package, name):
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value):
        assert inspect.getdoc(value)
    elif inspect.isfunction(value):
        words = inspect.getdoc(value) or ""
        for shared in (EffectQuestion, EffectOptions):  # documented once, and named
            words += (inspect.getdoc(shared) or "") if shared.__name__ in words else ""
        for argument in inspect.signature(value).parameters.values():
            named = argument.name.lstrip("*")
            assert argument.kind is argument.VAR_KEYWORD or f"{named}:" in words, named


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    for page in PAGES:
        assert f": {page.relative_to(DOCS).as_posix()}" in text


def test_the_site_is_built_without_a_warning(tmp_path):
    for name in ("mkdocs", "mkdocstrings", "latex2mathml"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: python -m pip install -e '.[docs]'")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    pages = sorted((tmp_path / "site").rglob("index.html"))
    assert len(pages) > len(PAGES)
    for page in (tmp_path / "site" / "reference").rglob("index.html"):
        assert "<blockquote>" not in page.read_text("utf-8"), f"{page}: an example that is no code"
    for page in pages:
        formulas = re.findall(r"<math.*?</math>", page.read_text("utf-8"), re.DOTALL)
        assert not [f for f in formulas if "\\" in f or ":math:" in f], page
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "<math" in index


def test_every_figure_of_the_gallery_names_its_command():
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^\]]+\]\((figures/\S+)\)\n\n(.*)", text)
    assert len(shown) == text.count("![")
    for figure, below in shown:
        command = re.match(r"`(?:python ([\w/.]+)|cxrcausal (\w+))|The same command", below)
        assert command, f"nothing says what made {figure}"
        if command[1]:
            assert (ROOT / command[1]).exists()


def test_the_columns_that_a_page_explains_are_those_of_an_answer():
    from cxrcausal.fairness.estimates import Scores, effects

    text = (DOCS / "fairness.md").read_text(encoding="utf-8")
    table = text[text.index("| column | is") : text.index("A radiograph that does not come back")]
    named = set(re.findall(r"`(\w+)`", table)) - {"check"}
    said = f"{effects.__doc__} {Scores.others.__doc__}"
    assert {name for name in named if name not in said} <= {
        "there_and_back_flips",
        "placebo_flips",
    }


def test_the_labels_that_a_page_lists_are_those_of_answers():
    from cxrcausal.effect.basis import _WORDS

    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    for words in _WORDS.values():
        assert f"*{words}*" in text
