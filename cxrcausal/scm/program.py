"""The SCM as a Pyro program: one sample site per variable, so that Pyro's inference applies.

Discrete variables and those on a grid are sites that can be enumerated, with the same tables as
the SCM's mechanisms; their values are the SCM's own (the index of a level, an age in years). This
module imports Pyro and is imported only when a program is asked for.

References:
    | Pyro: Deep Universal Probabilistic Programming
    | (Bingham et al., 2019), https://jmlr.org/papers/v20/18-403.html
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

import pandas as pd
import pyro
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from cxrcausal.errors import TableError, nearest
from cxrcausal.scm.mechanism.base import Mechanism, Parents

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["Continuum", "Levels", "pyro_program"]


def pyro_program(scm: "FlowSCM") -> Callable[..., dict[str, Tensor]]:
    """Returns the Pyro program of a fitted SCM.

    Returns:
        A function of `rows` (a table, a mapping of variable to values (rows,), or None) and,
        without rows, of their number `size`. A variable that all rows know is observed, one that
        no row knows is a latent site, marked for parallel enumeration where it has levels or a
        grid. It returns the value of every site.

    Example:
        >>> program = scm.to_pyro()  # doctest: +SKIP
        >>> pyro.poutine.trace(program).get_trace(rows).log_prob_sum()  # doctest: +SKIP
    """

    def program(
        rows: pd.DataFrame | Mapping[str, Tensor] | None = None, size: int = 1
    ) -> dict[str, Tensor]:
        known = _known(scm, rows)
        if rows is not None:
            size = len(rows) if isinstance(rows, pd.DataFrame) else len(next(iter(rows.values())))
        supports = scm._fitted.supports if scm._fitted is not None else {}
        values: dict[str, Tensor] = {}
        with pyro.plate("rows", size, device=scm.device):
            for name, mechanism in scm.mechanisms.items():
                pa = {p.name: values[p.name] for p in mechanism.parents}
                support = supports[name]
                distribution = (
                    Continuum(mechanism, pa)
                    if support is None
                    else _levels(mechanism, support, pa)
                )
                latent = name not in known and support is not None
                values[name] = pyro.sample(
                    name,
                    distribution,
                    obs=known.get(name),
                    infer={"enumerate": "parallel"} if latent else {},
                )
        return values

    return program


@final
class Levels(TorchDistribution):
    """A distribution over given numbers, such as level indices or ages.

    Arguments:
        support: The numbers (levels,), ascending.
        log_probs: Their log-probabilities (*batch, levels).
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012, Pyro's own form
    support = constraints.real
    has_enumerate_support = True

    def __init__(self, support: Tensor, log_probs: Tensor) -> None:
        self.values = support
        self.log_probs = log_probs
        super().__init__(log_probs.shape[:-1], validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "Levels":
        """Returns the same distribution for a larger batch."""
        return Levels(self.values, self.log_probs.expand(*batch_shape, -1))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Returns draws (*sample_shape, *batch); from torch's own generator, as Pyro samples."""
        probs = self.log_probs.softmax(-1)
        return self.values[torch.distributions.Categorical(probs).sample(sample_shape)]

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability of each value."""
        position = torch.searchsorted(self.values, value.contiguous())
        position, table = torch.broadcast_tensors(position[..., None], self.log_probs)
        return table.gather(-1, position[..., :1]).squeeze(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Returns all values (levels, *batch), or (levels, 1, ...) unexpanded."""
        values = self.values.reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


@final
class Continuum(TorchDistribution):
    """The distribution of a continuous variable given its parents.

    Arguments:
        mechanism: What assigns it.
        pa: The values of its parents.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012, Pyro's own form
    support = constraints.real

    def __init__(
        self, mechanism: Mechanism, pa: Parents, batch_shape: torch.Size | None = None
    ) -> None:
        self.mechanism = mechanism
        self.pa = pa
        if batch_shape is None:
            batch_shape = torch.broadcast_shapes(*(value.shape for value in pa.values()))
        super().__init__(torch.Size(batch_shape), validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "Continuum":
        """Returns the same distribution for a larger batch."""
        return Continuum(self.mechanism, self.pa, batch_shape)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Returns draws (*sample_shape, *batch); from torch's own generator, as Pyro samples."""
        shape = (*sample_shape, *self.batch_shape, self.mechanism.noise_size)
        uniform = torch.rand(shape, dtype=torch.float64, device=self.mechanism.device)
        noise = self.mechanism.prior(uniform.clamp(2.0**-54, 1 - 2.0**-53))
        return self.mechanism.predict(noise, self.pa)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-density of each value, per unit."""
        return self.mechanism.log_prob(value, self.pa)


def _levels(mechanism: Mechanism, support: Tensor, pa: Parents) -> Levels:
    """Returns the distribution of a variable with levels or a grid given its parents."""
    assert mechanism.support is not None
    keep = torch.searchsorted(mechanism.support, support)
    return Levels(support, mechanism.log_probs(pa)[..., keep])


def _known(scm: "FlowSCM", rows: pd.DataFrame | Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Returns the values of the variables that all rows know.

    Raises:
        TableError: If some rows know a variable and others do not, or one has no mechanism.
    """
    if rows is None:
        return {}
    if isinstance(rows, pd.DataFrame):
        values = scm._read(rows, "ignore").values
    else:
        values = dict(rows)
        for name in values:
            if name not in scm.mechanisms:
                raise TableError(
                    f"{name!r} is no site of the program{nearest(name, scm.mechanisms) or '.'} "
                    f"It has: {', '.join(scm.mechanisms)}"
                )
    known = {}
    for name, x in values.items():
        unknown = x.isnan()
        if bool(unknown.all()):
            continue
        if bool(unknown.any()):
            raise TableError(
                f"{name!r} is known in some rows and unknown in others: a program conditions all "
                f"its rows alike; call it once for each pattern of absence"
            )
        known[name] = x
    return known
