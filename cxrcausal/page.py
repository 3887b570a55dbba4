"""One HTML page of tables, sentences and figures that needs no other file."""

import base64
import html
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import pandas as pd

from cxrcausal.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "figure_html"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .2em .8em; border-bottom: 1px solid #ccc; text-align: left; }
img { max-width: 100%; }
"""


@final
@dataclass
class Page:
    """A page under construction; what is added comes below what was.

    Arguments:
        title: Its title.
        parts: What was added, as HTML.
    """

    title: str
    parts: list[str] = field(default_factory=list)

    def head(self, text: str) -> None:
        """Begins a section."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def say(self, text: str) -> None:
        """Adds a paragraph."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def table(self, frame: pd.DataFrame) -> None:
        """Adds a table (rows, columns) without its index; cells are text, missing ones blank."""
        self.parts.append(frame.to_html(index=False, border=0, na_rep="", escape=True))

    def figure(self, figure: "Figure", what: str) -> None:
        """Adds a figure, and in words what it shows."""
        self.parts.append(f"<p>{figure_html(figure, what)}</p>")
        self.say(what)

    def save(self, path: Path) -> None:
        """Writes the page, whole or not at all."""
        title = html.escape(self.title)
        body = "\n".join(self.parts)
        with atomic_path(path) as beside:
            beside.write_text(
                f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
                f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
                f"<h1>{title}</h1>\n{body}\n</body>\n</html>\n",
                encoding="utf-8",
            )


def figure_html(figure: "Figure", what: str, dpi: int = 110) -> str:
    """Returns a figure as an image of HTML that needs no other file.

    Arguments:
        figure: The figure.
        what: What it shows, in words.
        dpi: Its dots per inch.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    said = html.escape(what, quote=True)
    return f'<img alt="{said}" src="data:image/png;base64,{coded}">'
