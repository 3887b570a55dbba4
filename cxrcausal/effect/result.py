"""An effect as an answer: a figure, how sure it is, and what it rests on."""

import html
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from cxrcausal.effect.basis import Claim
from cxrcausal.effect.question import Parameters

__all__ = ["Effect", "Scale"]

Scale = Literal["difference", "ratio", "probability"]
"""A difference of probabilities or means, a ratio of probabilities (the risk ratio), or one."""


@final
@dataclass(frozen=True)
class Effect:
    """An effect, how sure it is, and what it rests on.

    Arguments:
        name: The name of the effect: `ATE`, `NDE`, `PNS`.
        of: The change of the cause and the question to the outcome, in words.
        estimate: The figure on all patients.
        low: The lower end of its interval by patient; NaN where resamples show no spread, as of a
            single patient.
        high: The upper end of its interval.
        monte_carlo_error: The standard error that draws leave; 0 where the sums are exact.
        claim: The basis on which it rests, by the graph.
        rows: The number of rows that it is averaged over.
        patients: The number of patients whose rows these are.
        scale: Whether it is a difference, a ratio or a probability.
        arms: The outcome in the two worlds that are compared, if there are such.
        bounds: The bounds that data allow, where they do not decide.
        bounds_interval: The lower end of the lower and the upper end of the upper bound's
            interval.
        refits: The number of fits in the intervals; 0 for one-step replicates or fixed parameters.
        parameters: `estimated` if the intervals count the estimation error of the fit, else
            `fixed`.
        caveat: The part of the estimation error that is not in the intervals, and why; empty if
            there is none.
        confidence: The probability that an interval covers.
    """

    name: str
    of: str
    estimate: float
    low: float
    high: float
    monte_carlo_error: float
    claim: Claim
    rows: int
    patients: int
    scale: Scale = "difference"
    arms: tuple[float, float] | None = None
    bounds: tuple[float, float] | None = None
    bounds_interval: tuple[float, float] | None = None
    refits: int = 0
    parameters: Parameters = "fixed"
    caveat: str = ""
    confidence: float = 0.95

    @property
    def identified(self) -> bool:
        """Whether it follows from data, the graph granted."""
        return bool(self.claim)

    @property
    def statement(self) -> str:
        """What it rests on, as a sentence."""
        return str(self.claim)

    @property
    def _interval_words(self) -> str:
        """What an interval leaves out, in brackets; empty if nothing."""
        if self.claim.basis == "construction":
            return ""
        if self.parameters == "estimated":
            return f" ({self.caveat})" if self.caveat else ""
        why = f": {self.caveat}" if self.caveat else ""
        return (
            f" ({100 * self.confidence:g} % patient bootstrap, parameters fixed, estimation error "
            f"not included{why})"
        )

    def __str__(self) -> str:
        sign = "+" if self.scale == "difference" else ""
        name = f"{self.name} as a ratio" if self.scale == "ratio" else self.name
        words = f"{name}, {self.of}: {self.estimate:{sign}.4g}"
        if np.isnan(self.low) or np.isnan(self.high):
            words += f" without an interval ({self.patients} patient"
            words += "s that do not differ)" if self.patients > 1 else ")"
        else:
            words += f" [{self.low:{sign}.4g}, {self.high:{sign}.4g}]{self._interval_words}"
        if self.bounds is not None:
            words += f", bounds {self.bounds[0]:.4g} to {self.bounds[1]:.4g}"
        if self.monte_carlo_error:
            words += f", Monte-Carlo error {self.monte_carlo_error:.2g}"
        return f"{words}; {self.statement}"

    def _repr_html_(self) -> str:
        interval = (
            "none"
            if np.isnan(self.low) or np.isnan(self.high)
            else f"[{self.low:.4g}, {self.high:.4g}]{self._interval_words}"
        )
        lines = {
            self.name: self.of,
            "estimate": f"{self.estimate:.4g}",
            f"{100 * self.confidence:g} % interval": interval,
            "rows, patients": f"{self.rows:,}, {self.patients:,}",
        }
        if self.arms is not None:
            lines["the two worlds"] = f"{self.arms[0]:.4g} and {self.arms[1]:.4g}"
        if self.bounds is not None:
            lines["bounds by data"] = f"{self.bounds[0]:.4g} to {self.bounds[1]:.4g}"
        if self.monte_carlo_error:
            lines["Monte-Carlo error"] = f"{self.monte_carlo_error:.2g}"
        lines["rests on"] = self.statement
        cells = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(said)}</td></tr>"
            for name, said in lines.items()
        )
        return f"<table>{cells}</table>"
