"""Maximum likelihood node by node: as good as logistic regression, better where there is more."""

import logging
import math

import numpy as np
import pandas as pd
import pytest
import torch
from mechanisms import AGE, CLEAR, DOSE, EDEMA, FRACTURE, SEX, SOURCE, STAGE, VIEW, uniforms

from cxrcausal.errors import OptionError, TableError
from cxrcausal.graph import CausalGraph, Variable
from cxrcausal.scm import FlowSCM
from cxrcausal.scm.fit import located
from cxrcausal.scm.fit.choice import MECHANISMS, fit_mechanism, resolve_family

NAN = math.nan


def clinic(rows=4000, seed=0):
    """Returns values of patients whose distributions are known, and their patient numbers."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, rows // 3, rows)
    sex = rng.integers(0, 2, rows)
    source = rng.integers(0, 3, rows)
    age = np.clip(rng.normal(50, 18, rows).round(), 0, 110)
    logit = -2 + 0.8 * sex + 0.03 * (age - 50) + 0.5 * (source == 2)
    edema = rng.random(rows) < 1 / (1 + np.exp(-logit))
    stage = np.clip(np.floor(rng.normal(1 + edema + 0.01 * (age - 50), 1)), 0, 3)
    view = (rng.random(rows)[:, None] > np.cumsum([0.3, 0.4, 0.2])).sum(1) * (1 - edema)
    dose = 1 + 0.5 * sex + 0.3 * rng.normal(size=rows)
    columns = dict(sex=sex, source=source, age=age, edema=edema, stage=stage, view=view, dose=dose)
    return {n: torch.tensor(v.astype(np.float64)) for n, v in columns.items()}, patient


VALUES, PATIENT = clinic()


def mean_log_prob(mechanism, values):
    pa = {p.name: values[p.name] for p in mechanism.parents}
    return mechanism.log_prob(values[mechanism.variable.name], pa).mean().item()


def regression_log_prob(train, test, name, parents):
    """Returns the held-out mean of scikit-learn's logistic regression on the same rows."""
    linear_model = pytest.importorskip("sklearn.linear_model")

    def design(values):
        columns = []
        for p in parents:
            if p.is_discrete:
                columns += [(values[p.name] == k).double() for k in range(1, len(p.levels))]
            else:
                columns.append((values[p.name] - 50) / 20)
        return torch.stack(columns, -1).numpy()

    model = linear_model.LogisticRegression(max_iter=1000, tol=1e-8)
    model.fit(design(train), train[name].numpy())
    p = model.predict_log_proba(design(test))
    return p[np.arange(len(p)), test[name].numpy().astype(int)].mean()


