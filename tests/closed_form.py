"""SCMs whose answers are known without the library: tables of probabilities, and linear equations.

The mechanisms here share no code with those of the package, and `brute_force` enumerates every
world, one after the other. So whatever the library's elimination, sampling and intervals answer
can be held against plain counting.
"""

import itertools
import math

import numpy as np
import pandas as pd
import torch

from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM, Mechanism


class TableMechanism(Mechanism):
    """Levels by a table of probabilities (*parents' levels, levels); a uniform picks the level."""

    def __init__(self, variable, parents, table):
        super().__init__(variable, parents)
        table = torch.as_tensor(table, dtype=torch.float64)
        self.register_buffer("table", table / table.sum(-1, keepdim=True))
        values = variable.grid or range(len(variable.levels))
        self.register_buffer("values", torch.tensor(list(values), dtype=torch.float64))

    @property
    def noise_size(self):
        return 1

    @property
    def support(self):
        return self.values

    def rows(self, pa):
        if not self.parents:
            return self.table
        places = [
            torch.searchsorted(grid_of(p), value.contiguous())
            for p, value in zip(self.parents, (pa[p.name] for p in self.parents), strict=True)
        ]
        return self.table[torch.broadcast_tensors(*places)]

    def log_probs(self, pa):
        return self.rows(pa).log()

    def log_prob(self, x, pa):
        rows = self.rows(pa).log()
        place = torch.searchsorted(self.values, x.contiguous())[..., None]
        place, rows = torch.broadcast_tensors(place, rows)
        return rows.gather(-1, place[..., :1]).squeeze(-1)

    def prior(self, uniform):
        return uniform

    def predict(self, u, pa):
        below = self.rows(pa).cumsum(-1)[..., :-1]
        return self.values[(u > below).sum(-1)]

    def abduct(self, x, pa, uniform):
        rows = self.rows(pa).expand(*x.shape, -1)
        place = torch.searchsorted(self.values, x.contiguous())[..., None]
        high = rows.cumsum(-1).gather(-1, place)
        width = rows.gather(-1, place)
        return high - width + width * uniform.clamp(1e-6, 1 - 1e-6)

    def transition(self, x, pa, pa_star):
        rows, star = torch.broadcast_tensors(self.rows(pa), self.rows(pa_star))
        rows, star = rows.expand(*x.shape, -1), star.expand(*x.shape, -1)
        place = torch.searchsorted(self.values, x.contiguous())[..., None]
        high = rows.cumsum(-1).gather(-1, place)
        low = high - rows.gather(-1, place)
        ends = star.cumsum(-1)
        shared = torch.minimum(high, ends) - torch.maximum(low, ends - star)
        return shared.clamp(min=0.0) / (high - low)


class LinearMechanism(Mechanism):
    """A continuum: intercept + weights · parents + scale · normal."""

    def __init__(self, variable, parents, weights=(), intercept=0.0, scale=1.0):
        super().__init__(variable, parents)
        self.weights, self.intercept, self.scale = weights, intercept, scale

    @property
    def noise_size(self):
        return 1

    @property
    def support(self):
        return None

    def mean(self, pa):
        terms = [w * pa[p.name] for w, p in zip(self.weights, self.parents, strict=True)]
        return sum(terms, torch.zeros((), dtype=torch.float64)) + self.intercept

    def log_probs(self, pa):
        raise TypeError

    def log_prob(self, x, pa):
        z = (x - self.mean(pa)) / self.scale
        return -0.5 * z**2 - math.log(self.scale * math.sqrt(2 * math.pi))

    def prior(self, uniform):
        return torch.special.ndtri(uniform)

    def predict(self, u, pa):
        return self.mean(pa) + self.scale * u[..., 0]

    def abduct(self, x, pa, uniform):
        return ((x - self.mean(pa)) / self.scale)[..., None]

    def transition(self, x, pa, pa_star):
        raise TypeError


class SquareMechanism(LinearMechanism):
    """A continuum: M² + weight·X·M + X + normal."""

    def mean(self, pa):
        x, m = pa["x"], pa["m"]
        return m**2 + self.weights * x * m + x


def continuous_scm(outcome, **arguments):
    """M = .3 + .7 X + 1.2 u between continua X and Y, whose mechanism is given."""
    variables = [Variable(name, "continuous") for name in ("x", "m", "y")]
    graph = CausalGraph(variables, [("x", "m"), ("x", "y"), ("m", "y")], name="continuous")
    x, m, y = (graph.variables[name] for name in ("x", "m", "y"))
    return FlowSCM.from_mechanisms(
        graph,
        {
            "x": LinearMechanism(x, ()),
            "m": LinearMechanism(m, (x,), (0.7,), intercept=0.3, scale=1.2),
            "y": outcome(y, (x, m), **arguments),
        },
    )


