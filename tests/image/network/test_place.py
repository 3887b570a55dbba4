"""Maps over the patches that the condition mixes, and the affine part of the velocity."""

import pytest
import torch
from torch.nn import functional as F

import cxrcausal as cx
from cxrcausal.image.network.place import AffineVelocity, PlaceMaps, cosine_basis
from cxrcausal.image.network.radit import RadiT


def attributes():
    graph = cx.load_graph("cxr19")
    return tuple(graph.variables[name] for name in graph.image_parents)


def test_the_cosine_basis_is_orthonormal_and_its_first_row_is_the_mean():
    basis = cosine_basis(8)
    assert torch.allclose(basis @ basis.T, torch.eye(64), atol=1e-6)
    assert torch.allclose(basis[0], torch.full((64,), 1 / 8), atol=1e-7)


def test_a_smooth_patch_lies_in_the_first_frequencies():
    ramp = torch.linspace(0, 1, 8).repeat(8, 1).flatten()
    power = (cosine_basis(8) @ ramp).square()
    assert power[:2].sum() > 0.98 * power.sum()
    assert power[8:].sum() < 1e-8


def test_maps_are_zero_before_training_and_linear_in_the_condition():
    maps = PlaceMaps(6, 3, 4, 5)
    a, b = torch.randn(2, 6), torch.randn(2, 6)
    assert (maps(a) == 0).all()
    torch.nn.init.normal_(maps.mixture.weight)
    assert torch.allclose(maps(a + b), maps(a) + maps(b), atol=1e-5)


def test_the_gaussian_flow_is_one_setting_of_the_affine_velocity():
    """Mean m and deviation s per frequency and patch: its velocity at one time, exactly."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(4, 64, generator=generator)
    std = torch.rand(4, 64, generator=generator) + 0.2
    t = torch.tensor(0.7)
    gain = (t * std**2 - (1 - t)) / (t**2 * std**2 + (1 - t) ** 2)
    affine = AffineVelocity(1, 1, 4, 1, 8)
    with torch.no_grad():
        affine.places.maps[0] = torch.cat([mean - gain * t * mean, gain], dim=-1)
        affine.places.mixture.weight[:] = 1.0
    x_t = torch.randn(3, 4, 64, generator=generator)
    basis = cosine_basis(8)
    expected = (mean + gain * (x_t @ basis.T - t * mean)) @ basis
    assert torch.allclose(affine(x_t, torch.ones(3, 1)), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_with_maps_is_zero_before_training_and_reaches_every_map_by_a_gradient(
    channels,
):
    net = RadiT(
        attributes(), size=16, channels=channels, patch=4, width=32, depth=1, heads=2, hidden=48,
        rank=4, place_rank=2,
    )  # fmt: skip
    x, t = torch.randn(3, channels, 16, 16), torch.rand(3)
    parents = torch.zeros(3, len(attributes()))
    keep = torch.ones_like(parents, dtype=torch.bool)
    out = net(x, t, parents, keep)
    assert (out == 0).all()
    F.mse_loss(out, torch.randn_like(out)).backward()
    assert net.affine.places.mixture.weight.grad.abs().sum() > 0
    assert net.affine.everywhere.weight.grad.abs().sum() > 0
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    net.zero_grad()
    F.mse_loss(net(x, t, parents, keep), torch.randn_like(x)).backward()
    for name, parameter in net.named_parameters():
        if name.startswith(("places.", "affine.")):
            assert parameter.grad.abs().sum() > 0, name


def test_a_parent_acts_at_one_place_alone_where_its_map_says_so():
    net = RadiT(
        attributes(), size=16, patch=8, width=32, depth=1, heads=2, hidden=48, rank=4, place_rank=1
    )
    with torch.no_grad():
        net.affine.places.maps.zero_()
        net.affine.places.maps[0, 3, :64] = 1.0  # the last patch's mean
        net.affine.places.mixture.weight.normal_()
    x, t = torch.randn(1, 1, 16, 16), torch.full((1,), 0.5)
    parents = torch.zeros(1, len(attributes()))
    keep = torch.ones_like(parents, dtype=torch.bool)
    other = parents.clone()
    other[:, -1] = 1
    change = (net(x, t, other, keep) - net(x, t, parents, keep)).abs()[0, 0]
    assert change[8:, 8:].min() > 0
    assert change[:8].max() == 0
    assert change[8:, :8].max() == 0
