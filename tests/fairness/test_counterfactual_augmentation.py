"""Training sets balanced by counterfactuals: closed forms, and phantoms whose truth is known."""

import dataclasses
import functools
import itertools
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.data import phantom, read_shards
from cxrcausal.data.phantom import PhantomMechanism, phantom_scm
from cxrcausal.errors import (
    ImageError,
    InterventionError,
    OptionError,
    TableError,
    UnobservedError,
)
from cxrcausal.evaluation import Predictor
from cxrcausal.fairness import augment, parts, plan_augmentation, read_augmented
from cxrcausal.fairness.balancing import independent_counts

SIZE, COUNT = 32, 40
BOTH = ("sex", "pleural_effusion")


@pytest.fixture(scope="module")
def model() -> CounterfactualModel:
    return CounterfactualModel(phantom_scm(), PhantomMechanism(SIZE), name="phantom")


@pytest.fixture(scope="module")
def study():
    """Phantoms of whom mostly women have an effusion, in 8 bits as files would hold them."""
    found = phantom.sample(4 * COUNT, seed=5, size=SIZE)
    sick = found.table["pleural_effusion"] == "positive"
    follows = sick == (found.table["sex"] == "Female")
    frontal = found.table["view"] != "LATERAL"  # which are drawn in one go
    rows = np.flatnonzero(frontal & (follows | (np.arange(len(sick)) % 6 == 0)))[:COUNT]
    images = (found.images[torch.from_numpy(rows)].clamp(0, 1) * 255).round() / 255
    return images, found.table.iloc[rows]


def agrees(images: torch.Tensor) -> pd.DataFrame:
    """A check that reads everything as it is asked, whichever level that is."""
    return pd.DataFrame(
        {f"{name}={level}": np.ones(len(images)) for name, level in itertools.chain(
            itertools.product(["sex"], ["Female", "Male"]),
            itertools.product(["pleural_effusion"], ["negative", "positive"]),
        )}
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(model, study, tmp_path_factory):
    """An augmentation, its plan and its folder."""
    images, table = study
    plan = plan_augmentation(model, table, decorrelate=BOTH)
    folder = tmp_path_factory.mktemp("augmented")
    return augment(model, images, table, plan, check=agrees, output=folder), plan, folder


def counts_of(table: pd.DataFrame) -> np.ndarray:
    return pd.crosstab(*(table[name] for name in BOTH)).to_numpy()


# --- how many -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[475, 25], [25, 475]], [[475, 475], [475, 475]]),
        # The least a + b with (45 + a)(5 + b) = 95 * 855: both factors are equal.
        ([[95, 45], [5, 855]], [[95, 285], [285, 855]]),
        ([[10, 20], [30, 60]], [[10, 20], [30, 60]]),
        ([[7, 0], [0, 7]], [[7, 7], [7, 7]]),
        ([[8]], [[8]]),
    ],
)
def test_independent_counts_in_closed_form(counts, expected):
    assert independent_counts(np.array(counts)).tolist() == expected


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (2, 2, 2), (3, 2, 3)])
def test_counts_are_a_product_and_no_cheaper_one_is_found(shape):
    rng = np.random.default_rng(len(shape))
    counts = rng.integers(1, 400, shape)
    found = independent_counts(counts)
    assert (found >= counts).all()
    total = found.sum()
    axes = range(len(shape))
    margins = [found.sum(axis=tuple({*axes} - {k})) / total for k in axes]
    product = total * functools.reduce(np.multiply.outer, margins)
    np.testing.assert_allclose(found, product, atol=2)
    for _ in range(500):  # any margins, scaled until every cell is reached
        spread = rng.choice([0.01, 0.3])
        other = [m * np.exp(rng.normal(0, spread, len(m))) for m in margins]
        tried = functools.reduce(np.multiply.outer, other)
        assert (tried * (counts / tried).max()).sum() > total - counts.size


# --- which ----------------------------------------------------------------------------------


