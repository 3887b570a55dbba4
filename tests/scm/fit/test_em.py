"""EM raises the likelihood of what is known, and learns what rows with unknown cells say."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from cxrcausal import patients as patients_module
from cxrcausal.errors import OptionError, TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.patients import set_aside
from cxrcausal.scm import FlowSCM

LEVELS = ("negative", "positive")
NAMES = ("smoking", "lesion", "opacity", "cough")
GRAPH = CausalGraph(
    [Variable(name, "binary", LEVELS) for name in NAMES],
    [("smoking", "lesion"), ("lesion", "opacity"), ("smoking", "cough"), ("lesion", "cough")],
    name="smokers",
)


def smokers(rows, seed, unknown=0.0):
    """Rows of a known distribution, of which a share of the cells is removed at random."""
    draw = np.random.default_rng(seed)
    smoking = draw.random(rows) < 0.4
    lesion = draw.random(rows) < np.where(smoking, 0.5, 0.1)
    opacity = draw.random(rows) < np.where(lesion, 0.9, 0.05)
    cough = draw.random(rows) < 0.1 + 0.3 * smoking + 0.4 * lesion
    columns = dict(zip(NAMES, (smoking, lesion, opacity, cough), strict=True))
    table = pd.DataFrame({name: np.where(x, *LEVELS[::-1]) for name, x in columns.items()})
    return table.mask(draw.random(table.shape) < unknown)


def fit(table, **options):
    return FlowSCM(GRAPH, hidden=()).fit(table, progress=False, **options)


def test_on_complete_rows_it_is_the_other_fit():
    """Without an unknown cell there is nothing to expect: both are maximum likelihood."""
    table = smokers(3000, seed=0)
    one, two = fit(table), fit(table, missing="em")
    np.testing.assert_allclose(one.log_prob(table), two.log_prob(table), atol=2e-3)
    assert "missing" not in one.policies
    assert two.policies["missing"] == "em"


def test_it_beats_the_fit_on_available_rows():
    """With 40 % of the cells removed at random, on new rows of the same distribution."""
    train, test = smokers(1500, seed=1, unknown=0.4), smokers(20_000, seed=2)
    available, by_em = fit(train), fit(train, missing="em")
    gain = by_em.log_prob(test) - available.log_prob(test)
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(test))


def test_each_iteration_raises_the_likelihood(caplog, monkeypatch):
    """Of the rows that are fitted, when none are set aside; every iteration is logged."""
    monkeypatch.setattr(patients_module, "FEWEST", 10_000)
    with caplog.at_level(logging.INFO, logger="cxrcausal"):
        fit(smokers(1500, seed=3, unknown=0.4), missing="em")
    reached = [r.args[1] for r in caplog.records if r.message.startswith("EM iteration")]
    assert len(reached) >= 3
    assert np.diff(reached).min() > -1e-6
    assert reached[-1] > reached[0]


def test_two_sources_that_never_record_a_cause_and_its_effect_together():
    """No row shows lesion beside opacity; cough and smoking beside each still bind them."""
    table = smokers(4000, seed=4)
    table.loc[table.index[::2], "opacity"] = None
    table.loc[table.index[1::2], "lesion"] = None
    with pytest.raises(TableError, match="'opacity' cannot be fitted"):
        fit(table)
    scm = fit(table, missing="em")
    sampled = scm.sample(20_000, seed=0)
    assert (sampled["opacity"] == "positive").mean() == pytest.approx(0.05 + 0.85 * 0.26, abs=0.03)
    assert scm.log_prob(table).mean() > np.log(0.5) * 3


def test_what_no_row_records_stays_unobserved():
    """EM does not invent a variable."""
    table = smokers(500, seed=5, unknown=0.2).assign(lesion=None)
    scm = fit(table, missing="em")
    assert "lesion" not in scm.mechanisms


@pytest.mark.parametrize("name", ["smoking", "lesion"])
def test_what_only_patients_set_aside_show_is_possible_all_the_same(name):
    """And what nobody shows is not, whatever EM smooths."""
    table = smokers(400, seed=10).assign(**{name: "negative"})
    table.loc[::9, "cough"] = None
    seen = set_aside(None, 400, 0).argmax()
    for level, share in (("negative", 0.0), ("positive", 1 / 400)):
        table.loc[seen, name] = level
        scm = fit(table, missing="em", seed=0)
        sampled = (scm.sample(20_000, seed=0)[name] == "positive").mean()
        assert sampled == pytest.approx(share, abs=0.9 * share)


def test_the_same_seed_gives_the_same_fit(monkeypatch):
    """Whether completions are listed or drawn; the global random state is left alone."""
    from cxrcausal.scm.unknown import completion

    monkeypatch.setattr(completion, "MOST_KEPT", 2)
    table = smokers(300, seed=6, unknown=0.4)
    before = torch.random.get_rng_state()
    one, two = (fit(table, missing="em", seed=3) for _ in range(2))
    pd.testing.assert_series_equal(one.log_prob(table), two.log_prob(table))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_soft_evidence_is_learnt_from():
    """Overwhelming words for every removed cell are as good as the cells."""
    whole = smokers(2000, seed=7)
    removed = np.arange(2000) % 2 == 0
    table = whole.assign(lesion=whole["lesion"].mask(removed))
    said = pd.Series(np.where(whole["lesion"] == "positive", 1e6, 1e-6), index=table.index)
    learned = fit(table, missing="em", likelihood={"lesion": said.where(removed)})
    np.testing.assert_allclose(learned.log_prob(whole), fit(whole).log_prob(whole), atol=0.02)
    all_positive = pd.Series(1e6, index=table.index).where(removed)
    misled = fit(table, missing="em", likelihood={"lesion": all_positive}).sample(20_000, seed=0)
    share = (whole["lesion"] == "positive")[~removed].mean()
    expected = 0.5 + 0.5 * share
    assert (misled["lesion"] == "positive").mean() == pytest.approx(expected, abs=0.02)


def test_what_is_refused():
    """An unknown word, and soft evidence that the fit would leave out."""
    table = smokers(100, seed=9)
    with pytest.raises(
        OptionError, match=r"missing='EM' is not known; did you mean 'em'\? Allowed"
    ):
        fit(table, missing="EM")
    with pytest.raises(OptionError, match="give missing='em'"):
        fit(table, likelihood={"lesion": pd.Series(1.0, index=table.index)})
