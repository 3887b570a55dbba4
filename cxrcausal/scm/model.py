r"""The structural causal model of the metadata: sample, abduct, predict, counterfactual.

Every variable is assigned by a mechanism from its parents and its own noise, :math:`x_v :=
f_v(u_v, \mathrm{pa}_v)`. A counterfactual takes Pearl's three steps: the noise of a patient is
abducted from what is known of them, the intervention replaces some assignments, and the others are
replayed.

What this answers rests on the graph and, row by row, on how each mechanism couples its levels
(monotone for ordered variables, Gumbel-max for nominal ones): data alone do not decide that.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
    | Deep Structural Causal Models for Tractable Counterfactual Inference
    | (Pawlowski et al., 2020), https://arxiv.org/abs/2006.06485
"""

import logging
from collections.abc import Callable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.device import resolve_device
from cxrcausal.errors import OptionError, UnobservedError, nearest, summarise
from cxrcausal.gradients import with_gradients
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.load import load_graph
from cxrcausal.randomness import as_count, as_seed, fresh_seed
from cxrcausal.scm.abduction import abduct_rows
from cxrcausal.scm.action import Do
from cxrcausal.scm.distribution import cell_scores, distribution_of_rows
from cxrcausal.scm.draws import draws_of
from cxrcausal.scm.evidence import BATCH, Evidence, chunks, read_evidence
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fit.nodewise import Missing, learn
from cxrcausal.scm.fitted import Fitted, HasFit
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.prediction import counterfactual_rows, new_patients, predict_rows
from cxrcausal.scm.unknown.posterior import log_evidence
from cxrcausal.scm.unknown.virtual_evidence import Likelihood

if TYPE_CHECKING:
    from cxrcausal.patients import Groups
    from cxrcausal.scm.check.report import FitCheck
    from cxrcausal.scm.fit.choice import Coupling, Family

__all__ = ["FlowSCM"]

logger = logging.getLogger("cxrcausal")