def test_a_plan_makes_the_joint_distribution_what_was_asked(model, study):
    table = study[1]
    equal = plan_augmentation(model, table, balance=BOTH)
    assert set(equal.cells["target"]) == {counts_of(table).max()}
    plan = plan_augmentation(model, table, decorrelate=BOTH)
    after = counts_of(pd.concat([table[[*BOTH]], plan.rows[[*BOTH]]]))
    assert (after == independent_counts(counts_of(table))).all()
    assert len(plan.rows) == plan.cells["needed"].sum() < len(equal.rows)


def test_a_source_changes_by_what_it_lacks_and_no_more(model, study):
    table = study[1]
    plan = plan_augmentation(model, table, balance=BOTH)
    for line in plan.candidates.itertuples():
        seen = table.loc[line.source_row]
        differs = [name for name in BOTH if seen[name] != getattr(line, name)]
        assert line.changed.split(", ") == differs
        assert line.patient_id == seen["patient_id"]
    changes = plan.candidates["changed"].str.count(",")
    assert (
        changes.groupby(plan.candidates["cell"]).apply(lambda c: c.is_monotonic_increasing).all()
    )
    by_sex = plan_augmentation(model, table, decorrelate=BOTH, by="sex")
    assert set(by_sex.candidates["changed"]) == {"sex"}
    assert (
        by_sex.cells["target"].tolist()
        == plan_augmentation(model, table, decorrelate=BOTH).cells["target"].tolist()
    )


def test_the_preferred_column_is_set_first(model, study):
    for by in (BOTH, BOTH[::-1]):
        plan = plan_augmentation(model, study[1], balance=BOTH, by=by)
        assert set(plan.candidates[plan.candidates["order"] == 0]["changed"]) == {by[0]}


def test_a_plan_is_of_labels_not_of_places(model, study):
    table = study[1]
    plan = plan_augmentation(model, table, decorrelate=BOTH, seed=3)
    turned = plan_augmentation(model, table[::-1], decorrelate=BOTH, seed=3)
    pd.testing.assert_frame_equal(plan.candidates, turned.candidates)
    other = plan_augmentation(model, table, decorrelate=BOTH, seed=4)
    assert not plan.candidates["source_row"].equals(other.candidates["source_row"])


def test_unknown_cells_are_no_sources_and_not_counted(model, study):
    table = study[1].copy()
    table.loc[table.index[:10], "sex"] = np.nan
    plan = plan_augmentation(model, table, balance=BOTH)
    assert not set(plan.candidates["source_row"]) & set(table.index[:10])
    assert plan.cells["radiographs"].sum() == COUNT - 10


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({}, OptionError, "either balance or decorrelate"),
        ({"balance": "sex", "decorrelate": BOTH}, OptionError, "either"),
        ({"decorrelate": "sex"}, OptionError, "two or more different columns"),
        ({"balance": "sec"}, TableError, "did you mean 'sex'"),
        ({"balance": "age"}, OptionError, "continuous"),
        ({"balance": "sex", "by": "view"}, OptionError, "not among the columns"),
        ({"balance": "no_finding"}, InterventionError, "no parent of the image"),
        ({"balance": "sex", "groups": "patient"}, TableError, "not a column"),
    ],
)
def test_what_cannot_be_planned_is_refused(model, study, options, error, says):
    with pytest.raises(error, match=says):
        plan_augmentation(model, study[1], **options)


def test_a_level_that_was_never_observed_is_refused(study):
    mechanism = PhantomMechanism(SIZE)
    mechanism.observed = {**mechanism.observed, "race": ["White"]}
    blind = CounterfactualModel(phantom_scm(), mechanism)
    with pytest.raises(UnobservedError, match=r"'race' would be set to '(Black|Asian)'"):
        plan_augmentation(blind, study[1], balance="race")
    with pytest.raises(InterventionError, match="metadata alone"):
        plan_augmentation(CounterfactualModel(phantom_scm()), study[1], balance="sex")


# --- the radiographs ------------------------------------------------------------------------