class TestAgainstLogisticRegression:
    @pytest.mark.parametrize("family", ["direct", "cnf"])
    def test_a_common_finding(self, family):
        """Where logistic regression is the truth, nothing is lost by being able to do more."""
        test, _ = clinic(seed=1)
        parents = (SEX, AGE, SOURCE)
        mechanism = fit_mechanism(EDEMA, parents, VALUES, PATIENT, family=family)
        theirs = regression_log_prob(VALUES, test, "edema", parents)
        assert mean_log_prob(mechanism, test) > theirs - 0.002

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_a_rare_finding(self, seed):
        """Of 20,000 rows 40 are positive: the residual does not overfit them."""
        rng = np.random.default_rng(seed)

        def draw():
            sex, age = rng.integers(0, 2, 20_000), rng.integers(0, 111, 20_000)
            device = rng.random(20_000) < 0.3
            logit = -7.6 + 1.0 * sex + 0.02 * (age - 55) + 0.8 * device
            rare = rng.random(20_000) < 1 / (1 + np.exp(-logit))
            columns = dict(sex=sex, age=age, edema=device, fracture=rare)
            return {n: torch.tensor(v.astype(np.float64)) for n, v in columns.items()}

        train, test, parents = draw(), draw(), (SEX, AGE, EDEMA)
        assert 0.0005 < train["fracture"].mean().item() < 0.004
        mechanism = fit_mechanism(FRACTURE, parents, train, seed=seed)
        theirs = regression_log_prob(train, test, "fracture", parents)
        assert mean_log_prob(mechanism, test) > theirs - 0.0005

    def test_an_interaction_is_found(self):
        """An exclusive or, which no regression on its parents can see, is learnt and kept."""

        def draw(seed):
            rng = np.random.default_rng(seed)
            sex, edema = rng.integers(0, 2, (2, 4000))
            fracture = rng.random(4000) < np.where(sex == edema, 0.1, 0.6)
            columns = dict(sex=sex, edema=edema, fracture=fracture)
            return {n: torch.tensor(v.astype(np.float64)) for n, v in columns.items()}

        train, test = draw(0), draw(1)
        mechanism = fit_mechanism(FRACTURE, (SEX, EDEMA), train)
        theirs = regression_log_prob(train, test, "fracture", (SEX, EDEMA))
        assert mechanism.conditioner.hidden
        assert mean_log_prob(mechanism, test) > theirs + 0.1

    def test_real_findings(self, shared_data):
        """On NIH patients, whole tables of real labels: never below by more than 0.002 nats."""
        table = pd.read_csv(shared_data / "metadata" / "nih_train.csv.gz", index_col=False)
        labels = table["Finding Labels"].str.get_dummies()
        values = {
            "sex": (table["Patient Gender"] == "M").to_numpy(np.float64),
            "age": table["Patient Age"].to_numpy(np.float64),
            "edema": labels["Edema"].to_numpy(np.float64),
            "fracture": labels["Hernia"].to_numpy(np.float64),  # 0.2 % positive
        }
        patient = table["Patient ID"].to_numpy()
        known = values["age"] <= 110
        kept = patient % 5 > 0
        train = {n: torch.tensor(v[known & kept]) for n, v in values.items()}
        test = {n: torch.tensor(v[known & ~kept]) for n, v in values.items()}
        for variable in (EDEMA, FRACTURE):
            mechanism = fit_mechanism(variable, (SEX, AGE), train, patient[known & kept])
            theirs = regression_log_prob(train, test, variable.name, (SEX, AGE))
            assert mean_log_prob(mechanism, test) > theirs - 0.002


