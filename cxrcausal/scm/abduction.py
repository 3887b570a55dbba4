"""Step 1, abduction: the noise of a patient from what is known of them.

Unknown cells are drawn from their posterior given the known ones first; each mechanism then gives
a noise from which it would assign just that value. Randomness is a function of seed, row label,
variable and draw, so the work goes a chunk of rows at a time and no chunk changes an answer.

References:
    | Causality, section 7.1 (Pearl, 2009), https://doi.org/10.1017/CBO9780511803161
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from cxrcausal.graph.dag import CausalGraph
from cxrcausal.scm.draws import Draws
from cxrcausal.scm.evidence import Evidence, chunks
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.mechanism.base import lacking
from cxrcausal.scm.unknown.network import Mechanisms, Values
from cxrcausal.scm.unknown.posterior import fill_unknown

__all__ = ["abduct_noise", "abduct_rows"]


def abduct_rows(
    graph: CausalGraph,
    fitted: Fitted,
    known: Evidence,
    draws: Draws,
    *,
    batch_size: int,
    progress: bool | None,
) -> Exogenous:
    """Returns the noise of rows, drawn given what is known of them, see `FlowSCM.abduct`."""
    names = tuple(fitted.mechanisms)
    parts = []
    for chunk in chunks(len(known.table), batch_size // draws.num_samples, "abduct", progress):
        own = draws.part(*chunk)
        filled = fill_unknown(known.part(chunk), own)
        parts.append((filled, abduct_noise(fitted.mechanisms, filled, own, names)))
    return Exogenous(
        graph.fingerprint,
        fitted.fingerprint,
        known.table,
        {name: _joined([noise[name] for _, noise in parts]) for name in names},
        {name: _joined([filled[name] for filled, _ in parts]) for name in names},
        {name: ~known.values[name].isnan() for name in names},
        draws.seed,
        draws.num_samples,
    )


def abduct_noise(
    mechanisms: Mechanisms, filled: Values, draws: Draws, names: Iterable[str]
) -> dict[str, Tensor]:
    """Returns each variable's noise (rows * num_samples, numbers), NaN where a value is.

    Arguments:
        mechanisms: The fitted mechanisms.
        filled: Completed values (rows * num_samples,); a NaN was not needed.
        draws: The random numbers.
        names: The variables whose noise is wanted.
    """
    noise = {}
    for name in names:
        mechanism, x = mechanisms[name], filled[name]
        pa = {p.name: filled[p.name] for p in mechanism.parents}
        # A name of its own: `sample` draws patients from `name`, and a patient's posterior must
        # not be read off the number that made them, which the same seed and label would give.
        u = draws.uniform(f"{name} abducted", size=mechanism.noise_size).to(x.device)
        without = lacking(x, *pa.values())
        if without is None:
            noise[name] = mechanism.abduct(x, pa, u)
        else:
            ready = (~without).nonzero().squeeze(1)
            noise[name] = torch.full_like(u, torch.nan)
            subset = {p: value[ready] for p, value in pa.items()}
            noise[name][ready] = mechanism.abduct(x[ready], subset, u[ready])
    return noise


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
