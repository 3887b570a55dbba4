r"""Does a fit hold on other rows? Five questions, each with an effect size and a test.

- *scores*: is every variable predicted better than by its marginal (`check_score`)?
- *calibration*: of the rows given 20 %, do 20 % have the finding (`check_calibration`)?
- *PIT*: is :math:`F(x \mid \mathrm{pa})` uniform for age and other ordered variables?
- *energy*: can sampled rows be distinguished from observed ones (`check_energy`)?
- *noises*: is the abducted noise independent of the parents and of the other noises, as the causal
  model says (`check_noise`)?

The rows should be of patients that the fit did not see; on its own rows every answer flatters. All
tests count patients, not radiographs. Effect sizes come first: with enough rows every model fails.
"""

from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.errors import OptionError, TableError
from cxrcausal.graph.falsification.falsify import holm
from cxrcausal.graph.falsification.table import Cells
from cxrcausal.randomness import as_seed
from cxrcausal.scm.check.calibration import calibrate, pit_of
from cxrcausal.scm.check.energy import Energy, energy_test
from cxrcausal.scm.check.noise import noise_dependence, normal_scores
from cxrcausal.scm.check.score import score_beside_marginal
from cxrcausal.scm.fit.nodewise import data_fingerprint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cxrcausal.patients import Groups
    from cxrcausal.scm.model import FlowSCM

__all__ = ["FitCheck", "check_fit"]


