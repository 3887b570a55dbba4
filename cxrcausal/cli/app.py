"""The application that the commands join, their shared options, and how errors are shown."""

import logging
import sys
from typing import Annotated

import typer

import cxrcausal
from cxrcausal.errors import CxrCausalError

__all__ = ["app", "main", "read_assignments"]

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


def read_assignments(texts: list[str], option: str) -> dict[str, str | float]:
    """Returns ``key=value`` texts as a mapping; values that read as numbers are numbers.

    Raises:
        typer.BadParameter: If a text has no ``=``, or a key is given twice.
    """
    pairs: dict[str, str | float] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise typer.BadParameter(f"{option} takes key=value; found {text!r}")
        if key in pairs:
            raise typer.BadParameter(
                f"{option} gives {key!r} twice; a patient has one value of it"
            )
        try:
            pairs[key] = float(value)
        except ValueError:
            pairs[key] = value
    return pairs


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