class TestAge:
    @pytest.mark.parametrize("family", ["direct", "cnf", "nsf"])
    def test_without_parents_it_is_the_histogram(self, family):
        """The probability of each year is its share of the rows, half a row added to each."""
        mechanism = fit_mechanism(AGE, (), VALUES, PATIENT, family=family)
        counts = torch.bincount(VALUES["age"].long(), minlength=111) + 0.5
        expected = (counts / counts.sum()).double().log()
        torch.testing.assert_close(mechanism.log_probs({}), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("family", ["cnf", "nsf"])
    def test_a_spike_and_a_gap_in_one_source(self, family):
        """A source without children and with a top code at 90, beside one with neither."""
        rng = np.random.default_rng(0)
        source = rng.integers(0, 2, 30_000)
        age = np.clip(rng.normal(48, 18, 30_000), 0, 105)
        age = np.where(source == 1, np.clip(rng.normal(62, 18, 30_000), 18, 90), age).round()
        values = {"source": torch.tensor(source.astype(float)), "age": torch.tensor(age)}
        mechanism = fit_mechanism(AGE, (SOURCE,), values, family=family)
        for level in (0, 1):
            own = values["age"][values["source"] == level]
            counts = torch.bincount(own.long(), minlength=111).double() + 0.5
            histogram = (counts / counts.sum()).log()[own.long()].mean().item()
            pa = {"source": torch.full_like(own, level)}
            assert mechanism.log_prob(own, pa).mean().item() > histogram - 0.02


class TestContinuum:
    @pytest.mark.parametrize("family", ["cnf", "nsf"])
    def test_a_nonlinear_heteroscedastic_chain(self, family):
        """Counterfactuals of h = sin(2x) + (.2 + .5 σ(2x)) sinh(u)/1.5 to a tenth of its
        spread.
        """
        cause = Variable("x", "continuous")
        generator = torch.Generator().manual_seed(0)
        u = torch.randn(2, 2500, generator=generator, dtype=torch.float64)

        def effect(x, noise):
            return torch.sin(2 * x) + (0.2 + 0.5 * torch.sigmoid(2 * x)) * torch.sinh(noise) / 1.5

        values = {"x": u[0], "dose": effect(u[0], u[1])}
        mechanism = fit_mechanism(DOSE, (cause,), values, family=family)
        x, noise = torch.randn(2, 400, generator=generator, dtype=torch.float64).clamp(-2, 2)
        found = mechanism.abduct(effect(x, noise), {"x": x}, uniforms(400, 1))
        star = torch.full_like(x, 0.7)
        error = mechanism.predict(found, {"x": star}) - effect(star, noise)
        assert error.abs().median().item() < 0.06
        assert error.square().mean().sqrt().item() < 0.15
        assert effect(star, noise).std().item() > 0.5  # what a model that ignores u would miss

    def test_the_default_family_is_the_continuous_time_flow(self):
        """Without a grid, `direct` has no meaning and the default stands in."""
        few = {name: v[:800] for name, v in VALUES.items()}
        mechanism = fit_mechanism(DOSE, (SEX,), few, PATIENT[:800], family="direct")
        assert mechanism.config()["flow"]["family"] == "located cnf"
        shift = [
            mechanism.predict(torch.zeros(1, 1).double(), {"sex": torch.tensor([s]).double()})
            for s in (0.0, 1.0)
        ]
        assert (shift[1] - shift[0]).item() == pytest.approx(0.5, abs=0.08)


EVERY = [
    (EDEMA, (SEX, AGE), "auto"),
    (STAGE, (EDEMA, AGE), "auto"),
    (STAGE, (EDEMA, SEX), "cnf"),
    (VIEW, (EDEMA, SEX), "auto"),
    (AGE, (SOURCE,), "nsf"),
]


@pytest.mark.parametrize(("variable", "parents", "family"), EVERY)
class TestEveryFit:
    def test_the_same_seed_gives_the_same_weights(self, variable, parents, family):
        """Bit by bit, and the global random state and the values are left as they were."""
        before = torch.random.get_rng_state()
        kept = {name: v.clone() for name, v in VALUES.items()}
        one = fit_mechanism(variable, parents, VALUES, PATIENT, family=family, seed=3).state_dict()
        two = fit_mechanism(variable, parents, VALUES, PATIENT, family=family, seed=3).state_dict()
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(kept[name], VALUES[name]) for name in kept)

    def test_a_fitted_mechanism_round_trips(self, variable, parents, family):
        """What is saved is what answers: class name, JSON and tensors."""
        mechanism = fit_mechanism(variable, parents, VALUES, PATIENT, family=family)
        assert not mechanism.training
        assert not any(p.requires_grad for p in mechanism.parameters())
        cls = MECHANISMS[type(mechanism).__name__]
        loaded = cls.from_config(variable, parents, mechanism.config())
        loaded.load_state_dict(mechanism.state_dict())
        pa = {p.name: VALUES[p.name][:50] for p in parents}
        assert torch.equal(loaded.log_probs(pa), mechanism.log_probs(pa))

    def test_rows_with_unknown_cells_do_not_count(self, variable, parents, family):
        """Rows where the variable or a parent is unknown change nothing."""
        blank = {name: v.clone() for name, v in VALUES.items()}
        for name, place in ((variable.name, slice(0, 100)), (parents[0].name, slice(100, 200))):
            blank[name][place] = NAN
        few = {name: v[200:] for name, v in VALUES.items()}
        patients = np.unique(PATIENT[200:], return_inverse=True)[1]
        plain = {"hidden": (), "family": family}
        one = fit_mechanism(variable, parents, blank, np.r_[np.zeros(200, int), patients], **plain)
        two = fit_mechanism(variable, parents, few, patients, **plain)
        pa = {p.name: few[p.name][:50] for p in parents}
        torch.testing.assert_close(one.log_probs(pa), two.log_probs(pa), rtol=0, atol=2e-3)


class TestWeights:
    def test_they_count_as_repeated_rows(self):
        """Doubling some weights is the same fit as repeating those rows."""
        weights = np.where(np.arange(4000) % 3 == 0, 2.0, 1.0)
        repeated = torch.arange(4000).repeat_interleave(torch.tensor(weights).long())
        again = {name: v[repeated] for name, v in VALUES.items()}
        one = fit_mechanism(EDEMA, (SEX, AGE), VALUES, weights=weights, hidden=())
        two = fit_mechanism(EDEMA, (SEX, AGE), again, hidden=())
        pa = {"sex": VALUES["sex"][:50], "age": VALUES["age"][:50]}
        torch.testing.assert_close(one.log_probs(pa), two.log_probs(pa), rtol=0, atol=1e-4)

    def test_of_a_definition(self):
        """A definition counts them too."""
        rows = {"no_finding": torch.tensor([1.0, 0.0]), "edema": torch.zeros(2)}
        rows = {name: v.double() for name, v in rows.items()}
        mechanism = fit_mechanism(CLEAR, (EDEMA,), rows, weights=np.array([8.0, 1.0]))
        assert mechanism.rates[0, 0].item() == pytest.approx(8.5 / 10)


