"""The command line: thin layers over the Python calls, one file per command."""

from cxrcausal.cli import counterfactual, demo, graph  # noqa: F401  importing a command registers it
from cxrcausal.cli.app import main

__all__ = ["main"]