def test_what_is_kept_is_the_true_counterfactual_with_its_labels(model, study, made):
    """In closed form: the phantom's own counterfactual, to the nearest of 256 greys."""
    (images, table), (made, plan, _) = study, made
    assert len(made.table) == plan.cells["needed"].sum()
    assert (made.cells["short"] == 0).all()
    mechanism = model.image
    place = table.index.get_indexer(made.table["source_row"])
    sources = table.iloc[place]
    noise = mechanism.abduct(images[torch.from_numpy(place)], mechanism.encode(sources)[0])
    world = sources.assign(**{name: made.table[name].to_numpy() for name in BOTH})
    truth = mechanism.predict(noise, mechanism.encode(world)[0]).clamp(0, 1)
    assert (made.images - truth).abs().max() <= 0.5 / 255 + 1e-5
    held = [v for v in model.graph.variables if v not in (*BOTH, "no_finding")]
    pd.testing.assert_frame_equal(
        made.table[held], sources[held].reset_index(drop=True), check_categorical=False
    )
    assert made.table["patient_id"].tolist() == sources["patient_id"].tolist()


def test_the_joined_training_set_is_independent_and_says_what_is_synthetic(study, made):
    (images, table), (made, _, _) = study, made
    both, joined = made.joined(images, table)
    assert len(both) == len(joined) == COUNT + len(made.table)
    assert (counts_of(joined) == independent_counts(counts_of(table))).all()
    assert joined["synthetic"].tolist() == [False] * COUNT + [True] * len(made.table)
    assert joined["sex"].dtype == made.table["sex"].dtype
    assert torch.equal(both[:COUNT], images)
    with pytest.raises(TableError, match="'sex' holds 'F'"):
        made.joined(images, table.assign(sex="F"))


def test_every_radiograph_says_that_it_is_synthetic_and_from_where(model, made):
    made, _, folder = made
    line = made.table.iloc[0]
    assert line["synthetic"]
    assert line["graph_fingerprint"] == model.graph.fingerprint
    assert {"source_row", "changed", "from", "to", "seed", "model_sha256", "guidance"} <= {
        *line.index
    }
    assert line["check sex=Male"] == 1
    with tarfile.open(folder / line["shard"]) as tar:
        with Image.open(tar.extractfile(f"{line['key']}.png")) as image:
            assert "not for diagnosis" in image.text["Synthetic"]
            said = json.loads(image.text["Provenance"])
        row = json.load(tar.extractfile(f"{line['key']}.json"))
    assert said["synthetic"] is True
    assert said["do"] == dict(
        zip(line["changed"].split(", "), line["to"].split(", "), strict=True)
    )
    assert row["patient_id"] == line["patient_id"]
    again = read_augmented(folder)
    pd.testing.assert_frame_equal(again.table, made.table)
    pd.testing.assert_frame_equal(read_shards(folder).table, made.table)
    assert again.provenance == made.provenance
    assert "counterfactual radiographs" in str(again)


def test_what_defines_a_finding_follows_it(model, study, tmp_path):
    """No finding is what it says of the other world: not beside an effusion that was set."""
    images, table = study
    table = table.assign(no_finding="positive", sex="Female")
    findings = [v for v in model.graph.parents("no_finding")]
    table = table.assign(**dict.fromkeys(findings, "negative"))
    table.loc[table.index[:20], "pleural_effusion"] = "positive"
    table.loc[table.index[:20], "no_finding"] = "negative"
    for sick, rest in (("positive", table[15:]), ("negative", table[:25])):
        rows = torch.from_numpy(table.index.get_indexer(rest.index))
        plan = plan_augmentation(model, rest, balance="pleural_effusion")
        made = augment(model, images[rows], rest, plan, check=agrees, output=tmp_path / sick).table
        assert set(made["pleural_effusion"]) == {sick}
        assert set(made["no_finding"]) == {"negative" if sick == "positive" else "positive"}
    unknown = table[:25].assign(fracture=np.nan)
    plan = plan_augmentation(model, unknown, balance="pleural_effusion")
    # A phantom is drawn from known parents: only the metadata are asked here.
    from cxrcausal.fairness.painting import defined

    world = unknown.assign(pleural_effusion="negative")
    assert defined(world, {"pleural_effusion"}, model.graph)["no_finding"].isna().all()