class TestRefusals:
    def test_a_variable_that_is_never_known_beside_its_parents(self):
        """The message names the variable and its parents."""
        values = {"edema": torch.tensor([1.0, NAN]), "sex": torch.tensor([NAN, 1.0])}
        with pytest.raises(TableError, match=r"'edema' cannot be fitted.*parents \('sex'\)"):
            fit_mechanism(EDEMA, (SEX,), values)

    @pytest.mark.parametrize("word", ["cfn", "spline"])
    def test_an_unknown_family(self, word):
        """The message lists what is allowed, and the nearest."""
        with pytest.raises(OptionError, match="Allowed: 'auto', 'direct', 'cnf', 'nsf'"):
            resolve_family(EDEMA, word)
        with pytest.raises(OptionError, match="did you mean 'ordered'"):
            resolve_family(VIEW, "auto", "orderd")

    @pytest.mark.parametrize(
        ("variable", "family", "coupling", "expected"),
        [
            (EDEMA, "auto", "gumbel", "direct"),
            (EDEMA, "cnf", "gumbel", "cnf"),
            (EDEMA, "nsf", "gumbel", "direct"),
            (STAGE, "cnf", "gumbel", "cnf"),
            (VIEW, "cnf", "gumbel", "direct"),
            (VIEW, "cnf", "ordered", "cnf"),
            (AGE, "auto", "gumbel", "cnf"),
            (AGE, "direct", "gumbel", "direct"),
            (AGE, "nsf", "gumbel", "nsf"),
            (DOSE, "direct", "gumbel", "cnf"),
            (CLEAR, "cnf", "gumbel", "direct"),
        ],
    )
    def test_families_by_kind(self, variable, family, coupling, expected):
        """One word can be given for a whole graph."""
        assert resolve_family(variable, family, coupling) == expected


def test_an_ordered_coupling_of_a_nominal_variable():
    """Its levels become intervals in the order in which they are declared."""
    mechanism = fit_mechanism(VIEW, (EDEMA,), VALUES, PATIENT, coupling="ordered")
    assert type(mechanism).__name__ == "IntervalMechanism"
    gumbel = fit_mechanism(VIEW, (EDEMA,), VALUES, PATIENT)
    pa = {"edema": torch.tensor([0.0, 1.0], dtype=torch.float64)}
    torch.testing.assert_close(
        mechanism.log_probs(pa)[0].exp(), gumbel.log_probs(pa)[0].exp(), rtol=0, atol=2e-3
    )


def test_the_decision_is_logged(caplog):
    """Whether a residual was kept, and by what gain, is logged."""
    with caplog.at_level(logging.DEBUG, logger="cxrcausal"):
        fit_mechanism(EDEMA, (SEX, SOURCE), VALUES, PATIENT)
    assert "edema: residual" in caplog.text
    assert "validation gain" in caplog.text


def test_a_flow_says_which_rows_it_leaves_out(monkeypatch, caplog):
    """Once for a mechanism; a family without a flow uses every row."""
    monkeypatch.setattr(located, "MOST_CELLS", 50)
    few = {name: x[:200] for name, x in VALUES.items()}
    with caplog.at_level(logging.INFO, logger="cxrcausal"):
        fit_mechanism(DOSE, (SEX,), few, most_rounds=1, hidden=(2,))
        fit_mechanism(EDEMA, (SEX,), few, hidden=())
    said = [r.getMessage() for r in caplog.records]
    assert said == ["dose: its flow is fitted on 50 of 200 distinct rows, drawn at random"]


