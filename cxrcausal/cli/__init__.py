"""The command line: thin layers over the Python calls, one file per command."""

from cxrcausal.cli import counterfactual, data, demo, evaluate, fairness, graph, train  # noqa: F401  importing registers them
from cxrcausal.cli.app import main

__all__ = ["main"]
