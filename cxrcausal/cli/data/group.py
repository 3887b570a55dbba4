"""The group that the commands on data join."""

import typer

from cxrcausal.cli.app import app

__all__ = ["data"]

data = typer.Typer(
    help="From a download folder to harmonised tables, audits and image shards.",
    no_args_is_help=True,
)
app.add_typer(data, name="data")
