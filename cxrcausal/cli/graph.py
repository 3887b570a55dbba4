"""`cxrcausal graph`: shows a causal graph."""

from pathlib import Path
from typing import Annotated

import typer

from cxrcausal.cli.app import app
from cxrcausal.files import atomic_path
from cxrcausal.graph import list_graphs, load_graph

__all__ = ["graph"]

_FORMATS = ("png", "pdf", "svg")
_ALLOWED = ", ".join(f".{kind}" for kind in _FORMATS)


@app.command()
def graph(
    name: Annotated[str, typer.Argument(help="A shipped graph or a YAML file.")] = "cxr19",
    output: Annotated[Path | None, typer.Option(help="Write a figure (PNG, PDF, SVG).")] = None,
    mermaid: Annotated[bool, typer.Option(help="Print Mermaid instead of a list.")] = False,
) -> None:
    """Shows who causes whom, as a list, as Mermaid, or as a figure."""
    loaded = load_graph(name)
    if output is not None:
        kind = output.suffix.lstrip(".").lower() or "png"
        if kind not in _FORMATS:
            raise typer.BadParameter(f"--output ends in {output.suffix!r}; allowed: {_ALLOWED}")
        with atomic_path(output) as beside:
            loaded.draw().savefig(beside, dpi=150, format=kind)
        typer.echo(f"wrote {output}")
    elif mermaid:
        typer.echo(loaded.to_mermaid())
    else:
        typer.echo(f"{loaded.name} ({loaded.fingerprint}); shipped: {', '.join(list_graphs())}")
        for variable in loaded.topological_order:
            parents = loaded.parents(variable)
            typer.echo(f"  {variable} ← {', '.join(parents) if parents else 'nothing'}")
