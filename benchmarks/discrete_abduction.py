"""What a discrete abduction must keep, and what truncating at the wrong distribution does to it.
Prints a table, draws a figure.

    python benchmarks/discrete_abduction.py [--output docs/figures/discrete_abduction.png]

A level is the argmax of logits plus Gumbel noise. Given that level k won, the maximum Z has the
distribution Gumbel(logsumexp(logits)), whichever level it was, and every other perturbed logit is
a Gumbel truncated at Z. Public implementations of counterfactual chest radiographs take a standard
Gumbel less the winner's logit for Z, and for the winner's noise too: neither has that
distribution, and both move with the logits' level. Both rules are written here in a few lines and
run on the same logits; the package's `GumbelMechanism` stands beside them. Nothing is fitted:
every right answer is known.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cxrcausal.files import atomic_path
from cxrcausal.graph import Variable
from cxrcausal.scm.mechanism.nominal import GumbelMechanism, gumbel_transition

DRAWS = 200_000
CASES = {  # factual and counterfactual probabilities of each level
    ".88, .12 → .80, .20": ((0.88, 0.12), (0.80, 0.20)),
    ".5, .3, .2 → .2, .5, .3": ((0.5, 0.3, 0.2), (0.2, 0.5, 0.3)),
}
CONSTANTS = np.linspace(-3, 3, 13)


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns standard Gumbel noise of the given shape, float64."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return -(-uniform.clamp(1e-300).log()).log()


def truncated(logits: Tensor, below: Tensor, generator: torch.Generator) -> Tensor:
    """Returns Gumbels (rows, levels) with locations `logits`, each below its row's `below` (rows,
    1).
    """
    free = logits + gumbel((len(below), len(logits)), generator)
    return -torch.logaddexp(-below, -free)


def posterior(logits: Tensor, level: Tensor, generator: torch.Generator, *, exact: bool) -> Tensor:
    """Returns noise (rows, levels) given the level (rows,), by the right distribution of the
    maximum or by the other.
    """
    own = gumbel((len(level), 1), generator)
    # The winner's noise less its logit has neither the maximum's distribution nor its place.
    maximum = logits.logsumexp(0) + own if exact else own - logits[level][:, None]
    perturbed = truncated(logits, maximum, generator)
    winner = maximum - logits[level][:, None] if exact else maximum
    return (perturbed - logits).scatter(1, level[:, None], winner)


def answers(
    p: tuple[float, ...], q: tuple[float, ...], *, exact: bool, constant: float = 0.0
) -> dict[str, float]:
    """Returns what comes out for rows drawn from `p`: changes under no intervention, and the
    distribution under `q`.
    """
    generator = torch.Generator().manual_seed(0)
    before = torch.tensor(p, dtype=torch.float64).log() + constant
    after = torch.tensor(q, dtype=torch.float64).log() + constant
    level = (before + gumbel((DRAWS, len(p)), generator)).argmax(1)
    noise = posterior(before, level, generator, exact=exact)
    same, other = (before + noise).argmax(1), (after + noise).argmax(1)
    last = level == len(p) - 1
    return {
        "flipped": float((same != level)[last].double().mean()),
        "distribution": float((other == len(p) - 1).double().mean()),
        "kept": float((other == len(p) - 1)[last].double().mean()),
    }


def shipped(p: tuple[float, ...], q: tuple[float, ...]) -> dict[str, float]:
    """Returns the same of the package's mechanism: its posterior by draws, its closed form
    beside.
    """
    levels = tuple(map(str, range(len(p))))
    mechanism = GumbelMechanism(Variable("x", "nominal", levels), ()).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    mechanism.start_at(mechanism.levels, torch.tensor(p, dtype=torch.float64) * 1e6)
    uniform = torch.rand((2, DRAWS, len(p)), generator=generator, dtype=torch.float64)
    x = mechanism.predict(mechanism.prior(uniform[0]), {})
    u = mechanism.abduct(x, {}, uniform[1])
    last = x == len(p) - 1
    transition = gumbel_transition(
        torch.arange(len(p)),
        torch.tensor(p, dtype=torch.float64).log(),
        torch.tensor(q, dtype=torch.float64).log(),
    )
    return {
        "flipped": float((mechanism.predict(u, {}) != x)[last].double().mean()),
        "distribution": float((torch.tensor(p, dtype=torch.float64) @ transition)[-1]),
        "kept": float(transition[-1, -1]),
    }


def draw() -> Figure:
    """Draws changes under no intervention, and the distribution under `q`, against a constant
    added to all logits.
    """
    p, q = CASES[".88, .12 → .80, .20"]
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rules = (
        (False, "#b2182b", "truncated at the winner's own distribution"),
        (True, "#2166ac", "truncated at the maximum's distribution"),
    )
    for exact, colour, label in rules:
        found = [answers(p, q, exact=exact, constant=float(c)) for c in CONSTANTS]
        left.plot(CONSTANTS, [f["flipped"] for f in found], "o-", color=colour, label=label)
        right.plot(CONSTANTS, [f["distribution"] for f in found], "o-", color=colour)
    left.set_title("positives that change under no intervention", fontsize=10)
    left.set_ylim(-0.03, 1.03)
    left.legend(fontsize=8, frameon=False)
    right.axhline(q[-1], color="0.5", linewidth=1, zorder=0)
    right.text(CONSTANTS[-1], 0.206, "P(1) under the intervention: .20", fontsize=8, ha="right")
    right.set_ylim(0.06, 0.215)
    right.set_title("share of positives after P(1) = .12 → .20", fontsize=10)
    for axis in (left, right):
        axis.set_xlabel("constant added to every logit (it changes no probability)", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(argv: list[str] | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """Prints the table and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/figures/discrete_abduction.png"))
    args = parser.parse_args(argv)
    report = {}
    print(
        "| p → q | abduction | last level: changed under no intervention | kept under q | P(last) "
        "under q |"
    )
    print("|---|---|---|---|---|")
    for case, (p, q) in CASES.items():
        report[case] = {
            "truncated at the winner's own distribution": answers(p, q, exact=False),
            "truncated at the maximum's distribution": answers(p, q, exact=True),
            "cxrcausal": shipped(p, q),
        }
        for label, found in report[case].items():
            print(
                f"| {case} | {label} | {found['flipped']:.3f} | {found['kept']:.3f} | "
                f"{found['distribution']:.4f} |"
            )
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.output) as path:
        draw().savefig(path, dpi=150, format="png")
    return report


if __name__ == "__main__":
    main()
