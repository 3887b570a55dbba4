"""What `mkdocs` needs beside its pages: results of benchmarks as pages, formulas as MathML.

A page of `docs/` links to `../benchmarks/results/x.md` and `../examples/x.py`, as a reader of the
repository follows them; on the site these files stand under `results/` and `examples/`. Formulas
become MathML when the site is built, so that a reader's browser asks no other host for a script.
Docstrings are reStructuredText in places, which `Docstrings` turns into Markdown.
"""

import html
import re
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
COPIED = {
    "benchmarks/results": ("results", ("*.md", "*.json")),
    "benchmarks": ("benchmarks", ("*.py",)),
    "examples": ("examples", ("*.py",)),
    "graphs": ("graphs", ("*.yaml",)),
    "generative": ("models", ("*/README.md", "*/*.json", "*.yaml")),
}
"""Folder of the repository, its place on the site, and which of its files the site has."""

FORMULAS = (
    (re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL), "inline"),
    (re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL), "block"),
    (re.compile(r":math:<code>(.*?)</code>", re.DOTALL), "inline"),
    (re.compile(r"<p>\.\. math::\s*(.*?)</p>", re.DOTALL), "block"),
)
"""Formulas of pages and of docstrings, as they come out of Markdown."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files of the repository to which pages link."""
    for folder, (place, patterns) in COPIED.items():
        for pattern in patterns:
            for path in sorted((ROOT / folder).glob(pattern)):
                uri = f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
                files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points links out of `docs/` at the places of these files on the site."""
    up = "../" * page.file.src_uri.count("/")
    for folder, (place, _) in COPIED.items():
        markdown = re.sub(rf"\]\({up}\.\./{folder}/(?!results/)", f"]({up}{place}/", markdown)
    return markdown


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Writes every formula as MathML."""
    for pattern, display in FORMULAS:
        content = pattern.sub(
            lambda found, display=display: mathml(html.unescape(found[1]), display), content
        )
    return content


def mathml(formula: str, display: str) -> str:
    r"""Returns a formula as MathML; the converter knows neither `\!`, a thin space, nor `\arg`."""
    return convert(formula.replace(r"\!", "").replace(r"\arg", r"\mathrm{arg}"), display=display)


class Docstrings(griffe.Extension):
    """Shows examples as code, and the lines of references as lines."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401
        """Rewrites one docstring."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = re.sub(
                r"^( *)\| (\S.*[^|])$", r"\1\2  ", text, flags=re.MULTILINE
            )
