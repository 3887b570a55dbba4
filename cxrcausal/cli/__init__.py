"""The command line: thin layers over the Python calls, one file per command."""

import typer

from cxrcausal.cli.app import main
from cxrcausal.cli.counterfactual import counterfactual
from cxrcausal.cli.demo import demo
from cxrcausal.cli.graph import graph

__all__ = ["main"]

_ = (typer, counterfactual, demo, graph)  # importing a command registers it
