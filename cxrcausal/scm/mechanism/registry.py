"""Mechanisms by name, and where one of your own is put among them.

A class that is registered is saved and loaded with an SCM like those of the package. With a
family's name it is fitted too: `FlowSCM(graph, family="probit").fit(table)` gives it every
variable that it is for, and the others their kind's own default. A checkpoint holds names and
numbers and never code, so whoever loads it registers the same class first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, final

import torch
from torch import Tensor

from cxrcausal.errors import OptionError, TableError
from cxrcausal.gradients import with_gradients
from cxrcausal.graph.variable import Variable
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism

__all__ = ["FAMILIES", "MECHANISMS", "OwnFamily", "maximise_likelihood", "register_mechanism"]

MECHANISMS: dict[str, type[Mechanism]] = {
    cls.__name__: cls
    for cls in (FlowMechanism, IntervalMechanism, GumbelMechanism, LogicMechanism)
}
"""Every mechanism class by name."""

BUILT_IN = frozenset(MECHANISMS)
RESERVED = frozenset({"auto", "direct", "cnf", "nsf"})


@final
@dataclass(frozen=True)
class OwnFamily:
    """A registered family.

    Arguments:
        mechanism: The class that is fitted.
        serves: Whether it is for a variable.
    """

    mechanism: type[Mechanism]
    serves: Callable[[Variable], bool]


FAMILIES: dict[str, OwnFamily] = {}
"""The registered families by name."""

M = TypeVar("M", bound=type[Mechanism])


def register_mechanism(
    family: str | None = None, serves: Callable[[Variable], bool] | None = None
) -> Callable[[M], M]:
    """Returns a decorator that puts a mechanism of one's own among those that SCMs know.

    The class derives from `Mechanism`, and has besides its abstract methods

    - ``config(self) -> dict``, if its constructor takes more than the variables: what that is, as
      JSON; weights are kept for it. ``from_config(cls, variable, parents, config)``, a class
      method, builds it again where handing that on to the constructor is not enough;
    - with a family, ``fit(cls, variable, parents, values, weights, seed)``, a class method:
      returns it fitted to values (rows,) by name, all known, that count `weights` (rows,) times
      each. See `maximise_likelihood`.

    Registering a class of the same name again replaces it, as when a notebook's cell is run twice.

    Arguments:
        family: The word that asks for it in ``FlowSCM(graph, family=…)``; None if it is not fitted
            but given to `FlowSCM.from_mechanisms`.
        serves: Which variables the family is for; all that are no definitions if None.

    Raises:
        OptionError: If the name of the class or of the family is one of the package's own, or the
            class is not a mechanism or, with a family, has no `fit`.

    Example:
        >>> @register_mechanism(family="probit", serves=lambda v: v.kind == "binary")
        ... class ProbitMechanism(Mechanism): ...  # doctest: +SKIP
    """

    def register(cls: M) -> M:
        if not (isinstance(cls, type) and issubclass(cls, Mechanism)):
            raise OptionError(f"{cls!r} is no class that derives from Mechanism")
        name = cls.__name__
        if name in BUILT_IN:
            raise OptionError(f"{name!r} is a mechanism of the package; give yours another name")
        if family in RESERVED:
            raise OptionError(f"{family!r} is a family of the package; give yours another name")
        if family is not None and not any("fit" in vars(base) for base in cls.__mro__):
            raise OptionError(f"{name} has no method fit, see register_mechanism")
        MECHANISMS[name] = cls
        for other in [word for word, own in FAMILIES.items() if own.mechanism.__name__ == name]:
            del FAMILIES[other]
        if family is not None:
            FAMILIES[family] = OwnFamily(cls, serves or (lambda variable: True))
        return cls

    return register


@with_gradients
def fit_own(
    own: OwnFamily,
    variable: Variable,
    parents: tuple[Variable, ...],
    values: Mapping[str, Tensor],
    weights: Tensor,
    seed: int,
) -> Mechanism:
    """Returns a registered mechanism fitted on the rows where all is known.

    Raises:
        TableError: If there is no such row.
        OptionError: If its `fit` returns something else.
    """
    known = ~torch.stack([values[v.name] for v in (variable, *parents)]).isnan().any(0)
    if not bool(known.any()):
        raise TableError(f"no row has {variable.name!r} and all of its parents known")
    subset = {v.name: values[v.name][known] for v in (variable, *parents)}
    fit: Callable[..., Any] = own.mechanism.fit  # type: ignore[attr-defined]
    mechanism = fit(variable, parents, subset, weights[known], seed)
    if not isinstance(mechanism, own.mechanism) or mechanism.variable != variable:
        raise OptionError(
            f"{own.mechanism.__name__}.fit returned {mechanism!r}; it returns the fitted "
            f"mechanism of {variable.name!r}"
        )
    return mechanism.eval().requires_grad_(False)


@with_gradients
def maximise_likelihood(
    mechanism: Mechanism,
    values: Mapping[str, Tensor],
    weights: Tensor,
    penalty: float = 0.5,
    iterations: int = 300,
) -> Mechanism:
    """Fits a mechanism's parameters by L-BFGS on its own `forward`, and returns it.

    Arguments:
        mechanism: The mechanism, its parameters where the search starts.
        values: Values (rows,) of its variable and parents by name, all known.
        weights: How often each row counts (rows,).
        penalty: Of half the squared parameters, against the summed loss.
        iterations: The most iterations.
    """
    x = values[mechanism.variable.name]
    pa = {p.name: values[p.name] for p in mechanism.parents}
    parameters = [p.requires_grad_(True) for p in mechanism.parameters() if p.numel()]
    total = weights.sum()
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-8,
        tolerance_change=1e-11,
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        half_square = 0.5 * sum((w.square().sum() for w in parameters), x.new_zeros(()))
        value = (mechanism(x, pa) @ weights + penalty * half_square) / total
        value.backward()
        return value.detach()

    if parameters:
        optimiser.step(loss)  # type: ignore[arg-type]
    return mechanism