class TestALevelThatTheFitNeverSaw:
    """Samples, likelihood and counterfactuals are of one model without such a level."""

    @staticmethod
    def fitted(kind, levels, family, coupling, rows=60, **parts):
        """A fit where `a` lacks its last level, and causes `b`."""
        graph = CausalGraph(
            [Variable("a", kind, levels, **parts), Variable("b", "binary", ("n", "p"))],
            [("a", "b")],
        )
        draw = np.random.default_rng(0)
        a = draw.choice(levels[:-1], rows)
        b = np.where(draw.random(rows) < 0.3 + 0.4 * (a == levels[0]), "p", "n")
        table = pd.DataFrame({"a": a, "b": b})
        return FlowSCM(graph, family=family, coupling=coupling, hidden=()).fit(
            table, progress=False
        )

    @pytest.mark.parametrize("family", ["direct", "cnf"])
    @pytest.mark.parametrize(
        ("kind", "levels", "coupling"),
        [
            ("binary", ("n", "p"), "gumbel"),
            ("ordinal", ("0", "1", "2"), "gumbel"),
            ("ordinal", ("0", "1", "2", "3", "4"), "gumbel"),
            ("nominal", ("x", "y", "z"), "gumbel"),
            ("nominal", ("x", "y", "z"), "ordered"),
        ],
    )
    def test_has_no_probability(self, kind, levels, coupling, family):
        scm = self.fitted(kind, levels, family, coupling)
        assert scm.observed["a"] == levels[:-1]
        assert set(scm.sample(20_000, seed=0)["a"]) == set(levels[:-1])
        every = pd.DataFrame([(a, b) for a in levels[:-1] for b in "np"], columns=["a", "b"])
        assert np.exp(scm.log_prob(every)).sum() == pytest.approx(1, abs=1e-8)
        unknown = pd.DataFrame({"a": [None, None], "b": ["n", "p"]})
        assert np.exp(scm.log_prob(unknown)).sum() == pytest.approx(1, abs=1e-8)
        chance = scm.counterfactual_probability(unknown, {}, of="a")
        assert chance[levels[-1]].tolist() == [0.0, 0.0]
        rows = pd.DataFrame({"a": [None], "b": [None]})
        prior = scm.counterfactual_probability(rows, {}, of="a")
        for level in levels[:-1]:
            share = np.exp(scm.log_prob(pd.DataFrame({"a": [level], "b": [None]})))[0]
            assert prior[level][0] == pytest.approx(share, abs=1e-8)

    @pytest.mark.parametrize("lacking", ["negative", "positive"])
    def test_of_a_definition(self, lacking):
        graph = CausalGraph(
            [EDEMA, Variable("clear", "binary", ("negative", "positive"), mechanism="nor")],
            [("edema", "clear")],
        )
        always = {"negative": "positive", "positive": "negative"}[lacking]
        table = pd.DataFrame({"edema": ["negative", "positive"] * 30, "clear": always})
        scm = FlowSCM(graph, hidden=()).fit(table, progress=False)
        assert set(scm.sample(5000, seed=0)["clear"]) == {always}
        rows = pd.DataFrame(
            {"edema": ["negative", None, "positive"], "clear": [None, always, None]}
        )
        assert np.exp(scm.log_prob(rows)).tolist() == pytest.approx([0.5, 1.0, 0.5])
        chance = scm.counterfactual_probability(rows, {"edema": "positive"}, of="clear")
        assert chance[always].tolist() == pytest.approx([1.0] * 3)
        same = scm.counterfactual(rows, {}, seed=0, impute=True)
        assert (same["clear"] == always).all()

    def test_one_row_is_drawn_again_and_again(self):
        graph = CausalGraph([Variable("a", "binary", ("n", "p"))])
        scm = FlowSCM(graph).fit(pd.DataFrame({"a": ["n"]}), progress=False)
        assert set(scm.sample(1000, seed=0)["a"]) == {"n"}
        assert scm.log_prob(pd.DataFrame({"a": ["n"]}))[0] == pytest.approx(0, abs=1e-12)

    def test_but_one_seen_only_where_a_parent_is_unknown_may_occur(self):
        """The table has the level; that the mechanism's rows lack it is no reason to rule
        it out.
        """
        a, b = (Variable(name, "binary", ("n", "p")) for name in "ab")
        table = pd.DataFrame({"a": ["n", "p"] * 30 + [None], "b": ["n"] * 60 + ["p"]})
        scm = FlowSCM(CausalGraph([a, b], [("a", "b")])).fit(table, progress=False)
        assert scm.observed["b"] == ("n", "p")
        assert np.exp(scm.log_prob(pd.DataFrame({"a": ["n"], "b": ["p"]})))[0] > 1e-4