def grid_of(variable):
    return torch.tensor(list(variable.grid or range(len(variable.levels))), dtype=torch.float64)


def binary(name, role="finding"):
    return Variable(name, "binary", ("negative", "positive"), role=role)


def table_scm(variables, edges, tables, name="closed form"):
    """An SCM of tables, each indexed by the parents in the graph's order and then by the level."""
    graph = CausalGraph(variables, edges, name=name)
    mechanisms = {
        v.name: TableMechanism(v, tuple(graph.variables[p] for p in graph.parents(v.name)), t)
        for v, t in zip(variables, tables, strict=True)
    }
    return FlowSCM.from_mechanisms(graph, mechanisms)


def clinic():
    """Six variables of every kind with levels, a confounder, a mediator and a collider among
    them."""
    variables = [
        Variable("sex", "binary", ("Female", "Male"), role="demographic"),
        Variable("age", "continuous", bounds=(20.0, 60.0), resolution=10.0, unit="years"),
        Variable("view", "nominal", ("PA", "AP", "LATERAL")),
        binary("edema"),
        Variable("severity", "ordinal", ("none", "mild", "severe")),
        binary("effusion"),
    ]
    edges = [
        ("sex", "edema"),
        ("age", "edema"),
        ("sex", "view"),
        ("edema", "severity"),
        ("sex", "severity"),
        ("edema", "effusion"),
        ("severity", "effusion"),
    ]
    graph = CausalGraph(variables, edges, name="clinic")
    shapes = [
        [len(grid_of(graph.variables[p])) for p in (*graph.parents(v.name), v.name)]
        for v in variables
    ]
    draw = np.random.default_rng(7)
    tables = [draw.dirichlet(np.ones(shape[-1]), shape[:-1]) for shape in shapes]
    return table_scm(variables, edges, tables, name="clinic")


COMPLETE = {"sex": 1.0, "age": 40.0, "view": 1.0, "edema": 0.0, "severity": 2.0, "effusion": 1.0}
"""A patient of the clinic who is known completely."""


def table_of(scm, known, n=1):
    """`n` equal rows that know some cells, given as numbers."""
    columns = {}
    for name, variable in scm.graph.variables.items():
        value = known.get(name, np.nan)
        if variable.is_discrete and name in known:
            value = variable.levels[int(value)]
        columns[name] = [value] * n
    return pd.DataFrame(columns)


def worlds(scm, known):
    """Yields every complete factual world that agrees with what is known, with its probability."""
    names = list(scm.mechanisms)
    choices = [
        [known[n]] if n in known else grid_of(scm.graph.variables[n]).tolist() for n in names
    ]
    for values in itertools.product(*choices):
        world = dict(zip(names, values, strict=True))
        yield (
            world,
            math.prod(
                chance(scm.mechanisms[n], world)[place(scm.mechanisms[n], world[n])] for n in names
            ),
        )


def brute_force(scm, known, do, of):
    """The distribution of one variable under `do`, given what is known, by counting worlds.

    `known` and the values of `do` are numbers; a function in `do` gets the factual value.
    """
    shares = np.zeros(len(grid_of(scm.graph.variables[of])))
    for world, weight in worlds(scm, known):
        stars = [({}, weight)]
        for name, mechanism in scm.mechanisms.items():
            grown = []
            for star, share in stars:
                if name in do:
                    value = do[name](world[name]) if callable(do[name]) else do[name]
                    grown.append(({**star, name: value}, share))
                    continue
                now, then = chance(mechanism, world), chance(mechanism, star)
                k = place(mechanism, world[name])
                low, high = now[:k].sum(), now[: k + 1].sum()
                for j, value in enumerate(mechanism.values.tolist()):
                    a, b = then[:j].sum(), then[: j + 1].sum()
                    shared = max(0.0, min(high, b) - max(low, a)) / (high - low)
                    if shared > 0:
                        grown.append(({**star, name: value}, share * shared))
            stars = grown
        for star, share in stars:
            shares[place(scm.mechanisms[of], star[of])] += share
    return shares / shares.sum()


def chance(mechanism, world):
    """The probabilities of a variable's levels given its parents in a world."""
    at = tuple(grid_of(p).tolist().index(world[p.name]) for p in mechanism.parents)
    return mechanism.table.numpy()[at]


def place(mechanism, value):
    return mechanism.values.tolist().index(value)
