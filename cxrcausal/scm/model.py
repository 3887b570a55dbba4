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
import operator
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.device import resolve_device
from cxrcausal.errors import GraphError, NotFittedError, OptionError, UnobservedError, summarise
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.read import load_graph
from cxrcausal.randomness import as_seed, fresh_seed, label_words
from cxrcausal.scm.answer import counterfactual_table, read_evidence, remark_on
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.intervention import Do, resolve
from cxrcausal.scm.learn import Fitted, learn
from cxrcausal.scm.mechanism import Mechanism
from cxrcausal.scm.network import Supports
from cxrcausal.scm.posterior import Draws, fill_unknown, log_evidence
from cxrcausal.scm.probability import counterfactual_law, law_columns
from cxrcausal.scm.replay import abduct_noise, affected_by, needed_for, replay
from cxrcausal.scm.table import check_table, decode

if TYPE_CHECKING:
    from cxrcausal.scm.check import FitCheck
    from cxrcausal.scm.check_noise import Groups
    from cxrcausal.scm.fit import Coupling, Family

__all__ = ["FlowSCM"]

BATCH = 2**16
"""How many rows times draws are in memory at once unless a caller says otherwise."""

logger = logging.getLogger("cxrcausal")


@final
class FlowSCM:
    """The flow SCM over a graph's metadata variables.

    Arguments:
        graph: A causal graph, its name or its file.
        family: How mechanisms are parametrised: `auto`, `direct`, `cnf` or `nsf`.
        coupling: How the levels of nominal variables are coupled between worlds: `gumbel`
            (counterfactual stability) or `ordered` (the order in the graph file is meant).
        hidden: The widths of the network that a mechanism may add to its regression; () for none.

    Raises:
        OptionError: If there is no such family or coupling, or a width is not a whole number above 0.

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
        from cxrcausal.scm.fit import check_options

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
            observed: The levels (discrete) or range (continuous) seen of each variable; all levels
                and the whole of the bounds if None.

        Raises:
            GraphError: If a mechanism reads what the graph does not call its parent.
        """
        scm = cls(graph)
        scm._fitted = Fitted.of(scm.graph, mechanisms, observed)
        return scm

    # --- what it is ----------------------------------------------------------------------------

    @property
    def is_fitted(self) -> bool:
        """Whether it has mechanisms."""
        return self._fitted is not None

    @property
    def mechanisms(self) -> Mapping[str, Mechanism]:
        """The fitted mechanisms by variable, causes before effects; read-only."""
        return MappingProxyType(self._state.mechanisms)

    @property
    def observed(self) -> Mapping[str, tuple]:
        """Levels (discrete) or range (continuous) that the fit saw; never observed: not a key."""
        return MappingProxyType(self._state.observed)

    @property
    def policies(self) -> Mapping[str, Any]:
        """How the fitted table was read, from `table.attrs["cxrcausal"]`."""
        return MappingProxyType(self._state.policies)

    @property
    def data_fingerprint(self) -> str | None:
        """16 hex digits of a SHA-256 of the fitted rows, whatever their order."""
        return self._state.data_fingerprint

    @property
    def device(self) -> torch.device:
        """Where the mechanisms are."""
        return next(iter(self._state.mechanisms.values())).device

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the arguments that make an unfitted copy, as scikit-learn's `clone` expects."""
        return {
            "graph": self.graph,
            "family": self.family,
            "coupling": self.coupling,
            "hidden": self.hidden,
        }

    def to(self, device: str | torch.device) -> "FlowSCM":
        """Moves the mechanisms to a device (`auto`: a GPU if there is one) and returns the SCM.

        Raises:
            CxrCausalError: If there is no such device here.
        """
        place = resolve_device(device)
        for mechanism in self._state.mechanisms.values():
            mechanism.to(place)
        return self

    def __repr__(self) -> str:
        if self._fitted is None:
            return f"FlowSCM({self.graph.name!r}, not fitted)"
        unseen = [name for name in self.graph.variables if name not in self._fitted.mechanisms]
        return (
            f"FlowSCM({self.graph.name!r}, {len(self._fitted.mechanisms)} mechanisms"
            + (f", never observed: {', '.join(unseen)}" if unseen else "")
            + ")"
        )

    # --- fitting -------------------------------------------------------------------------------

    def fit(
        self,
        table: pd.DataFrame,
        groups: str | np.ndarray | pd.Series | None = None,
        *,
        seed: int = 0,
        progress: bool | None = None,
    ) -> "FlowSCM":
        """Fits every mechanism on the rows where it and its observed parents are known.

        A flow takes at most 20,000 distinct ones of these rows, see `fit.fit_mechanism`.

        Arguments:
            table: The rows; as `check_table` accepts them.
            groups: Whose rows they are (a column, or one value per row): validation rows are those
                of other patients. Each row is its own patient if None.
            seed: Of everything random in the fit.
            progress: Whether to show a progress bar; on a terminal only if None.

        Returns:
            This SCM.

        Raises:
            TableError: If the table lacks a column or holds a value that is not allowed.
            OptionError: If the seed is not a whole number.
        """
        self._fitted = learn(
            self.graph,
            table,
            groups,
            family=self.family,
            coupling=self.coupling,
            hidden=self.hidden,
            seed=as_seed(seed),
            progress=progress,
        )
        self._said = set()
        return self

    # --- probability ---------------------------------------------------------------------------

    @torch.no_grad()
    def log_prob(
        self,
        rows: pd.DataFrame,
        *,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
    ) -> pd.Series:
        """Returns the log-probability of the known cells of each row, unknown ones summed out.

        Ages count as probabilities per whole year; a continuum without a resolution as a density
        per unit. Sums are exact for levels and grids; over quantile cells for an unknown continuum.

        Raises:
            TableError: If rows are not usable, or the sum over unknown cells would be too large.
        """
        table, values = self._read(rows, unobserved)
        parts = [
            log_evidence(self.mechanisms, self._supports, part, table.index[start:stop])
            for start, stop, part in self._chunks(values, len(table), batch_size)
        ]
        return pd.Series(_joined(parts).cpu().numpy(), index=table.index, name="log_prob")

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
            unobserved: Whether evidence that the fit never saw is ignored or an error.

        Returns:
            A column per observed variable, NaN where it or an observed parent is unknown (a known
            positive finding decides a definition all the same); or their sum, NaN where a term is.
        """
        table, values = self._read(rows, unobserved)
        scores = {}
        for name, mechanism in self.mechanisms.items():
            pa = {p.name: values[p.name] for p in mechanism.parents}
            ready = ~values[name].isnan()
            if not mechanism.variable.is_definition:
                ready &= ~torch.stack([values[name], *pa.values()]).isnan().any(0)
            at = ready.nonzero().squeeze(1)
            score = torch.full_like(values[name], torch.nan)
            score[at] = mechanism.log_prob(
                values[name][at], {p: value[at] for p, value in pa.items()}
            )
            scores[name] = score.cpu().numpy()
        frame = pd.DataFrame(scores, index=table.index)
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
        """Returns whether the fit holds on rows that it has not seen: printed, or plotted.

        Scores beside the marginals', calibration of every level, the PIT of age, the energy distance
        of observed and sampled rows, and the dependence of the abducted noises; see `check.FitCheck`.

        Arguments:
            table: The rows, of other patients than the fit's.
            groups: The column of patients, or one label per row; None if each row is its own.
            seed: Of everything random in the check.
            most_rows: From how many rows, drawn at random, noises are abducted.
            permutations: Behind the p-value of the energy distance.

        Raises:
            TableError: If the table is empty or not usable.
            OptionError: If the seed or a number is no whole number.
        """
        from cxrcausal.scm.check import check_fit

        return check_fit(
            self, table, groups, seed=seed, most_rows=most_rows, permutations=permutations
        )

    # --- the three steps -----------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, do: Do | None = None, *, seed: int | None = None, clip: bool = False
    ) -> pd.DataFrame:
        """Returns `n` new patients, all cells known, from the observational or interventional law.

        Variables that the fit never observed are NaN.

        Raises:
            OptionError: If `n` or the seed is not a whole number, or `n` is negative.
        """
        seed, n = fresh_seed() if seed is None else as_seed(seed), _count(n, "n", least=0)
        index = pd.RangeIndex(n)
        draws = Draws(seed, label_words(index), 1)
        noise: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {}
        for name, mechanism in self.mechanisms.items():
            u = draws.uniform(name, size=mechanism.noise_size).to(self.device)
            noise[name] = mechanism.prior(u)
            pa = {p.name: values[p.name] for p in mechanism.parents}
            values[name] = mechanism.predict(noise[name], pa)
            if values[name].shape != (n,):  # no parents, and a mechanism that says one for all
                values[name] = values[name].expand(n).clone()
        everything = {
            name: values.get(name, torch.full((n,), torch.nan)) for name in self.graph.variables
        }
        rows = decode(everything, self.graph, index)
        known = {name: torch.ones(n, dtype=torch.bool, device=self.device) for name in values}
        patients = Exogenous(
            self.graph.fingerprint, self._state.fingerprint, rows, noise, values, known, seed
        )
        return self.predict(patients, do, clip=clip) if do else rows

    @torch.no_grad()
    def abduct(
        self,
        rows: pd.DataFrame,
        num_samples: int = 1,
        seed: int | None = None,
        *,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
    ) -> Exogenous:
        """Draws every variable's noise from its posterior given the known cells of its row.

        The posterior is exact for levels and grids; an unknown continuum without a resolution is
        drawn by quantile cells of its noise (`network.QUANTILES`) and evenly within them.

        Arguments:
            rows: The factual rows; unknown cells are drawn from their joint posterior first.
            num_samples: How many draws each row gets.
            seed: Decides the draws, with row label, variable and draw; row labels must be unique
                then. A fresh seed, and rows by position, if None.
            unobserved: Whether evidence that the fit never saw is ignored or an error.
            batch_size: How many rows times draws are worked on at once.

        Raises:
            TableError: If rows are not usable, or unknown cells too many for their joint posterior.
        """
        table, values = self._read(rows, unobserved)
        draws = self._draws(table.index, seed, num_samples)
        parts = []
        for start, stop, part in self._chunks(values, len(table), batch_size // draws.num_samples):
            some = draws.part(start, stop)
            filled = fill_unknown(
                self.mechanisms, self._supports, part, some, table.index[start:stop]
            )
            parts.append((filled, abduct_noise(self.mechanisms, filled, some, self.mechanisms)))
        return Exogenous(
            self.graph.fingerprint,
            self._state.fingerprint,
            table,
            {name: _joined([noise[name] for _, noise in parts]) for name in self.mechanisms},
            {name: _joined([filled[name] for filled, _ in parts]) for name in self.mechanisms},
            {name: ~values[name].isnan() for name in self.mechanisms},
            draws.seed,
            draws.num_samples,
        )

    @torch.no_grad()
    def predict(
        self,
        noise: Exogenous,
        do: Do | None = None,
        *,
        impute: bool = False,
        clip: bool = False,
        keep: bool = True,
        batch_size: int = BATCH,
    ) -> pd.DataFrame:
        """Returns the world in which `do` is set and the noise is the same; deterministic.

        Arguments:
            noise: From `abduct`.
            do: What is set; {} or None is the null intervention.
            impute: Whether unknown cells are returned as drawn instead of as unknown.
            clip: Whether to stop at a variable's bounds instead of refusing to leave them. What is
                moved from an unknown value may leave them, so it is refused too without clipping.
            keep: Whether cells whose parents do not change are taken over instead of predicted.
                The answer is the same; False shows it.
            batch_size: How many rows times draws are worked on at once.

        Returns:
            The table of that world; where clipping stopped values, ``attrs["clipped"]`` counts the
            rows by variable.

        Raises:
            InterventionError: If `do` cannot be set, see `intervention.resolve`.
            GraphError: If the noise belongs to another graph, or to another fit.
        """
        if noise.fingerprint != self.graph.fingerprint:
            raise GraphError(
                f"the noise was abducted under a graph with fingerprint {noise.fingerprint}; this "
                f"SCM's graph {self.graph.name!r} has {self.graph.fingerprint}"
            )
        if noise.fit != self._state.fingerprint:
            raise GraphError(
                f"the noise was abducted under another fit, with fingerprint {noise.fit}; this "
                f"SCM's mechanisms have {self._state.fingerprint}. Abduct the rows with this SCM"
            )
        rows = check_table(noise.rows, self.graph, self.mechanisms, what="the noise's rows")
        settings = resolve(do, rows, self.graph, self.observed, clip=clip)
        facts = {
            name: torch.where(
                noise.known[name], noise.values[name][:: noise.num_samples], torch.nan
            )
            for name in settings
        }
        stopped = remark_on(settings, facts, self.observed)
        samples, n = noise.num_samples, len(rows)
        parts = []
        for start, stop, _ in self._chunks({}, n, batch_size // samples):
            piece = slice(start * samples, stop * samples)
            parts.append(
                replay(
                    self.mechanisms,
                    {name: x[piece].to(self.device) for name, x in noise.values.items()},
                    {name: u[piece].to(self.device) for name, u in noise.noise.items()},
                    {name: setting.take(slice(start, stop)) for name, setting in settings.items()},
                    rows.index[start:stop],
                    keep=keep,
                )
            )
        affected = affected_by(self.mechanisms, settings)
        shown = set(self.mechanisms) if impute or not keep else {*settings, *affected}
        star = {name: _joined([part[name] for part in parts]) for name in shown}
        table = counterfactual_table(
            rows, self.graph, samples, star, noise.known, settings, affected, impute=impute
        )
        return _recorded(table, stopped)

    @torch.no_grad()
    def counterfactual(
        self,
        rows: pd.DataFrame,
        do: Do | None = None,
        num_samples: int = 1,
        seed: int | None = None,
        *,
        impute: bool = False,
        clip: bool = False,
        unobserved: Literal["ignore", "error"] = "ignore",
        batch_size: int = BATCH,
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
            clip: Whether to stop at a variable's bounds instead of refusing to leave them.
            unobserved: Whether evidence that the fit never saw is ignored or an error.
            batch_size: How many rows times draws are worked on at once.
        """
        table, values = self._read(rows, unobserved)
        settings = resolve(do, table, self.graph, self.observed, clip=clip)
        stopped = remark_on(settings, values, self.observed)
        draws = self._draws(table.index, seed, num_samples)
        affected = affected_by(self.mechanisms, settings)
        needed = None if impute else needed_for(self.mechanisms, affected)
        shown = set(self.mechanisms) if impute else {*settings, *affected}
        parts = []
        for start, stop, part in self._chunks(values, len(table), batch_size // draws.num_samples):
            some, index = draws.part(start, stop), table.index[start:stop]
            filled = fill_unknown(self.mechanisms, self._supports, part, some, index, needed)
            noise = abduct_noise(self.mechanisms, filled, some, affected)
            here = {name: setting.take(slice(start, stop)) for name, setting in settings.items()}
            star = replay(self.mechanisms, filled, noise, here, index)
            parts.append({name: star[name] for name in shown})
        star = {name: _joined([part[name] for part in parts]) for name in shown}
        known = {name: ~values[name].isnan() for name in shown}
        world = counterfactual_table(
            table, self.graph, draws.num_samples, star, known, settings, affected, impute=impute
        )
        return _recorded(world, stopped)

    @torch.no_grad()
    def counterfactual_probability(
        self,
        rows: pd.DataFrame,
        do: Do | None,
        of: str,
        *,
        clip: bool = False,
        unobserved: Literal["ignore", "error"] = "ignore",
        num_samples: int = 1000,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Returns the law of one variable in the world that is set, for each row.

        The noise and unknown cells are summed out: exactly for levels and grids, over quantile
        cells for an unknown continuum without a resolution. Where that would need too large a table
        it is done by `num_samples` draws per row; `result.attrs["standard_error"]` says the largest
        standard error of any entry (0.0 without draws), and `result.attrs["exact"]` whether all
        entries are exact: without draws, and without an unknown continuum.

        Arguments:
            rows: The factual rows.
            do: What is set.
            of: The variable asked about.
            clip: Whether to stop at a variable's bounds instead of refusing to leave them.
            unobserved: Whether evidence that the fit never saw is ignored or an error.
            num_samples: How many draws stand in for a sum that is too large.
            seed: Of these draws.

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
        table, values = self._read(rows, unobserved)
        settings = resolve(do, table, self.graph, self.observed, clip=clip)
        remark_on(settings, values, self.observed)
        if of not in {*settings, *affected_by(self.mechanisms, settings)} and settings:
            logger.warning(
                "%r does not descend from %s: its counterfactual law is its factual one",
                of,
                summarise(settings),
            )
        draws = self._draws(table.index, seed, num_samples)
        law, error, exact = counterfactual_law(
            self.mechanisms, self._supports, values, settings, of, table.index, draws
        )
        result = pd.DataFrame(
            law.cpu().numpy(),
            index=table.index,
            columns=law_columns(self.mechanisms[of], of),
        )
        result.attrs["standard_error"] = error
        result.attrs["exact"] = exact
        return result

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

        return load_scm(folder, graph)

    # --- helpers -------------------------------------------------------------------------------

    @property
    def _state(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError(
                f"this FlowSCM of graph {self.graph.name!r} is not fitted; call fit(table), or "
                f"FlowSCM.load(folder)"
            )
        return self._fitted

    @property
    def _supports(self) -> Supports:
        return self._state.supports

    def _say_once(self, key: str, message: str, *words: object) -> None:
        if key not in self._said:
            self._said.add(key)
            logger.warning(message, *words)

    def _draws(self, index: pd.Index, seed: int | None, num_samples: int) -> Draws:
        """Returns the random numbers of some rows: by label under a seed, by position without."""
        num_samples = _count(num_samples, "num_samples", least=1)
        if seed is None:
            return Draws(fresh_seed(), label_words(pd.RangeIndex(len(index))), num_samples)
        return Draws(as_seed(seed), label_words(index), num_samples)

    def _read(
        self, rows: pd.DataFrame, unobserved: Literal["ignore", "error"]
    ) -> tuple[pd.DataFrame, dict[str, Tensor]]:
        """Returns the rows in canonical form, and as values of the observed variables.

        Evidence that the fit never saw (a variable, or a level of one) becomes unknown.
        """
        table, values, unseen = read_evidence(rows, self.graph, self._state, self.device)
        if unseen:
            words = ", ".join(f"{word} ({count} rows)" for word, count in unseen.items())
            if unobserved == "error":
                raise UnobservedError(f"the fit never observed {words}")
            self._say_once(
                f"unseen {sorted(unseen)}",
                "evidence that the fit never observed is ignored: %s",
                words,
            )
        if any(bool(x.isnan().any()) for x in values.values()):
            self._say_once(
                "missing",
                "unknown cells are drawn or summed out given the known ones, assuming that they are "
                "missing at random; radiographs are not used as evidence for them",
            )
        return table, values

    def _chunks(
        self, values: Mapping[str, Tensor], n: int, size: int
    ) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """Yields start, stop and values of chunks of rows; one empty chunk if there are no rows."""
        step = max(1, size)
        for start in range(0, max(n, 1), step):
            stop = min(start + step, n)
            yield start, stop, {name: x[start:stop] for name, x in values.items()}


def _recorded(table: pd.DataFrame, stopped: dict[str, int]) -> pd.DataFrame:
    """Returns the table with a record of what was stopped at the bounds."""
    if stopped:
        table.attrs["clipped"] = stopped
    return table


def _count(number: object, what: str, *, least: int) -> int:
    """Returns a number of patients or draws as Python's own integer.

    Raises:
        OptionError: If it is not a whole number, or below the least that is allowed.
    """
    try:
        count = operator.index(number)  # type: ignore[arg-type]
    except TypeError as error:
        raise OptionError(f"{what} is a whole number; found {number!r}") from error
    if count < least:
        raise OptionError(f"{what} is at least {least}; found {count}")
    return count


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
