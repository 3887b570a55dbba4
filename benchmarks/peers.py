"""The peers of the causal core behind one interface, each asked as its own documentation says.

Rows are frames of numbers: a discrete variable as the index of its level, others as they are. A
peer that cannot answer raises, and what it raised is its answer. They live in an environment of
their own (`benchmarks/requirements-peers.txt`); nothing is imported before it is asked for.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch


@dataclass(frozen=True)
class Table:
    """What is fitted: rows, which variable reads which, and how many levels each has (0: a
    number).
    """

    rows: pd.DataFrame
    parents: dict[str, tuple[str, ...]]
    levels: dict[str, int]
    whole: frozenset = frozenset()
    """Numbers that are recorded as whole ones, such as ages."""


class CausalFlows:
    """causalflows: an autoregressive flow masked by the graph, discrete values spread over [k, k +
    1).
    """

    def __init__(self, kind: str, epochs: int = 60, seed: int = 0):
        self.kind, self.epochs, self.seed, self.draw = kind, epochs, seed, 2

    def fit(self, table: Table):
        """Fits the flow by maximum likelihood."""
        from causalflows import flows

        torch.manual_seed(self.seed)
        self.table, names = table, list(table.rows)
        reads = torch.tensor([[a == b or b in table.parents[a] for b in names] for a in names])
        self.spread = np.array([bool(table.levels[n]) or n in table.whole for n in names])
        x = table.rows.to_numpy(float) + self.spread * 0.5
        self.mean = x.mean(0)
        self.scale = np.sqrt(x.var(0) + self.spread / 12)
        cls = {"NSF": flows.CausalNSF, "MAF": flows.CausalMAF}[self.kind]
        self.flow = cls(len(names), adjacency=reads, hidden_features=(64, 64))
        optimiser = torch.optim.Adam(self.flow.parameters(), lr=2e-3)
        rows = len(table.rows)
        size = max(512, rows // 40)
        steps = self.epochs * math.ceil(rows / size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epochs):
            for at in torch.randperm(rows, generator=generator).split(size):
                loss = -self.flow().log_prob(self._in(table.rows, generator, at)).mean()
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 5.0)
                optimiser.step()
                schedule.step()
        return self

    def _in(self, rows: pd.DataFrame, generator: torch.Generator, at=None):
        x = rows.to_numpy(float) if at is None else rows.to_numpy(float)[at.numpy()]
        u = torch.rand(x.shape, generator=generator, dtype=torch.float64).numpy()
        x = (x + self.spread * u - self.mean) / self.scale
        return torch.tensor(x, dtype=torch.float32)

    def _out(self, z: torch.Tensor, index) -> pd.DataFrame:
        x = z.double().numpy() * self.scale + self.mean
        x = np.where(self.spread, np.floor(x), x)
        return pd.DataFrame(x, index=index, columns=list(self.table.rows))

    def _value(self, name: str, value: float) -> tuple[int, float]:
        j = list(self.table.rows).index(name)
        return j, float((value + 0.5 * self.spread[j] - self.mean[j]) / self.scale[j])

    @torch.no_grad()
    def log_prob(self, rows: pd.DataFrame) -> np.ndarray:
        """Returns a lower bound of each row's log-probability: the mean over eight spreads."""
        generator = torch.Generator().manual_seed(1)
        per_unit = np.log(self.scale).sum()
        draws = [
            self.flow().log_prob(self._in(rows, generator)).double().numpy() for _ in range(8)
        ]
        return np.mean(draws, axis=0) - per_unit

    @torch.no_grad()
    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Returns the rows under do(name := value)."""
        j, v = self._value(name, value)
        x = self._in(rows, torch.Generator().manual_seed(self.draw))
        return self._out(self.flow().compute_counterfactual(x, j, v), rows.index)

    @torch.no_grad()
    def null(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows abducted and predicted under no intervention."""
        flow = self.flow()
        x = self._in(rows, torch.Generator().manual_seed(self.draw))
        return self._out(flow.transform.inv(flow.transform(x)), rows.index)

    @torch.no_grad()
    def interventional(self, n: int, name: str, value: float) -> pd.DataFrame:
        """Returns new rows under do(name := value)."""
        j, v = self._value(name, value)
        torch.manual_seed(3)
        return self._out(self.flow().sample_interventional(j, v, (n,)), pd.RangeIndex(n))