@final
@dataclass(frozen=True)
class FitCheck:
    """What other rows say of a fit.

    Arguments:
        scores: By variable `rows`, `nats` (mean log-probability given the parents), `marginal`
            (that of the other patients' frequencies), `gain`, its `standard_error` by patient, and
            `p` that a model no worse than the marginal gains so little.
        calibration: By variable and level `rows`, `gap` (mean distance of predicted and observed
            share over bins of the prediction), `gap_by_chance` (expected if calibrated),
            `predicted` and `observed` (mean), `statistic`, `df`, `p`.
        reliability: The bins behind it: `predicted`, `observed`, `rows`, and the ends `low`,
            `high` of the band that a calibrated model stays in with probability 95 %, patients
            counted.
        pit: By ordered variable of more than two values `rows`, `distance` (of the PIT's
            distribution function from the uniform one, at most), `statistic`, `df`, `p`.
        pit_bins: The histogram behind it: `share`, `low` and `high` as above.
        energy: The energy distance of observed and sampled rows.
        noises: By pair `kind` (`noise`: both are noises; `parent`: of a variable and its own
            parent; `spread`: the squared noise and the parent), `nats` (per row, that the second
            says about the first), `correlation` (of two noises), `statistic`, `df`, `p`, `rows`;
            the strongest effect first.
        rows: How many rows the table had.
        patients: How many patients.
        on_fitted_rows: Whether these are the very rows of the fit.
    """

    scores: pd.DataFrame
    calibration: pd.DataFrame
    reliability: pd.DataFrame
    pit: pd.DataFrame
    pit_bins: pd.DataFrame
    energy: Energy
    noises: pd.DataFrame
    rows: int
    patients: int
    on_fitted_rows: bool
    graph: str = field(default="")

    def to_table(self) -> pd.DataFrame:
        """Returns every test as one row: `part`, `what`, `effect` (`unit`), `p`, `p_adjusted`.

        The adjusted p-value is Holm's, over the tests of one part: each part is a question of its
        own.
        """
        parts = [
            pd.DataFrame(
                {
                    "part": "score",
                    "what": self.scores.index,
                    "effect": self.scores["gain"],
                    "unit": "nats per row above the marginal",
                    "p": self.scores["p"],
                }
            ),
            pd.DataFrame(
                {
                    "part": "calibration",
                    "what": [f"{v} = {level}" for v, level in self.calibration.index],
                    "effect": self.calibration["gap"],
                    "unit": "mean gap of predicted and observed share",
                    "p": self.calibration["p"],
                }
            ),
            pd.DataFrame(
                {
                    "part": "PIT",
                    "what": self.pit.index,
                    "effect": self.pit["distance"],
                    "unit": "largest distance from uniform",
                    "p": self.pit["p"],
                }
            ),
            pd.DataFrame(
                {
                    "part": ["energy"],
                    "what": ["observed against sampled rows"],
                    "effect": [self.energy.share],
                    "unit": ["share of the mean distance"],
                    "p": [self.energy.p],
                }
            ),
            pd.DataFrame(
                {
                    "part": "noise",
                    "what": [_pair(row) for row in self.noises.itertuples()],
                    "effect": self.noises["nats"],
                    "unit": "nats per row",
                    "p": self.noises["p"],
                }
            ),
        ]
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        table["p_adjusted"] = table.groupby("part")["p"].transform(lambda p: holm(p.to_numpy()))
        return table

    def misfits(self, alpha: float = 0.05) -> pd.DataFrame:
        """Returns the tests that fail after adjustment, part by part, the largest effect first.

        Of the scores these are the smallest: the gains below zero.

        Raises:
            OptionError: If `alpha` is not a probability.
        """
        if not 0 < alpha < 1:
            raise OptionError(f"alpha is {alpha}; it is a probability between 0 and 1")
        table = self.to_table()
        failed = table[table["p_adjusted"] < alpha]
        order = np.lexsort((-failed["effect"].abs().to_numpy(), failed.index // len(table)))
        parts = pd.Categorical(failed["part"].iloc[order], table["part"].unique())
        return failed.iloc[order].iloc[parts.argsort(kind="stable")].reset_index(drop=True)

    def plot(self, path: str | PathLike[str] | None = None) -> "Figure":
        """Returns a figure of all parts, and writes it if a path is given; see `check_figure`."""
        from cxrcausal.scm.check.figure import check_figure

        figure = check_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __str__(self) -> str:
        lines = [f"{self.graph}: {self.rows:,} rows of {self.patients:,} patients"]
        if self.on_fitted_rows:
            lines.append("these are the rows of the fit: every answer below flatters it")
        total = self.scores[["nats", "marginal", "gain"]].sum()
        lines += [
            f"scores: {total['nats']:.4f} nats a row, marginals {total['marginal']:.4f}, "
            f"gain {total['gain']:+.4f}",
            _shown(self.scores[["rows", "nats", "marginal", "gain", "standard_error"]], 4),
        ]
        if len(self.calibration):
            worst = self.calibration.sort_values("gap", ascending=False)
            lines += ["calibration, the widest gaps first:", _shown(worst.head(8), 4)]
        if len(self.pit):
            lines += ["PIT:", _shown(self.pit, 4)]
        lines += [f"energy: {self.energy}"]
        if len(self.noises):
            lines += [
                f"dependence of the abducted noises, the strongest of {len(self.noises)} pairs:"
            ]
            lines += [
                f"  {_pair(row)}: {row.nats:.5f} nats"
                + ("" if np.isnan(row.correlation) else f", correlation {row.correlation:+.3f}")
                + f", p {row.p:.2g}"
                for row in self.noises.head(8).itertuples()
            ]
        table = self.to_table()
        failed = self.misfits()
        counts = failed["part"].value_counts()
        said = ", ".join(f"{part} {counts.get(part, 0)}" for part in table["part"].unique())
        lines.append(f"failed of {len(table)} tests, adjusted p < 0.05: {len(failed)} ({said})")
        return "\n".join(lines)


def check_fit(
    scm: "FlowSCM",
    table: pd.DataFrame,
    groups: "Groups" = None,
    *,
    seed: int = 0,
    most_rows: int = 20_000,
    permutations: int = 999,
) -> FitCheck:
    """Returns what rows say of a fit, see `FlowSCM.check`.

    Arguments:
        scm: The fitted SCM.
        table: Rows of other patients; unknown cells are left out of what needs them, or drawn
            (energy) as `abduct` draws them.
        groups: The column of patients, or one label per row; None if each row is its own.
        seed: Of folds, draws and permutations.
        most_rows: From how many rows, drawn at random, noises are abducted.
        permutations: Behind the p-value of the energy distance.

    Raises:
        TableError: If the table is empty or not usable.
        OptionError: If the seed, `most_rows` or `permutations` is no whole number above 0.
    """
    seed = as_seed(seed)
    for what, number in (("most_rows", most_rows), ("permutations", permutations)):
        if not isinstance(number, int) or number < 1:
            raise OptionError(f"{what} is {number!r}; it is a whole number above 0")
    if isinstance(table, pd.DataFrame) and not len(table):
        raise TableError("the table to check has no rows")
    known = scm._read(table, "ignore")
    canonical, values = known.table, known.values
    group = Cells(canonical, scm.graph, groups, "the table to check").group
    patient = np.arange(len(canonical)) if group is None else group
    draw = np.random.default_rng(seed & (2**64 - 1))
    numbers = {name: x.cpu() for name, x in values.items()}
    scores = score_beside_marginal(scm, scm.score(table), numbers, patient, draw)
    calibration, reliability = calibrate(scm, numbers, group)
    subset = np.arange(len(canonical))
    if len(subset) > most_rows:
        subset = np.sort(draw.choice(len(subset), most_rows, replace=False))
    part = canonical.iloc[subset].reset_index(drop=True)
    part_group = None if group is None else group[subset]
    # Seeds of their own: rows that were sampled under `seed` must not meet the same numbers again.
    abduct_seed, sample_seed = (int(word) for word in draw.integers(2**63, size=2))
    noise = normal_scores(scm, part, abduct_seed)
    pit, pit_bins = pit_of(scm, noise, part_group)
    return FitCheck(
        scores,
        calibration,
        reliability,
        pit,
        pit_bins,
        energy_test(scm, noise.values, patient[subset], sample_seed, draw, permutations),
        noise_dependence(scm, noise, part, part_group),
        len(canonical),
        len(np.unique(patient)),
        scm.data_fingerprint is not None
        and scm.data_fingerprint == data_fingerprint(canonical, scm.graph),
        scm.graph.name,
    )


def _pair(row: object) -> str:
    """Returns a pair of `FitCheck.noises` in words."""
    x, y, kind = row.x, row.y, row.kind  # type: ignore[attr-defined]
    return {
        "noise": f"noise of {x} with noise of {y}",
        "parent": f"noise of {x} with its parent {y}",
        "spread": f"spread of the noise of {x} with its parent {y}",
    }[kind]


def _shown(table: pd.DataFrame, digits: int) -> str:
    return "\n".join("  " + line for line in table.round(digits).to_string().splitlines())