def test_on_the_total_path_descendants_follow_and_the_plan_s_columns_do_not(
    model, study, tmp_path
):
    images, table = study
    plan = plan_augmentation(model, table, balance=("sex", "cardiomegaly"), by="sex")
    made = augment(
        model, images, table, plan, check=agrees, output=tmp_path / "total", path="total"
    ).table
    sources = table.loc[made["source_row"]]
    assert (made["sex"].to_numpy() != sources["sex"].to_numpy()).all()
    assert (made["cardiomegaly"].to_numpy() == sources["cardiomegaly"].to_numpy()).all()
    names = list(model.graph.variables)
    held = made[names].astype(object).fillna("unknown").to_numpy()
    do = {name: made[name].to_numpy() for name in plan.columns}
    world = model.scm.counterfactual(sources, do, seed=plan.seed)[names]
    assert (held == world.astype(object).fillna("unknown").to_numpy()).all()
    assert (held != sources[names].astype(object).fillna("unknown").to_numpy()).sum() > len(made)


# --- the check ------------------------------------------------------------------------------


def test_what_is_not_read_back_is_refused_and_the_next_is_tried(model, study, tmp_path):
    images, table = study
    plan = plan_augmentation(model, table, decorrelate=BOTH)

    def half(batch):  # by the grain of one pixel: a function of the radiograph alone
        return agrees(batch).mul(((batch[:, 0, 9, 9] * 255).round() % 2 == 0).numpy(), axis=0)

    made = augment(model, images, table, plan, check=half, output=tmp_path, part_size=8)
    cells = made.cells
    assert (cells["kept"] == cells["needed"]).all()
    assert cells["not_read_back"].sum() > 0
    assert (cells["painted"] == cells["kept"] + cells["not_read_back"]).all()
    assert ((made.images[:, 0, 9, 9] * 255).round() % 2 == 0).all()
    # The first that pass, in the plan's order: of those that were tried none was left out.
    records = [json.loads(p.read_text()) for p in sorted((tmp_path / "records").iterdir())]
    outcomes = pd.DataFrame([line for record in records for line in record["outcomes"]])
    assert sorted(outcomes["candidate"][outcomes["outcome"] == "kept"]) == sorted(
        made.table["key"].astype(int)
    )
    assert not outcomes["candidate"].duplicated().any()


def test_a_cell_that_cannot_be_filled_is_said_to_be_short(model, study, tmp_path, caplog):
    images, table = study
    plan = plan_augmentation(model, table, decorrelate=BOTH, by="sex")

    def no_men(batch):
        return agrees(batch).assign(**{"sex=Male": 0.0})

    made = augment(model, images, table, plan, check=no_men, output=tmp_path)
    men = made.cells[(made.cells["sex"] == "Male") & (made.cells["needed"] > 0)]
    assert (men["kept"] == 0).all()
    assert (men["short"] == men["needed"]).all()
    assert (men["not_read_back"] == men["candidates"]).all()
    assert len(men)
    assert f"{men['needed'].iloc[0]} radiographs short" in caplog.text
    women = made.cells[made.cells["sex"] == "Female"]
    assert (women["short"] == 0).all()


def test_a_source_that_does_not_come_back_is_passed_over(study, tmp_path):
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Lossy:
        def __getattr__(self, name):
            return getattr(mechanism, name)

        def encode(self, rows):  # phantoms are not drawn from unknown parents
            return mechanism.encode(table[: len(rows)] if rows["sex"].isna().all() else rows)

        def predict(self, noise, parents, **options):
            painted = mechanism.predict(noise, parents, **options)
            lost = torch.isin(noise[:, 0, -1, -1], self.far)
            return torch.where(lost[:, None, None, None], 1 - painted, painted)

    lossy = Lossy()
    lossy.far = mechanism.abduct(images, mechanism.encode(table)[0])[::2, 0, -1, -1]
    model = CounterfactualModel(phantom_scm(), lossy)
    plan = plan_augmentation(model, table, decorrelate=BOTH)
    made = augment(model, images, table, plan, check=agrees, output=tmp_path)
    assert made.cells["not_reconstructed"].sum() > 0
    assert not set(made.table["source_row"]) & set(table.index[::2])
    assert (made.cells["kept"] + made.cells["short"] == made.cells["needed"]).all()