class DoWhy:
    """DoWhy's gcm with mechanisms that it assigns itself; discrete values as 0/1 integers or as
    categories.
    """

    def __init__(self, categories: bool = False):
        self.categories = categories

    def fit(self, table: Table):
        """Fits the mechanisms that DoWhy chooses."""
        import networkx as nx
        from dowhy import gcm

        gcm.config.disable_progress_bars()
        self.gcm, self.table = gcm, table
        graph = nx.DiGraph([(p, v) for v, pa in table.parents.items() for p in pa])
        graph.add_nodes_from(table.rows)
        self.model = gcm.InvertibleStructuralCausalModel(graph)
        frame = self._in(table.rows)
        gcm.auto.assign_causal_mechanisms(self.model, frame)
        gcm.fit(self.model, frame)
        return self

    def _in(self, rows: pd.DataFrame) -> pd.DataFrame:
        frame = rows.copy()
        for name, levels in self.table.levels.items():
            if levels:
                frame[name] = frame[name].astype(int)
                if self.categories:
                    frame[name] = "level " + frame[name].astype(str)
        return frame

    def _out(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame[list(self.table.rows)].copy()
        if self.categories:
            for name, levels in self.table.levels.items():
                if levels:
                    frame[name] = frame[name].str.removeprefix("level ").astype(float)
        return frame

    def _set(self, name: str, value: float):
        level = self.table.levels[name]
        v = (
            f"level {int(value)}"
            if level and self.categories
            else (int(value) if level else value)
        )
        return {name: lambda _: v}

    def log_prob(self, rows: pd.DataFrame) -> np.ndarray:
        """Returns the log-probability of each row where every mechanism has one."""
        return self.log_probs(rows).sum(axis=1).to_numpy()

    def log_probs(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the log-probability of each cell, given its causes."""
        frame, found = self._in(rows), {}
        for name in self.table.rows:
            mechanism = self.model.causal_mechanism(name)
            parents = sorted(self.table.parents[name])  # DoWhy orders parents by name
            if not parents:  # an empirical distribution: its frequencies, half a row added
                known, at = np.unique(self.table.rows[name], return_counts=True)
                counts = pd.Series(at + 0.5, known)
                found[name] = np.log(rows[name].map(counts).fillna(0.5) / counts.sum()).to_numpy()
                continue
            if not hasattr(mechanism, "estimate_probabilities"):
                raise TypeError(f"{type(mechanism).__name__} of {name!r} gives no probabilities")
            chance = mechanism.estimate_probabilities(frame[parents].to_numpy(object))
            classes = list(mechanism.get_class_names(range(chance.shape[1])))
            at = np.array([classes.index(level) for level in frame[name]])
            found[name] = np.log(np.maximum(chance[np.arange(len(at)), at], 1e-12))
        return pd.DataFrame(found)

    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Returns the rows under do(name := value)."""
        answer = self.gcm.counterfactual_samples(
            self.model, self._set(name, value), observed_data=self._in(rows)
        )
        return self._out(answer)

    def null(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows abducted and predicted under no intervention."""
        noise = self.gcm.counterfactual_samples(self.model, {}, observed_data=self._in(rows))
        return self._out(noise)

    def interventional(self, n: int, name: str, value: float) -> pd.DataFrame:
        """Returns new rows under do(name := value)."""
        return self._out(
            self.gcm.interventional_samples(
                self.model, self._set(name, value), num_samples_to_draw=n
            )
        )


class Pgmpy:
    """pgmpy: a discrete Bayesian network, whole numbers as levels; it has no counterfactual of a
    row.
    """

    def fit(self, table: Table):
        """Fits tables of frequencies."""
        import logging

        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.models import DiscreteBayesianNetwork

        logging.getLogger("pgmpy").setLevel(logging.ERROR)
        self.table = table
        if any(not k and n not in table.whole for n, k in table.levels.items()):
            raise TypeError("a discrete network has no numbers")
        rows = table.rows.astype(int)
        self.size = {n: k or int(rows[n].max()) + 1 for n, k in table.levels.items()}
        self.model = DiscreteBayesianNetwork(
            [(p, v) for v, pa in table.parents.items() for p in pa]
        )
        self.model.add_nodes_from(rows)
        self.counts = {}
        for name in (
            rows
        ):  # frequencies with half a row per level: what its BDeu prior does, in less memory
            parents = list(table.parents[name])
            shape = [self.size[n] for n in (name, *parents)]
            counts = np.full(shape, 0.5 / math.prod(shape[1:]))
            np.add.at(counts, tuple(rows[n] for n in (name, *parents)), 1)
            chance = counts / counts.sum(0, keepdims=True)
            self.counts[name] = chance
            self.model.add_cpds(
                TabularCPD(
                    name,
                    shape[0],
                    chance.reshape(shape[0], -1),
                    evidence=parents or None,
                    evidence_card=shape[1:] or None,
                )
            )
        return self

    def log_prob(self, rows: pd.DataFrame) -> np.ndarray:
        """Returns the log-probability of each row."""
        return self.log_probs(rows).sum(axis=1).to_numpy()

    def log_probs(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the log-probability of each cell, given its causes."""
        rows, found = rows.astype(int), {}
        for name, chance in self.counts.items():
            at = [rows[n].clip(upper=self.size[n] - 1) for n in (name, *self.table.parents[name])]
            found[name] = np.log(chance[tuple(at)])
        return pd.DataFrame(found)

    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Raises: there is none."""
        raise NotImplementedError("pgmpy has no counterfactual of a row")

    def null(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Raises: without abduction there is none."""
        raise NotImplementedError("pgmpy has no counterfactual of a row")

    def interventional(self, n: int, name: str, value: float) -> pd.DataFrame:
        """Returns new rows under do(name := value)."""
        answer = self.model.simulate(n, do={name: int(value)}, show_progress=False, seed=3)
        return answer[list(self.table.rows)].astype(float)


class TramDag:
    """tramdag: one triangular flow on the graph, exact truncation where a variable has levels.

    Whole numbers such as ages are levels too. `term` is how an edge enters: `ls`, a shift of the
    log-odds, is proportional-odds regression; with `ci` all coefficients depend on the parents.
    """

    def __init__(self, term: str, epochs: int = 60, seed: int = 0):
        self.term, self.epochs, self.seed, self.draw = term, epochs, seed, 2

    def fit(self, table: Table):
        """Fits the flow by maximum likelihood, as long as causalflows' and with its best
        weights.
        """
        from tramdag import CausalFlowDAG, ContinuousNode, OrdinalNode

        self.table = table
        self.size = {
            n: k or (int(table.rows[n].max()) + 1 if n in table.whole else 0)
            for n, k in table.levels.items()
        }
        spec = {}
        for name, parents in table.parents.items():
            terms = dict.fromkeys(parents, self.term)
            levels = self.size[name]
            spec[name] = OrdinalNode(levels, terms) if levels else ContinuousNode(terms)
        rows = len(table.rows)
        held = np.random.default_rng(self.seed).random(rows) < 0.1
        torch.manual_seed(self.seed)
        self.flow = CausalFlowDAG(spec)
        self.flow.fit(
            table.rows[~held], table.rows[held], epochs=self.epochs, learning_rate=1e-2,
            batch_size=max(512, rows // 40), schedule="cosine", restore_best=True, verbose=0,
            seed=self.seed,
        )  # fmt: skip
        return self

    def _known(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns rows whose whole numbers are levels that the fit has."""
        frame = rows.copy()
        for name in self.table.whole:
            frame[name] = frame[name].clip(0, self.size[name] - 1)
        return frame

    def _out(self, frame: pd.DataFrame, index) -> pd.DataFrame:
        return frame[list(self.table.rows)].astype(float).set_axis(index)

    @torch.no_grad()
    def log_prob(self, rows: pd.DataFrame) -> np.ndarray:
        """Returns the log-probability of each row."""
        return self.log_probs(rows).sum(axis=1).to_numpy()

    @torch.no_grad()
    def log_probs(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the log-probability of each cell, given its causes."""
        values = self.flow._tensorize(self._known(rows))  # the sum is public, its terms are not
        return pd.DataFrame(
            {n: x.double().numpy() for n, x in self.flow.node_log_prob(values).items()}
        )

    def counterfactual(self, rows: pd.DataFrame, name: str, value: float) -> pd.DataFrame:
        """Returns the rows under do(name := value)."""
        noise = self.flow.abduct(self._known(rows), seed=self.draw)
        return self._out(self.flow.sample(do={name: value}, u=noise), rows.index)

    def null(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Returns the rows abducted and predicted under no intervention."""
        noise = self.flow.abduct(self._known(rows), seed=self.draw)
        return self._out(self.flow.sample(u=noise), rows.index)

    def interventional(self, n: int, name: str, value: float) -> pd.DataFrame:
        """Returns new rows under do(name := value)."""
        return self._out(self.flow.sample(n, do={name: value}, seed=3), pd.RangeIndex(n))


PEERS = {
    "causalflows NSF": lambda: CausalFlows("NSF"),
    "causalflows MAF": lambda: CausalFlows("MAF"),
    "DoWhy gcm, integers": lambda: DoWhy(),
    "DoWhy gcm, categories": lambda: DoWhy(categories=True),
    "pgmpy": Pgmpy,
    "tramdag, ls": lambda: TramDag("ls"),
    "tramdag, ci": lambda: TramDag("ci"),
}
