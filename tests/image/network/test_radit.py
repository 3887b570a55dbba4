import pytest
import torch
from torch.nn import functional as F

import cxrcausal as cx
from cxrcausal.errors import ImageError, RecipeError
from cxrcausal.image import RadiT, list_recipes, load_recipe
from cxrcausal.image.network.registry import build_network

# Published or designed sizes, in millions (0.3B for B and 1.3B for XL in arXiv 2606.19460).
MILLIONS = {
    "radit-tiny": 4.18, "radit-small": 3.49, "radit-s": 97, "radit-b": 332,
    "radit-l": 688, "radit-xl": 1308,
}  # fmt: skip


def attributes():
    graph = cx.load_graph("cxr19")
    return tuple(graph.variables[name] for name in graph.image_parents)


def network(**changes) -> RadiT:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {"size": 16, "patch": 4, "width": 32, "depth": 2, "heads": 2, "hidden": 48,
                    "rank": 4, "embedding": 8} | changes  # fmt: skip
        net = RadiT(attributes(), **settings)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


def inputs(batch: int = 3, size: int = 16, channels: int = 1):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, channels, size, size, generator=generator)
    t = torch.rand(batch, generator=generator)
    parents = torch.zeros(batch, len(attributes()))
    parents[:, 1] = 60.0
    return x, t, parents, torch.ones(batch, len(attributes()), dtype=torch.bool)


@pytest.mark.parametrize("name", MILLIONS)
def test_sizes_as_designed(name):
    assert name in list_recipes()
    with torch.device("meta"):
        net = build_network(load_recipe(name).network, attributes())
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    assert abs(millions / MILLIONS[name] - 1) < 0.01


def test_output_is_zero_before_training():
    with torch.random.fork_rng():
        net = RadiT(attributes(), size=16, patch=4, width=32, depth=1, heads=2, hidden=48, rank=4)
    assert (net(*inputs()) == 0).all()


@pytest.mark.parametrize(
    ("size", "channels", "patch", "bottleneck"), [(16, 1, 4, 0), (24, 3, 8, 16), (8, 4, 2, 0)]
)
def test_any_size_channels_and_patch(size, channels, patch, bottleneck):
    net = network(size=size, channels=channels, patch=patch, bottleneck=bottleneck)
    x, t, parents, keep = inputs(size=size, channels=channels)
    assert net(x, t, parents, keep).shape == x.shape


def test_unknown_null_and_each_level_differ():
    """Five inputs, five outputs: two levels, another age, unknown, and null."""
    net = network()
    x, t, parents, keep = inputs(batch=1)
    seen = [net(x, t, parents, keep)]
    for column, value in ((2, 1.0), (1, 30.0), (2, torch.nan), (1, torch.nan)):
        other = parents.clone()
        other[:, column] = value
        seen.append(net(x, t, other, keep))
    for column in (1, 2):
        without = keep.clone()
        without[:, column] = False
        seen.append(net(x, t, parents, without))
    for i, first in enumerate(seen):
        for second in seen[i + 1 :]:
            assert (first - second).abs().max() > 1e-5


def test_null_hides_the_value():
    """What is null does not reach the output, known or not."""
    net = network()
    x, t, parents, keep = inputs()
    keep[:, 1:3] = False
    other = parents.clone()
    other[:, 1], other[:, 2] = torch.nan, 1.0
    torch.testing.assert_close(net(x, t, parents, keep), net(x, t, other, keep))


def test_patients_do_not_mix():
    net = network()
    batch = inputs(batch=4)
    whole = net(*batch)
    for i in range(4):
        one = net(*(part[i : i + 1] for part in batch))
        torch.testing.assert_close(whole[i : i + 1], one, atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_changes_nothing():
    plain, saving = network(), network(gradient_checkpointing=True)
    gradients = []
    for net in (plain, saving):
        net.train()
        F.mse_loss(net(*inputs()), torch.ones(3, 1, 16, 16)).backward()
        gradients.append(net.blocks[0].attention.qkv.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_every_parameter_learns():
    net = network()
    x, t, parents, keep = inputs(batch=40)
    generator = torch.Generator().manual_seed(0)
    for column, variable in enumerate(attributes()):
        levels = len(variable.levels) or 100
        parents[:, column] = torch.randint(0, levels, (40,), generator=generator).float()
    parents[torch.rand(parents.shape, generator=generator) < 0.2] = torch.nan
    keep = torch.rand(keep.shape[0] * 14, 18, generator=generator)[:40] < 0.8
    net(x, t, parents, keep).square().mean().backward()
    silent = [k for k, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_bfloat16_stays_close():
    net = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(*inputs()).float()
    full = net(*inputs())
    assert (low - full).norm() / full.norm() < 0.05


def test_wrong_shape_is_refused():
    x, t, parents, keep = inputs(size=24)
    with pytest.raises(
        ImageError, match=r"\(3, 1, 24, 24\); this network reads \(batch, 1, 16, 16\)"
    ):
        network()(x, t, parents, keep)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"size": 18}, "size 18 is not a multiple of patch 4"), ({"heads": 3}, "over 3 heads")],
)
def test_impossible_networks_are_refused(changes, words):
    with pytest.raises(RecipeError, match=words):
        network(**changes)