def test_a_predictor_is_a_check_with_its_own_thresholds(model, study, tmp_path):
    images, table = study
    predictor = Predictor("cxr19", ("sex", "view"), size=16, width=8, seed=0)
    predictor.fit(images, table, epochs=1, validation=np.arange(COUNT) < 8)
    plan = plan_augmentation(model, table, balance=("sex", "view"))
    made = augment(model, images, table, plan, check=predictor, output=tmp_path)
    asked = json.loads((tmp_path / "shards.json").read_text())["thresholds"]
    assert asked == {name: predictor.threshold[name] for name in asked}
    scores = predictor.score(made.images)
    for name in scores:
        np.testing.assert_allclose(scores[name], made.table[f"check {name}"], atol=1e-4)
    women = (made.table["sex"] == "Female") & made.table["changed"].str.contains("sex")
    assert (scores["sex"][women] <= predictor.threshold["sex"] + 1e-4).all()


@pytest.mark.parametrize(
    ("check", "options", "error", "says"),
    [
        (3, {}, OptionError, "is a int"),
        (lambda x: x.mean((1, 2, 3)), {}, OptionError, "no check reads 'sex'"),
        ({"sex": lambda x: x.mean((1, 2, 3))}, {}, OptionError, "reads 'pleural_effusion'"),
        (agrees, {"thresholds": {"sex=Mal": 1}}, OptionError, "did you mean 'sex=Male'"),
        (agrees, {"path": "indirect"}, OptionError, "direct, total"),
        (agrees, {"part_size": 0}, ImageError, "part_size"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_painted(
    study, tmp_path, check, options, error, says
):
    images, table = study
    mechanism = PhantomMechanism(SIZE)

    class Idle:
        def __getattr__(self, name):
            assert name not in ("abduct", "predict", "prior")
            return getattr(mechanism, name)

    model = CounterfactualModel(phantom_scm(), Idle())
    plan = plan_augmentation(model, table, balance=BOTH)
    with pytest.raises(error, match=says):
        augment(model, images, table, plan, check=check, output=tmp_path / "a", **options)
    assert not (tmp_path / "a").exists()


def test_one_score_without_a_name_is_the_one_that_is_asked(model, study, tmp_path):
    images, table = study
    plan = plan_augmentation(model, table, balance="sex")
    for number, check in enumerate((lambda x: x.mean((1, 2, 3)) * 0, lambda x: x[:, 0, :1, 0])):
        made = augment(
            model, images, table, plan, check=check, output=tmp_path / str(number), thresholds=-1
        )
        target = plan.cells.loc[plan.cells["needed"] > 0, "sex"].iloc[0]
        assert (made.cells["short"] > 0).any() == (target == "Female")


def test_another_table_than_the_plan_s_is_refused(model, study, tmp_path):
    images, table = study
    plan = plan_augmentation(model, table, balance=BOTH)
    how = {"check": agrees, "output": tmp_path}
    with pytest.raises(TableError, match="has no row"):
        augment(model, images, table.set_axis(range(1000, 1000 + COUNT)), plan, **how)
    with pytest.raises(TableError, match="is of another table: row"):
        augment(model, images, table.set_axis(table.index[::-1]), plan, **how)
    fewer = dataclasses.replace(plan, candidates=plan.candidates[1:])
    with pytest.raises(TableError, match="candidates were changed"):
        augment(model, images, table, fewer, **how)
    with pytest.raises(ImageError, match="39 images stand beside 40 rows"):
        augment(model, images[1:], table, plan, **how)


# --- the folder -----------------------------------------------------------------------------


def written(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}


def picky(batch: torch.Tensor) -> pd.DataFrame:
    return agrees(batch).mul(((batch[:, 0, 9, 9] * 255).round() % 3 > 0).numpy(), axis=0)


def test_what_was_killed_goes_on_and_paints_nothing_twice(model, study, tmp_path):
    images, table = study
    plan = plan_augmentation(model, table, decorrelate=BOTH)
    how = {"part_size": 5}
    augment(model, images, table, plan, check=picky, output=tmp_path / "whole", **how)
    whole, calls = written(tmp_path / "whole"), []

    def dies(batch):
        calls.append(len(batch))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return picky(batch)

    with pytest.raises(KeyboardInterrupt):
        augment(model, images, table, plan, check=dies, output=tmp_path / "again", **how)
    assert not (tmp_path / "again" / "table.parquet").exists()
    with pytest.raises(ImageError, match="not finished"):
        read_augmented(tmp_path / "again")
    there = {p.name for p in (tmp_path / "again").glob("shard-*.tar")}
    assert len(there) == 2  # one call was of the first radiograph, before anything was painted
    (tmp_path / "again" / ".shard-000002.tar.0123").write_bytes(b"half")
    calls.clear()

    def counts(batch):
        calls.append(len(batch))
        return picky(batch)

    augment(model, images, table, plan, check=counts, output=tmp_path / "again", **how)
    shards = [name for name in whole if name.endswith(".tar")]
    assert len(calls) == 1 + len(shards) - len(there)
    assert written(tmp_path / "again") == whole


def test_many_processes_give_the_bytes_of_one(model, study, tmp_path, monkeypatch):
    images, table = study
    plan = plan_augmentation(model, table, decorrelate=BOTH)
    how = {"check": picky, "part_size": 5}
    augment(model, images, table, plan, output=tmp_path / "one", **how)
    monkeypatch.setenv("WORLD_SIZE", "3")

    class Alone(Exception):
        pass

    def nobody(*_):
        raise Alone

    # Each paints its own part of the first round, and then waits for the others.
    monkeypatch.setattr(parts, "_appears", nobody)
    for rank in (2, 1):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.raises(Alone):
            augment(model, images, table, plan, output=tmp_path / "many", **how)
        numbers = {int(p.stem[6:]) % 3 for p in (tmp_path / "many").glob("shard-*.tar")}
        assert numbers == ({2} if rank == 2 else {1, 2})
    # The last one finds theirs; when they do not go on it does what is left.
    monkeypatch.setattr(parts, "_appears", lambda *_: False)
    monkeypatch.setenv("RANK", "0")
    augment(model, images, table, plan, output=tmp_path / "many", **how)
    assert written(tmp_path / "many") == written(tmp_path / "one")
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(OptionError, match="RANK is '3'"):
        augment(model, images, table, plan, output=tmp_path / "many", **how)


def test_a_folder_of_something_else_is_left_alone(model, study, made, tmp_path):
    (images, table), (_, plan, folder) = study, made
    how = {"check": agrees, "output": folder}
    with pytest.raises(OptionError, match="holds other shards \\(part_size: 64, asked 5"):
        augment(model, images, table, plan, part_size=5, **how)
    with pytest.raises(OptionError, match="plan_sha256"):
        augment(model, images, table, plan_augmentation(model, table, balance=BOTH), **how)
    with pytest.raises(ImageError, match="no augmentation"):
        read_augmented(tmp_path / "elsewhere")


def test_a_set_that_is_balanced_already_gets_nothing(model, study, tmp_path):
    images, table = study
    women = (table["sex"] == "Female").to_numpy()
    plan = plan_augmentation(model, table[women], balance="sex")
    rows = torch.from_numpy(np.flatnonzero(women))
    made = augment(model, images[rows], table[women], plan, check=agrees, output=tmp_path)
    assert len(made.table) == len(made.images) == 0
    both, joined = made.joined(images[rows], table[women])
    assert len(both) == len(joined) == women.sum()
