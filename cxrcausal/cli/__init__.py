"""The command line: thin layers over the Python calls, one file per command."""

from cxrcausal.cli import (  # noqa: F401  importing registers them
    counterfactual,
    data,
    demo,
    evaluate,
    explore,
    fairness,
    fit,
    graph,
    sample,
    train,
)
from cxrcausal.cli.app import main

__all__ = ["main"]
