"""Random numbers of rows: by label under a seed, in any company, one draw like the first of
many.
"""

import pandas as pd
import pytest
import torch

from cxrcausal.errors import OptionError, TableError
from cxrcausal.scm.draws import draws_of

LABELS = pd.Index(["a", "b", "c"])


def test_a_row_draws_alike_in_any_company():
    """Parts, positions and more draws change no number of a row."""
    draws = draws_of(LABELS, 3, 2)
    whole = draws.uniform("edema", size=2).reshape(3, 2, 2)
    assert torch.equal(draws.part(1, 3).uniform("edema", size=2).reshape(2, 2, 2), whole[1:])
    assert torch.equal(draws.take([2]).uniform("edema", size=2).reshape(1, 2, 2), whole[2:])
    assert torch.equal(draws_of(LABELS, 3, 1).uniform("edema", size=2), whole[:, 0])
    assert not torch.equal(draws.uniform("age", size=2).reshape(3, 2, 2), whole)


def test_without_a_seed_labels_do_not_matter():
    """Rows are then distinguished by their position, so that labels may repeat."""
    labels = pd.Index(["a", "a"])
    one, other = draws_of(labels, None, 1).uniform("edema")
    assert one != other
    with pytest.raises(TableError, match="row labels must be unique"):
        draws_of(labels, 0, 1)
    with pytest.raises(OptionError, match="num_samples is at least 1"):
        draws_of(labels, 0, 0)
