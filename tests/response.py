"""Nested counterfactuals by counting noise: the definition, path by path, with no table of worlds.

A table mechanism reads one uniform, so finitely many cells of it tell all of its answers. Every
answer here goes through all cells of all variables, and every path carries its own value of the
cause.
"""

import itertools
import math

import numpy as np
import pandas as pd
from closed_form import chance


def cells(scm, name):
    """The middles and widths of the intervals of a variable's uniform within which nothing
    changes."""
    table = scm.mechanisms[name].table.numpy()
    edges = np.unique(np.r_[0.0, table.cumsum(-1).clip(0, 1).flatten(), 1.0].round(12))
    return (edges[:-1] + edges[1:]) / 2, np.diff(edges)


def noises(scm, names):
    """Yields every cell of the joint noise of some variables, with its probability."""
    middles, widths = zip(*(cells(scm, name) for name in names), strict=True)
    for at in itertools.product(*(range(len(m)) for m in middles)):
        noise = {name: m[i] for name, m, i in zip(names, middles, at, strict=True)}
        yield noise, math.prod(w[i] for w, i in zip(widths, at, strict=True))


def value(scm, facts, noise, cause, name, setting, path=()):
    """The value of a variable at the head of a path; `setting` says what a whole path carries of
    the cause."""
    if name == cause:
        return setting((name, *path))
    if name not in noise:
        return facts[name]
    mechanism = scm.mechanisms[name]
    pa = {
        p.name: value(scm, facts, noise, cause, p.name, setting, (name, *path))
        for p in mechanism.parents
    }
    below = chance(mechanism, pa).cumsum()[:-1]
    return mechanism.values.tolist()[int((noise[name] > below).sum())]


def expect(scm, facts, cause, outcome, function, *setting):
    """The mean over the noise of a function of the outcome in several nested worlds."""
    moved = [
        v for v in scm.graph.descendants(cause) if v in {outcome, *scm.graph.ancestors(outcome)}
    ]
    return sum(
        weight * function(*(value(scm, facts, noise, cause, outcome, h) for h in setting))
        for noise, weight in noises(scm, moved)
    )


def averaged(clinic_rows, cause, function, *setting):
    """The mean of `expect` over the patients of the clinic, of its effusion."""
    scm, _, patients = clinic_rows
    unmoved = ("sex", "age") if cause == "edema" else ("age",)
    counts = pd.Series([tuple(p[v] for v in unmoved) for p in patients]).value_counts()
    return sum(
        count
        * expect(
            scm, dict(zip(unmoved, facts, strict=True)), cause, "effusion", function, *setting
        )
        for facts, count in counts.items()
    ) / len(patients)


def always(x):
    """Every path carries `x`."""
    return lambda path: x


def along(*paths):
    """These paths hear of one, all others of zero."""
    return lambda path: float(path in paths)


def plain(y):
    """The outcome itself."""
    return y