@final
class FlowSCM(HasFit):
    """The flow SCM over a graph's metadata variables.

    Arguments:
        graph: A causal graph, its name or its file.
        family: How mechanisms are parametrised: `auto`, `direct`, `cnf` or `nsf`.
        coupling: How the levels of nominal variables are coupled between worlds: `gumbel`
            (counterfactual stability) or `ordered` (the order in the graph file is meant).
        hidden: The widths of the network that a mechanism may add to its regression; () for none.

    Raises:
        OptionError: If there is no such family or coupling, or a width is not a whole number above
            0.

    Example:
        >>> scm = FlowSCM("cxr19").fit(table, groups="patient_id")  # doctest: +SKIP
        >>> scm.counterfactual(rows, do={"sex": "Male"}, seed=0)  # doctest: +SKIP
    """

    def __init__(
        self,
        graph: str | PathLike[str] | CausalGraph = "cxr19",
        *,
        family: "Family" = "auto",
        coupling: "Coupling" = "gumbel",
        hidden: tuple[int, ...] = (32, 32),
    ) -> None:
        from cxrcausal.scm.fit.choice import check_options

        self.graph = graph if isinstance(graph, CausalGraph) else load_graph(graph)
        self.hidden = check_options(family, coupling, hidden)
        self.family = family
        self.coupling = coupling
        self._fitted: Fitted | None = None
        self._said: set[str] = set()

    @classmethod
    def from_mechanisms(
        cls,
        graph: str | PathLike[str] | CausalGraph,
        mechanisms: Mapping[str, Mechanism],
        observed: Mapping[str, tuple] | None = None,
    ) -> "FlowSCM":
        """Returns an SCM of given mechanisms, such as known equations, instead of fitted ones.

        Arguments:
            graph: The causal graph.
            mechanisms: By variable; one that is left out counts as never observed.
            observed: The levels (discrete) or range (continuous) of each variable; all levels
                and the whole of the bounds if None.

        Raises:
            GraphError: If a mechanism reads what the graph does not call its parent.
        """
        scm = cls(graph)
        scm._fitted = Fitted.of(scm.graph, mechanisms, observed)
        return scm

    # --- what it is ----------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the arguments that make an unfitted copy, as scikit-learn's `clone` expects."""
        return {
            "graph": self.graph,
            "family": self.family,
            "coupling": self.coupling,
            "hidden": self.hidden,
        }

    def set_params(self, **params: Any) -> "FlowSCM":  # noqa: ANN401
        """Sets arguments of the constructor, forgets any fit under others, and returns the SCM.

        Arguments:
            params: Some of what `get_params` names, checked as the constructor does.

        Raises:
            OptionError: If there is no such argument, or its value is not usable.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise OptionError(
                    f"FlowSCM has no parameter {name!r}{nearest(name, known) or '.'} "
                    f"It has: {summarise(known)}"
                )
        if params:
            vars(self).update(vars(FlowSCM(**known | params)))
        return self

    def _repr_html_(self) -> str:
        from cxrcausal.scm.html import to_html

        return to_html(self)

    def to(self, device: str | torch.device) -> "FlowSCM":
        """Moves the mechanisms to a device (`auto`: a GPU if there is one) and returns the SCM.

        Raises:
            CxrCausalError: If there is no such device here.
        """
        target = resolve_device(device)
        for mechanism in self._state.mechanisms.values():
            mechanism.to(target)
        return self

    # --- fitting -------------------------------------------------------------------------------

    @with_gradients
    def fit(
        self,
        table: pd.DataFrame,
        groups: str | np.ndarray | pd.Series | None = None,
        *,
        missing: Missing = "available",
        likelihood: Likelihood | None = None,
        seed: int = 0,
        progress: bool | None = None,
    ) -> "FlowSCM":
        """Fits every mechanism on the rows where it and its observed parents are known.

        A flow takes at most 100,000 distinct ones of these rows, see `fit_mechanism`.

        Arguments:
            table: The rows; as `check_table` accepts them.
            groups: Whose rows they are (a column, or one value per row): validation rows are those
                of other patients, and intervals of effects count patients. Each row is its own
                patient if None.
            missing: `available` stops there; `em` goes on, by EM, to raise the likelihood of all
                that is known in every row, unknown cells being missing at random.
            likelihood: Soft evidence on unknown cells, see `Likelihood`; for `em` only.
            seed: Seed of everything random in the fit.
            progress: Whether to show a progress bar; on a terminal only if None.

        Returns:
            This SCM.

        Raises:
            TableError: If the table lacks a column or holds a value that is not allowed, or soft
                evidence is malformed.
            OptionError: If the seed is not a whole number, `missing` is neither word, or soft
                evidence is given to a fit that leaves unknown cells out.
        """
        self._fitted = learn(
            self.graph, table, groups,
            family=self.family, coupling=self.coupling, hidden=self.hidden,
            seed=as_seed(seed), progress=progress, missing=missing, likelihood=likelihood,
        )  # fmt: skip
        self._said = set()
        return self

    # --- probability ---------------------------------------------------------------------------

    @torch.no_grad()
    def log_prob(
        self,
        rows: pd.DataFrame,
        *,
        likelihood: Likelihood | None = None,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
        progress: bool | None = None,
    ) -> pd.Series:
        """Returns the log-probability of the known cells of each row, unknown ones summed out.

        Ages count as probabilities per whole year; a continuum without a resolution as a density
        per unit; soft evidence (`likelihood`) as the likelihood that is given. Sums are exact for
        levels and grids; over quantile cells for an unknown continuum.

        Raises:
            TableError: If rows are not usable, or the sum over unknown cells would be too large.
        """
        known = self._read(rows, unobserved, likelihood)
        parts = [
            log_evidence(known.part(chunk))
            for chunk in chunks(len(known.table), batch_size, "log_prob", progress)
        ]
        found = torch.cat(parts).cpu().numpy()
        return pd.Series(found, index=known.index, name="log_prob")

    @torch.no_grad()
    def score(
        self,
        rows: pd.DataFrame,
        per_variable: bool = True,
        *,
        unobserved: Literal["ignore", "error"] = "ignore",
    ) -> pd.DataFrame | pd.Series:
        """Returns log p(value | parents) of each cell, the figure to hold against a regression.

        Arguments:
            rows: The rows.
            per_variable: Whether to return one column per variable instead of their sum.
            unobserved: Whether evidence that the fit never observed is ignored or an error.

        Returns:
            A column per observed variable, NaN where it or an observed parent is unknown (a known
            positive finding decides a definition all the same); or their sum, NaN where a term is.
        """
        known = self._read(rows, unobserved)
        scores = {
            name: score.cpu().numpy()
            for name, score in cell_scores(self.mechanisms, known.values).items()
        }
        frame = pd.DataFrame(scores, index=known.index)
        return frame if per_variable else frame.sum(axis=1, skipna=False).rename("score")

    def check(
        self,
        table: pd.DataFrame,
        groups: "Groups" = None,
        *,
        seed: int = 0,
        most_rows: int = 20_000,
        permutations: int = 999,
    ) -> "FitCheck":
        """Returns whether the fit holds on rows of other patients: printed, or plotted.

        Scores beside the frequencies', calibration of every level, the PIT of age, the energy
        distance of observed and sampled rows, and the dependence of the abducted noises; see
        `check.report.FitCheck`.

        Arguments:
            table: The rows, of other patients than the fit's.
            groups: The column of patients, or one label per row; None if each row is its own.
            seed: Seed of everything random in the check.
            most_rows: The most rows, drawn at random, from which noise is abducted.
            permutations: How many permutations give the p-value of the energy distance.

        Raises:
            TableError: If the table is empty or not usable.
            OptionError: If the seed or a number is no whole number.
        """
        from cxrcausal.scm.check.report import check_fit

        return check_fit(
            self, table, groups, seed=seed, most_rows=most_rows, permutations=permutations
        )

    # --- the three steps -----------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, do: Do | None = None, *, seed: int | None = None, clip: bool = False
    ) -> pd.DataFrame:
        """Returns `n` new patients, all cells known, from the distribution under `do`.

        Variables that the fit never observed are NaN.

        Raises:
            OptionError: If `n` or the seed is not a whole number, or `n` is negative.
        """
        seed, n = fresh_seed() if seed is None else as_seed(seed), as_count(n, "n", least=0)
        patients = new_patients(self, n, seed)
        return self.predict(patients, do, clip=clip) if do else patients.rows

    @torch.no_grad()
    def abduct(
        self,
        rows: pd.DataFrame,
        num_samples: int = 1,
        seed: int | None = None,
        *,
        likelihood: Likelihood | None = None,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
        progress: bool | None = None,
    ) -> Exogenous:
        """Draws every variable's noise from its posterior given the known cells of its row.

        The posterior is exact for levels and grids; an unknown continuum without a resolution is
        drawn by quantile cells of its noise (`unknown.network.QUANTILES`) and evenly within them.

        Arguments:
            rows: The factual rows; unknown cells are drawn from their joint posterior first.
            num_samples: How many draws each row gets.
            seed: Decides the draws, with row label, variable and draw; row labels must be unique
                then. A fresh seed, and rows by position, if None.
            likelihood: Soft evidence on unknown cells, see `Likelihood`.
            unobserved: Whether evidence that the fit never observed is ignored or an error.
            batch_size: How many rows times draws are worked on at once.
            progress: Whether to show a progress bar; on a terminal only if None.

        Raises:
            TableError: If rows are not usable, or unknown cells too many for their joint
                posterior.
        """
        known = self._read(rows, unobserved, likelihood)
        draws = draws_of(known.index, seed, num_samples)
        return abduct_rows(
            self.graph, self._state, known, draws, batch_size=batch_size, progress=progress
        )

    def predict(
        self,
        noise: Exogenous,
        do: Do | None = None,
        *,
        impute: bool = False,
        clip: bool = False,
        keep: bool = True,
        batch_size: int = BATCH,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Returns the world in which `do` is set and the noise is the same; deterministic.

        Arguments:
            noise: From `abduct`.
            do: What is set; {} or None is the null intervention.
            impute: Whether unknown cells are returned as drawn instead of as unknown.
            clip: Whether the bounds clip a value that leaves them instead of refusing it. What is
                moved from an unknown value may leave them, so it is refused too without clipping.
            keep: Whether cells whose parents do not change are taken over instead of predicted.
                The answer is the same; False shows it.
            batch_size: How many rows times draws are worked on at once.
            progress: Whether to show a progress bar; on a terminal only if None.

        Returns:
            The table of that world; where the bounds clipped values, ``attrs["clipped"]`` counts
            the rows by variable.

        Raises:
            InterventionError: If `do` cannot be set, see `action.resolve`.
            GraphError: If the noise belongs to another graph, or to another fit.
        """
        return predict_rows(
            self, noise, do,
            impute=impute, clip=clip, keep=keep, batch_size=batch_size, progress=progress,
        ).shown  # fmt: skip

    def counterfactual(
        self,
        rows: pd.DataFrame,
        do: Do | None = None,
        num_samples: int = 1,
        seed: int | None = None,
        *,
        impute: bool = False,
        clip: bool = False,
        likelihood: Likelihood | None = None,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Returns what would have been, had `do` been set: `predict(abduct(rows), do)`.

        Only the noise, and only the unknown cells, that the answer needs are drawn.

        Arguments:
            rows: The factual rows.
            do: What is set; {} or None is the null intervention.
            num_samples: How many counterfactuals each row gets. More than one give a
                (row, sample) MultiIndex.
            seed: As in `abduct`.
            impute: Whether unknown cells are returned as drawn instead of as unknown.
            clip: Whether the bounds clip a value that leaves them instead of refusing it.
            likelihood: Soft evidence on unknown cells, see `Likelihood`.
            unobserved: Whether evidence that the fit never observed is ignored or an error.
            batch_size: How many rows times draws are worked on at once; the answer is the same.
            progress: Whether to show a progress bar; on a terminal only if None.
        """
        known = self._read(rows, unobserved, likelihood)
        draws = draws_of(known.index, seed, num_samples)
        return counterfactual_rows(
            self, known, do, draws,
            impute=impute, clip=clip, batch_size=batch_size, progress=progress,
        ).shown  # fmt: skip

    @torch.no_grad()
    def counterfactual_probability(
        self,
        rows: pd.DataFrame,
        do: Do | None,
        of: str,
        *,
        clip: bool = False,
        likelihood: Likelihood | None = None,
        unobserved: Literal["ignore", "error"] = "ignore",
        num_samples: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Returns the distribution of one variable in the world that is set, for each row.

        The noise and unknown cells are summed out: exactly for levels and grids, over quantile
        cells for an unknown continuum without a resolution. Where that would need too large a
        table it is done by `num_samples` draws per row; `result.attrs["standard_error"]` says the
        largest standard error of any entry (0.0 without draws), and `result.attrs["exact"]`
        whether all entries are exact: without draws, and without an unknown continuum.

        Arguments:
            rows: The factual rows.
            do: What is set.
            of: The variable asked about.
            clip: Whether the bounds clip a value that leaves them instead of refusing it.
            likelihood: Soft evidence on unknown cells, see `Likelihood`.
            unobserved: Whether evidence that the fit never observed is ignored or an error.
            num_samples: How many draws stand in for a sum that is too large.
            seed: Seed of these draws.

        Returns:
            Rows by levels (or grid values, as ages), summing to one; for a continuum rows by the
            quantiles in the columns.

        Raises:
            UnobservedError: If the fit never observed `of`.
        """
        self.graph.parents(of)  # refuses unknown names in the graph's own words
        if of not in self.mechanisms:
            raise UnobservedError(
                f"{of!r} was never observed in the fit, so nothing can be said of it; observed: "
                f"{', '.join(self.mechanisms)}"
            )
        known = self._read(rows, unobserved, likelihood)
        draws = draws_of(known.index, seed, num_samples)
        return distribution_of_rows(self.graph, self._state, known, do, of, draws, clip=clip)

    # --- keeping -------------------------------------------------------------------------------

    def to_pyro(self) -> Callable[..., dict[str, Tensor]]:
        """Returns the SCM as a Pyro program, see `program.pyro_program`."""
        from cxrcausal.scm.program import pyro_program

        return pyro_program(self)

    def save(self, folder: str | PathLike[str]) -> None:
        """Writes the SCM to a folder, see `checkpoint.save_scm`."""
        from cxrcausal.scm.checkpoint import save_scm

        save_scm(self, folder)

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        graph: str | PathLike[str] | CausalGraph | None = None,
    ) -> "FlowSCM":
        """Reads what `save` wrote; no code is run.

        Arguments:
            folder: Where it was saved.
            graph: A graph that it must agree with; its own if None.

        Raises:
            CheckpointError: If a file is missing, damaged, of another format or of another graph.
        """
        from cxrcausal.scm.checkpoint import load_scm

        own, options, fitted = load_scm(folder, graph)
        scm = cls(own, **options)
        scm._fitted = fitted
        return scm

    # --- helpers -------------------------------------------------------------------------------

    def _read(
        self,
        rows: pd.DataFrame,
        unobserved: Literal["ignore", "error"],
        likelihood: Likelihood | None = None,
    ) -> Evidence:
        """Returns what is known of the rows, saying once what is ignored and what is assumed."""
        known = read_evidence(rows, self.graph, self._state, likelihood, unobserved)
        for topic, words in known.remarks(self.mechanisms):
            if topic not in self._said:
                self._said.add(topic)
                logger.warning(words)
        return known
