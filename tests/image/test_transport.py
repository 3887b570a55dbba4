"""What the flow left of the parents in the noise, and what a second map makes of it."""

import copy
import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cxrcausal as cx
from cxrcausal.errors import (
    CheckpointError,
    CxrCausalError,
    GraphError,
    ImageError,
    OptionError,
    TableError,
)
from cxrcausal.graph import Variable
from cxrcausal.image import NoiseTransport, RectifiedFlow, load_image_mechanism
from cxrcausal.image.transport.blocks import BlockWaves
from cxrcausal.image.transport.features import ParentFeatures

VIEW = Variable("view", "nominal", ("PA", "AP", "LATERAL"))
AGE = Variable("age", "continuous", unit="years", bounds=(0.0, 110.0))
SEX = Variable("sex", "binary", ("Female", "Male"))
PARENTS = (AGE, SEX, VIEW)
SHAPE = (1, 16, 16)
DIMENSIONS = math.prod(SHAPE)


def drawn(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard normal noise, and parents of which some are unknown."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, *SHAPE, generator=generator)
    parents = torch.stack(
        [
            torch.randint(20, 90, (rows,), generator=generator).float(),
            torch.randint(0, 2, (rows,), generator=generator).float(),
            torch.randint(0, 2, (rows,), generator=generator).float(),
        ],
        dim=1,
    )
    parents[torch.rand(rows, 3, generator=generator) < 0.1] = torch.nan
    return noise, parents


def mixed(noise: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Noise with a mean that follows age and a scale that follows the view, on paper."""
    age = (parents[:, 0].nan_to_num(55) - 55) / 35
    scale = torch.where(parents[:, 2] == 1, math.exp(0.3), math.exp(-0.3))
    return 0.5 * age[:, None, None, None] + scale[:, None, None, None] * noise


@pytest.fixture(scope="module")
def fitted() -> NoiseTransport:
    noise, parents = drawn(600)
    return NoiseTransport(PARENTS, SHAPE).fit(mixed(noise, parents), parents, range(600))


def test_it_is_exactly_invertible(fitted):
    noise, parents = drawn(50, seed=1)
    assert len(fitted.blocks) >= 1
    u = 3 * noise
    torch.testing.assert_close(
        fitted.predict(fitted.abduct(u, parents), parents), u, atol=2e-6, rtol=0
    )
    torch.testing.assert_close(
        fitted.abduct(fitted.predict(u, parents), parents), u, atol=2e-6, rtol=0
    )
    assert (fitted.abduct(u, parents) - u).abs().max() > 0.1


def test_a_row_is_a_row_whoever_else_is_in_the_batch(fitted):
    noise, parents = drawn(20, seed=1)
    alone = [fitted.abduct(noise[i : i + 1], parents[i : i + 1]) for i in range(20)]
    torch.testing.assert_close(fitted.abduct(noise, parents), torch.cat(alone), rtol=0, atol=1e-6)
    assert fitted.abduct(noise[:0], parents[:0]).shape == (0, *SHAPE)


def test_the_log_determinant_is_that_of_its_jacobian():
    """Against automatic differentiation, in an image small enough for the whole matrix."""
    view = (VIEW,)
    parents = (torch.arange(200) % 2).float()[:, None]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 1, 4, 4, generator=generator) * (1 + parents[..., None, None])
    transport = NoiseTransport(view, (1, 4, 4))
    transport.fit(noise, parents, range(200), layers=[("cosine", 2, 0), ("oriented", 4, 2)])
    assert len(transport.blocks) >= 1
    for row in (0, 1):
        pa = parents[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(
            lambda z, pa=pa: transport.predict(z.view(1, 1, 4, 4), pa).flatten(),
            noise[row].flatten(),
        )
        expected = torch.linalg.slogdet(jacobian.double()).logabsdet
        found = transport.log_abs_det(pa)[0].double()
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_nats_are_differences_of_log_densities(fitted):
    noise, parents = drawn(20, seed=2)
    u = mixed(noise, parents)
    normal = torch.distributions.Normal(0.0, 1.0)
    z = fitted.abduct(u, parents)
    density = normal.log_prob(z).flatten(1).sum(dim=1) - fitted.log_abs_det(parents)
    expected = density - normal.log_prob(u).flatten(1).sum(dim=1)
    torch.testing.assert_close(fitted.nats(u, parents), expected, atol=2e-3, rtol=1e-5)


def test_a_gaussian_given_its_parents_is_found():
    """Mean and scale are known on paper, and so is the gain: the KL divergence from N(0, I)."""
    noise, parents = drawn(3000)
    u = mixed(noise, parents)
    transport = NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(3000))
    fresh, parents = drawn(2000, seed=1)
    u = mixed(fresh, parents)
    age = (parents[:, 0].nan_to_num(55) - 55) / 35
    log_scale = torch.where(parents[:, 2] == 1, 0.3, -0.3)
    paper = DIMENSIONS * (0.25 * age**2 + (2 * log_scale).exp() - 1 - 2 * log_scale) / 2
    gain = transport.gain(u, parents, range(2000))
    assert gain.value == pytest.approx(float(paper.mean()), rel=0.06)
    assert gain.low < transport.record.nats < gain.high
    z = transport.abduct(u, parents)
    assert (z - fresh).abs().mean() < 0.05
    assert abs(float(z.flatten(1).mean(dim=1) @ age) / 2000) < 0.01
    for level in (0, 1):
        assert float(z[parents[:, 2] == level].std()) == pytest.approx(1, abs=0.02)


def test_what_depends_on_no_parent_gains_nothing():
    """White noise: no factor on the penalties gains, and the transport is the identity."""
    noise, parents = drawn(300)
    transport = NoiseTransport(PARENTS, SHAPE).fit(noise, parents, range(300))
    assert abs(transport.record.nats) < 1
    z = transport.abduct(noise, parents)
    assert (z - noise).abs().mean() < 0.05


def test_infinite_shrinkage_is_the_identity_to_the_last_bit():
    noise, parents = drawn(100)
    u = mixed(noise, parents)
    transport = NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(100), shrinkage=math.inf)
    assert torch.equal(transport.abduct(u, parents), u)
    assert torch.equal(transport.predict(u, parents), u)
    assert not transport.log_abs_det(parents).any()
    assert transport.record.nats == 0
    assert transport.record.low is None


def test_more_shrinkage_moves_less():
    noise, parents = drawn(200)
    u = mixed(noise, parents)
    moved = [
        float((NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(200), shrinkage=s)
               .abduct(u, parents) - u).square().mean())
        for s in (1.0, 1e3, 1e9)
    ]  # fmt: skip
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 1e-6


def test_a_fit_is_a_function_of_its_seed(fitted):
    noise, parents = drawn(600)
    u = mixed(noise, parents)
    state = torch.random.get_rng_state()
    again = NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(600))
    assert torch.equal(again.mean, fitted.mean)
    assert torch.equal(again.log_scale, fitted.log_scale)
    assert again.record == fitted.record
    other = NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(600), seed=1)
    assert other.record.nats != fitted.record.nats
    assert torch.equal(torch.random.get_rng_state(), state)


def test_patients_are_left_out_whole():
    """Ten radiographs of each patient, all alike: by radiograph each would predict the others."""
    generator = torch.Generator().manual_seed(0)
    each = torch.randn(30, *SHAPE, generator=generator).repeat_interleave(10, dim=0)
    parents = torch.arange(30.0).repeat_interleave(10)[:, None] * 3
    whole = NoiseTransport((AGE,), SHAPE).fit(each, parents, np.arange(30).repeat(10))
    split = NoiseTransport((AGE,), SHAPE).fit(each, parents, range(300))
    assert whole.record.nats < 2 < split.record.nats
    assert whole.record.patients == 30


def test_unknown_is_a_level_where_it_was_one():
    """Where radiographs of unknown sex are brighter, an unknown sex says so."""
    noise, parents = drawn(900)
    u = noise + parents[:, 1].isnan().float()[:, None, None, None]
    transport = NoiseTransport(PARENTS, SHAPE).fit(u, parents, range(900))
    row = torch.tensor([[50.0, torch.nan, 0.0], [50.0, 1.0, 0.0]])
    bright = transport.predict(torch.zeros(2, *SHAPE), row).mean(dim=(1, 2, 3))
    assert bright[0] == pytest.approx(1, abs=0.1)
    assert bright[1] == pytest.approx(0, abs=0.1)


def test_what_the_fit_never_observed_has_no_effect():
    """A parent unknown throughout, and a value that did not occur, move nothing."""
    noise, parents = drawn(600)
    parents[:, 1] = torch.nan
    parents[:, 2] = parents[:, 2].nan_to_num(0)
    transport = NoiseTransport(PARENTS, SHAPE).fit(mixed(noise, parents), parents, range(600))
    names = [f.variable.name for f in transport.features]
    assert names == ["age", "view"]
    rows = torch.tensor([[60.0, torch.nan, 0.0], [60.0, 0.0, 0.0], [60.0, 1.0, 0.0]])
    z = noise[:1].expand(3, *SHAPE)
    u = transport.predict(z, rows)
    assert torch.equal(u[0], u[1])
    assert torch.equal(u[0], u[2])
    lateral, unknown, pa, ap = transport._design(
        torch.tensor([[60, 0, 2], [60, 0, torch.nan], [60, 0, 0], [60, 0, 1]], dtype=torch.float32)
    )[:, -2:]
    assert not lateral.any()
    assert not unknown.any()
    share = float((parents[:, 2] == 1).float().mean())
    torch.testing.assert_close(pa * (1 - share) + ap * share, torch.zeros(2), atol=1e-6, rtol=0)


def test_an_age_beyond_those_observed_is_the_oldest():
    features = ParentFeatures.of(AGE, torch.tensor([20.0, 50.0, 80.0]))
    assert torch.equal(features(torch.tensor([80.0])), features(torch.tensor([109.0])))
    assert not features(torch.tensor([torch.nan])).any()


def test_blocks_are_orthonormal_wherever_they_start():
    x = torch.randn(3, 2, 8, 16, generator=torch.Generator().manual_seed(0)).double()
    for kind, offset in itertools.product(("cosine", "oriented"), (0, 2)):
        blocks = BlockWaves((2, 8, 16), kind, 4, offset)
        c = blocks.forward(x)
        assert c.shape == (3, 2, 2, 4, 4, 4)
        torch.testing.assert_close(c.square().sum(), x.square().sum())
        torch.testing.assert_close(blocks.inverse(c), x)
    torch.testing.assert_close(blocks.unwaves(blocks.waves(c)), c)
    constant = BlockWaves((2, 8, 16), "cosine", 4).forward(torch.ones(1, 2, 8, 16))
    torch.testing.assert_close(constant[..., 0, 0], torch.full((1, 2, 2, 4), 4.0))
    assert constant[..., 1:, :].abs().max() < 1e-6
    assert blocks.rings().min() == 0


def test_oriented_waves_tell_a_wave_from_its_mirror_image():
    """Cosines of blocks give both the same power, coefficient by coefficient."""
    row, column = torch.meshgrid(*[torch.arange(8.0)] * 2, indexing="ij")
    wave = (2 * math.pi * (row + column) / 8).cos()[None, None]
    for kind, same in (("cosine", True), ("oriented", False)):
        blocks = BlockWaves((1, 8, 8), kind, 8)
        power = [blocks.forward(x).square() for x in (wave, wave.flip(-1))]
        assert torch.allclose(*power, atol=1e-4) is same


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"noise": torch.zeros(0, *SHAPE), "parents": torch.zeros(0, 3)}, ImageError, "no noise"),
        ({"noise": torch.zeros(10, 1, 8, 8)}, ImageError, r"\(10, 1, 8, 8\); this transport"),
        ({"noise": torch.zeros(10, *SHAPE, dtype=torch.int64)}, ImageError, "is torch.int64"),
        ({"noise": torch.full((10, *SHAPE), torch.nan)}, ImageError, "row 0 .* is not finite"),
        ({"parents": torch.zeros(10, 2)}, TableError, r"parents have shape \(10, 2\).*\(10, 3\)"),
        ({"parents": torch.zeros(9, 3)}, TableError, r"parents have shape \(9, 3\)"),
        ({"parents": torch.zeros(10, 3)}, TableError, "no parent varies"),
        ({"patients": range(9)}, TableError, "9 patients for 10 rows"),
        ({"patients": [*range(9), None]}, TableError, "row 9 .* has no patient"),
        ({"patients": [1] * 10}, TableError, "1 patients cannot be dealt into 4 folds"),
        ({"shrinkage": -1.0}, OptionError, "shrinkage is -1.0"),
        ({"shrinkage": math.nan}, OptionError, "shrinkage is nan"),
        ({"folds": 1}, OptionError, "1 folds leave nobody out"),
        ({"seed": "a"}, OptionError, "a seed is a whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(change, error, words):
    noise, parents = drawn(10)
    asked = {"noise": noise, "parents": parents, "patients": range(10)} | change
    transport = NoiseTransport(PARENTS, SHAPE)
    with pytest.raises(error, match=words):
        transport.fit(**asked)
    assert transport.record is None
    assert torch.equal(transport.abduct(noise, parents), noise)


def test_shapes_are_checked_when_it_is_asked(fitted):
    noise, parents = drawn(4)
    for ask in (fitted.abduct, fitted.predict, fitted.nats):
        with pytest.raises(ImageError, match="this transport reads"):
            ask(noise[..., :8], parents)
        with pytest.raises(TableError, match="parents have shape"):
            ask(noise, parents[:, :2])
    with pytest.raises(ImageError, match="no whole blocks of side 5"):
        fitted.fit(noise, parents, range(4), layers=[("cosine", 5, 0)])


def test_without_parents_it_depends_on_none():
    noise, _ = drawn(200)
    nobody = torch.zeros(200, 0)
    transport = NoiseTransport((), SHAPE).fit(1.5 * noise, nobody, range(200))
    paper = DIMENSIONS * (1.5**2 - 1 - 2 * math.log(1.5)) / 2
    assert transport.record.nats == pytest.approx(paper, rel=0.05)
    assert "reads no parent" in repr(transport)


def test_it_is_described_and_built_again(fitted):
    raw = json.loads(json.dumps(fitted.to_dict(), allow_nan=False))
    again = NoiseTransport.from_dict(PARENTS, SHAPE, raw)
    again.load_state_dict(fitted.state_dict())
    noise, parents = drawn(10)
    assert torch.equal(again.abduct(noise, parents), fitted.abduct(noise, parents))
    assert again.to_dict() == raw or json.loads(json.dumps(again.to_dict())) == raw
    assert "nats" in repr(again)
    double = copy.deepcopy(fitted).double()
    torch.testing.assert_close(
        double.abduct(noise.double(), parents).float(), fitted.abduct(noise, parents)
    )


anything = st.recursive(
    st.none() | st.integers(-3, 20) | st.floats() | st.text(max_size=4) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_damaged_description_is_an_error_of_ours(fitted, data):
    """Whatever stands where something else stood, nothing but a typed error comes of it."""
    raw = json.loads(json.dumps(fitted.to_dict()))
    place = data.draw(st.sampled_from([
        (), ("layers",), ("parents",), ("fit",), ("parents", "sex"),
        ("parents", "sex", "observed"), ("parents", "age", "observed"),
        ("parents", "sex", "centre"), ("fit", "shrinkage"), ("fit", "nats"),
        ("fit", "layers"), ("fit", "low"),
    ]))  # fmt: skip
    value = data.draw(anything)
    if place:
        at = raw
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = value
    else:
        raw = value
    try:
        built = NoiseTransport.from_dict(PARENTS, SHAPE, raw)
    except CxrCausalError:
        return
    assert built.mean.shape[0] == len(built.blocks)
    repr(built)


def test_a_parent_that_the_graph_does_not_have_is_named(fitted):
    raw = fitted.to_dict()
    raw["parents"]["sexx"] = raw["parents"].pop("sex")
    with pytest.raises(CheckpointError, match=r"'sexx', which is no parent.*mean 'sex'"):
        NoiseTransport.from_dict(PARENTS, SHAPE, raw)
    raw = fitted.to_dict()
    raw["parents"]["sex"] = {"observed": ["Fem"], "centre": [0.5]}
    with pytest.raises(GraphError, match=r"'Fem'\] of 'sex'; allowed: some of 'Female', 'Male'"):
        NoiseTransport.from_dict(PARENTS, SHAPE, raw)


@pytest.fixture(scope="module")
def of_sex(random_flow: RectifiedFlow, patients: pd.DataFrame) -> NoiseTransport:
    """A transport by which sex changes mean and scale of the noise."""
    flow, many = random_flow, patients.iloc[np.arange(240) % len(patients)]
    parents = flow.encode(many)[0]
    noise = torch.randn(240, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    male = parents[:, flow.graph.image_parents.index("sex")][:, None, None, None]
    transport = NoiseTransport(flow.attributes, flow.image_shape)
    return transport.fit((1 + 0.5 * male) * noise + 0.5 * male, parents, range(240))


@pytest.fixture
def moved(flow: RectifiedFlow, of_sex: NoiseTransport) -> RectifiedFlow:
    """A mechanism with that transport, for a test to change."""
    flow.transport = copy.deepcopy(of_sex)
    return flow


def test_the_mechanism_is_the_flow_of_the_transport(moved, radiographs, patients):
    """`abduct` undoes the flow and then T; `predict` applies T once and then the flow."""
    transport, parents = moved.transport, moved.encode(patients)[0]
    z = moved.abduct(radiographs, parents)
    other = patients.assign(sex=patients["sex"].cat.rename_categories(["Male", "Female"]))
    changed = moved.encode(other)[0]
    painted = moved.predict(z, changed)
    moved.transport = None
    u = moved.abduct(radiographs, parents)
    torch.testing.assert_close(z, transport.abduct(u, parents))
    torch.testing.assert_close(painted, moved.predict(transport.predict(z, changed), changed))
    assert (painted - moved.predict(u, changed)).abs().mean() > 1e-3


def test_nothing_set_changes_nothing(moved, radiographs, patients):
    """T is undone and applied for the same parents: only the flow's round trip is left."""
    parents = moved.encode(patients)[0]
    with_it = moved.predict(moved.abduct(radiographs, parents), parents)
    moved.transport = None
    without = moved.predict(moved.abduct(radiographs, parents), parents)
    torch.testing.assert_close(with_it, without, atol=1e-5, rtol=0)


def test_guidance_never_reaches_the_transport(moved, radiographs, patients):
    """Guided and unguided paintings start from the same T of the same parents."""
    parents = moved.encode(patients)[0]
    column = moved.graph.image_parents.index("sex")
    other = parents.clone()
    other[:, column] = 1 - other[:, column]
    was_set = torch.zeros_like(parents, dtype=torch.bool)
    was_set[:, column] = True
    groups = cx.image.Groups(was_set, torch.zeros_like(was_set), ~was_set)
    guided = {"guidance": cx.Guidance("nested", 3.0), "groups": groups}
    z = moved.abduct(radiographs, parents)
    found = moved.predict(z, other, **guided)
    transport, moved.transport = moved.transport, None
    torch.testing.assert_close(
        found, moved.predict(transport.predict(z, other), other, **guided), atol=1e-6, rtol=1e-5
    )


def test_saved_and_loaded_with_the_mechanism(moved, radiographs, patients, tmp_path):
    parents = moved.encode(patients)[0]
    moved.save(tmp_path)
    loaded = load_image_mechanism(tmp_path, moved.graph)
    assert torch.equal(loaded.abduct(radiographs, parents), moved.abduct(radiographs, parents))
    assert loaded.transport.record.nats == moved.transport.record.nats
    assert loaded.transport.record.shrinkage == moved.transport.record.shrinkage
    assert "layers, reads" in loaded.describe()["transport"]
    moved.save(tmp_path, dtype=torch.float16)
    half = load_image_mechanism(tmp_path)
    z = half.abduct(radiographs, parents)
    torch.testing.assert_close(
        half.predict(z, parents), moved.predict(z, parents), atol=2e-2, rtol=0
    )
    moved.transport = None
    moved.save(tmp_path)
    assert load_image_mechanism(tmp_path).transport is None
    assert "transport" not in load_image_mechanism(tmp_path).describe()


def edit(folder, change):
    record = json.loads((folder / "image.json").read_text())
    change(record)
    (folder / "image.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.pop("transport"), r"not fit its recipe; at fault: 'transport\.log_scale"),
        (lambda r: r.update(transport=5), r"key 'transport' is 5; expected dict"),
        (lambda r: r["transport"].pop("layers"), r"image\.json .*key 'layers' is missing"),
        (lambda r: r["transport"].update(layers=[["cosine", 5, 0]]), r"json .*no whole blocks"),
        (lambda r: r["transport"].update(layers=[["wave", 4, 0]]), r"blocks of 'wave' waves"),
        (lambda r: r["transport"]["layers"].pop(), r"at fault: 'transport\."),
        (lambda r: r["transport"]["parents"].pop("sex"), r"at fault: 'transport\."),
        (lambda r: r["transport"]["fit"].pop("nats"), r"key 'nats' is missing"),
    ],
)  # fmt: skip
def test_a_damaged_transport_is_refused(moved, tmp_path, change, words):
    moved.save(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        load_image_mechanism(tmp_path)


def test_a_transport_of_other_noise_is_refused(small_recipe, flow):
    for other in (
        NoiseTransport(flow.attributes, (1, 8, 8)),
        NoiseTransport(flow.attributes[:3], (1, 16, 16)),
    ):
        with pytest.raises(ImageError, match="the transport is of noise"):
            RectifiedFlow(flow.graph, small_recipe, flow.observed, other)


def test_it_is_fitted_in_one_call(flow, radiographs, patients):
    parents = flow.encode(patients)[0]
    u = flow.abduct(radiographs, parents)
    assert flow.fit_transport(radiographs, parents, patients.index) is flow
    assert flow.transport.record.patients == len(patients)
    z = flow.abduct(radiographs, parents)
    torch.testing.assert_close(z, flow.transport.abduct(u, parents))
    kept = flow.transport
    with pytest.raises(TableError, match="patients"):
        flow.fit_transport(radiographs, parents, ["one"] * len(patients))
    assert flow.transport is kept
    again = flow.fit_transport(radiographs, parents, patients.index).transport
    assert torch.equal(again.mean, kept.mean)


def test_the_joint_answer_uses_it_on_both_ends(moved, radiographs, patients):
    """Noise in the answer is z; a null intervention is the flow's own round trip."""
    scm = cx.load_pretrained("cxr19-tiny").scm
    model = cx.CounterfactualModel(scm, moved)
    out = model.counterfactual(radiographs, patients, do={"sex": "Male"}, seed=0, guidance=None)
    parents = moved.encode(patients)[0]
    torch.testing.assert_close(out.noise, moved.abduct(radiographs, parents))
    was_male = torch.tensor((patients["sex"] == "Male").to_numpy())
    torch.testing.assert_close(
        out.images[was_male], out.reconstruction[was_male], atol=1e-5, rtol=0
    )
    changed = moved.encode(out.table)[0]
    torch.testing.assert_close(
        out.images[~was_male], moved.predict(out.noise, changed)[~was_male], atol=1e-5, rtol=0
    )
