"""The application that the commands join, their shared options, and how errors are shown."""

import logging
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

import cxrcausal
from cxrcausal.errors import CxrCausalError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import Scale, Shift, scale, shift

__all__ = ["app", "main", "read_assignments", "read_interventions", "read_values"]

app = typer.Typer(
    name="cxrcausal",
    help="Counterfactual inference on chest radiographs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what is done.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show errors alone.")] = False,
) -> None:
    """Sets how much is said."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(message)s")
    logging.getLogger("cxrcausal").setLevel(level)
    if version:
        typer.echo(cxrcausal.__version__)
        raise typer.Exit


def read_assignments(texts: list[str], option: str) -> dict[str, str]:
    """Returns ``key=value`` texts as a mapping.

    Raises:
        typer.BadParameter: If a text has no ``=``, or a key is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise typer.BadParameter(f"{option} takes key=value; found {text!r}")
        if key in pairs:
            raise typer.BadParameter(
                f"{option} gives {key!r} twice; a patient has one value of it"
            )
        pairs[key] = value
    return pairs


def read_values(pairs: Mapping[str, str], graph: CausalGraph) -> dict[str, str | float]:
    """Returns texts as the values they mean: a level is a word, other numerals are numbers."""
    return {name: _value(text, graph.variables.get(name)) for name, text in pairs.items()}


def read_interventions(pairs: Mapping[str, str], graph: CausalGraph) -> dict[str, Any]:
    """Returns texts as interventions: a value, or for a continuous variable a move.

    ``+20`` and ``-20`` add to the factual value, ``*1.1`` multiplies it, and ``=-20`` sets a
    number that has a sign.

    Raises:
        typer.BadParameter: If a move is none.
    """
    return {
        name: _intervention(name, text, graph.variables.get(name)) for name, text in pairs.items()
    }


def _intervention(name: str, text: str, variable: Variable | None) -> str | float | Shift | Scale:
    if variable is None or variable.is_discrete or text[:1] not in ("+", "-", "*", "="):
        return _value(text, variable)
    sign, number = text[0], text[1:].strip() if text[0] in "*=" else text
    try:
        amount = float(number)
    except ValueError:
        raise typer.BadParameter(
            f"--do {name}={text!r} is no number; allowed: 40 or =-40 (set), +20 or -20 (add), "
            f"*1.1 (multiply)"
        ) from None
    if sign == "=":
        return amount
    return scale(amount) if sign == "*" else shift(amount)


def _value(text: str, variable: Variable | None) -> str | float:
    """Returns a number if the text is one and means none of the variable's levels."""
    signed = variable is not None and variable.is_discrete and text[:1] in ("+", "-")
    if signed or (variable is not None and text in variable.levels):
        return text
    try:
        return float(text)
    except ValueError:
        return text


def main() -> None:
    """Runs the command line; what the package refuses, or the disk, is one line and exit 2."""
    try:
        app()
    except CxrCausalError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise  # of no file that a user could look at
        typer.echo(f"{type(error).__name__}: {error.filename}: {error.strerror}", err=True)
        sys.exit(2)
