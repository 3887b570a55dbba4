r"""Adds a mechanism of one's own, fits it, and answers a counterfactual with it.

    python examples/own_mechanism.py --data FOLDER --output runs/own

FOLDER holds `metadata/nih_train.csv.gz`. The mechanism is probit regression: a finding is positive
where :math:`\beta^\top \mathrm{pa} + u > 0` with :math:`u \sim N(0, 1)`. Thirty lines of
mathematics give likelihood, exact abduction and the distribution of the counterfactual;
registered under a name, it is fitted, saved and loaded like those of the package.
Ends in a table: its held-out score beside the default's, for each finding.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.data import split_by_patient
from cxrcausal.scm import Mechanism, maximise_likelihood, register_mechanism
from cxrcausal.scm.mechanism.conditioner import ParentFeatures
from cxrcausal.scm.mechanism.normal import draw_inside, normal_noise, overlap


@register_mechanism(family="probit", serves=lambda variable: variable.kind == "binary")
class ProbitMechanism(Mechanism):
    """A binary variable: positive where the noise exceeds an edge that moves with the parents."""

    def __init__(self, variable, parents):
        super().__init__(variable, parents)
        self.features = ParentFeatures(parents)  # an indicator per level, a spline per number
        self.slope = torch.nn.Parameter(torch.zeros(self.features.width, dtype=torch.float64))
        self.intercept = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.register_buffer("levels", torch.tensor([0.0, 1.0], dtype=torch.float64))

    def edge(self, pa):
        """Returns where the noise turns the variable positive."""
        if not self.parents:
            return -self.intercept
        values = torch.broadcast_tensors(*(pa[p.name] for p in self.parents))
        flat = {p.name: x.flatten() for p, x in zip(self.parents, values, strict=True)}
        return -(self.intercept + self.features(flat) @ self.slope).reshape(values[0].shape)

    # --- what a mechanism is

    noise_size = 1

    @property
    def support(self):
        """The values that it takes."""
        return self.levels

    def log_probs(self, pa):
        """Returns log-probabilities of both levels: Φ(edge) and Φ(−edge)."""
        edge = self.edge(pa)
        return torch.special.log_ndtr(torch.stack([edge, -edge], -1))

    def log_prob(self, x, pa):
        """Returns the log-probability of the level that was seen."""
        return torch.special.log_ndtr((2 * x - 1) * -self.edge(pa))

    def prior(self, uniform):
        """Returns standard normal noise."""
        return normal_noise(uniform)

    def predict(self, u, pa):
        """Returns the level that the noise gives."""
        return (u[..., 0] > self.edge(pa)).to(torch.float64)

    def abduct(self, x, pa, uniform):
        """Returns normal noise, truncated to the side of the edge on which the level lies."""
        a, b = self.interval(x, pa)
        return draw_inside(a, b, uniform[..., 0])[..., None]

    def transition(self, x, pa, pa_star):
        """Returns how the factual interval is shared among the levels of the other world."""
        a, b = self.interval(x, pa)
        edge = self.edge(pa_star)[..., None]
        below = torch.full_like(edge, -torch.inf)
        ends = torch.cat([below, edge, -below], -1)
        return overlap(a, b, ends)

    def interval(self, x, pa):
        """Returns the noise that gives `x`: up to the edge, or from it on."""
        edge = self.edge(pa)
        inf = torch.full_like(edge, torch.inf)
        return torch.where(x > 0, edge, -inf), torch.where(x > 0, inf, edge)

    # --- what fitting needs

    @classmethod
    def fit(cls, variable, parents, values, weights, seed):
        """Returns it fitted by maximum likelihood."""
        mechanism = cls(variable, parents)
        mechanism.features.calibrate({p.name: values[p.name] for p in parents}, weights)
        return maximise_likelihood(mechanism, values, weights)


def main() -> None:
    """Fits both SCMs, prints the table, saves and loads the probit one, and asks it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds metadata/")
    parser.add_argument("--output", type=Path, default=Path("runs/own"))
    parser.add_argument("--tiny", action="store_true", help="4,000 rows")
    args = parser.parse_args()

    graph = cx.load_graph("cxr19")
    table = cx.read_table(args.data / "metadata" / "nih_train.csv.gz", source="nih", graph=graph)
    part = split_by_patient(table)
    if args.tiny:
        table, part = table.head(4000), part.head(4000)
    train, test = table[part != "test"], table[part == "test"]

    probit = cx.FlowSCM(graph, family="probit").fit(train, groups="patient_id", progress=False)
    default = cx.FlowSCM(graph).fit(train, groups="patient_id", progress=False)
    probit.save(args.output / "scm")
    probit = cx.FlowSCM.load(args.output / "scm")  # as it was: names and numbers, no code

    own = [n for n, m in probit.mechanisms.items() if isinstance(m, ProbitMechanism)]
    report = pd.DataFrame(
        {
            "probit": probit.score(test)[own].mean(),
            "default": default.score(test)[own].mean(),
        }
    ).dropna()
    report["difference"] = report["probit"] - report["default"]
    print("held-out nats per row")
    print(report.round(5).to_string())

    rows = test[test["pleural_effusion"] == "negative"].head(1000)
    do = {"cardiomegaly": "positive"}
    own = probit.counterfactual_probability(rows, do, "pleural_effusion")
    other = default.counterfactual_probability(rows, do, "pleural_effusion")
    print("\nof those without effusion, the share that would have one, had they cardiomegaly")
    print(f"probit {own['positive'].mean():.4f}, default {other['positive'].mean():.4f}")
    report.to_csv(args.output / "scores.csv")


if __name__ == "__main__":
    main()
