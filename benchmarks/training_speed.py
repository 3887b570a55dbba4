"""Training images per second of RadiT beside a plain DiT of equal width, depth and tokens, in one
run.

    python benchmarks/training_speed.py [--recipe radit-tiny] [--device cpu] [--compile]

The plain DiT is the published one (Peebles and Xie, 2023): LayerNorm, a GELU layer of four widths,
learned positions, a full modulation map per block, and one embedding of the time and a label. Both
are trained on the same random batches; rounds alternate, and the ratio is taken within each round.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

import cxrcausal as cx
from cxrcausal.image import load_recipe
from cxrcausal.image.network.registry import build_network


class PlainBlock(nn.Module):
    """A DiT block with its own full modulation map."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm_2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.heads = heads

    def forward(self, x, condition):
        """Returns the tokens, attended and transformed."""
        b, n, width = x.shape
        s1, c1, g1, s2, c2, g2 = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        y = self.qkv(self.norm_1(x) * (1 + c1) + s1)
        q, k, v = y.view(b, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, width)
        x = x + g1 * self.out(y)
        return x + g2 * self.feed(self.norm_2(x) * (1 + c2) + s2)


class PlainDiT(nn.Module):
    """A DiT over the patches of a square image, conditioned on time and one label."""

    def __init__(self, size, channels, patch, width, depth, heads):
        super().__init__()
        self.patch = patch
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(torch.zeros(1, (size // patch) ** 2, width))
        self.label = nn.Embedding(1001, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(PlainBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.final = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.out = nn.Linear(width, channels * patch * patch)

    def forward(self, x, t, label):
        """Returns the velocity."""
        angle = t[:, None] * torch.exp(-torch.arange(128, device=t.device) / 14)
        condition = self.time(torch.cat([angle.cos(), angle.sin()], 1)) + self.label(label)
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.final(condition).unsqueeze(1).chunk(2, dim=-1)
        tokens = self.out(self.norm(tokens) * (1 + scale) + shift)
        return F.fold(
            tokens.transpose(1, 2), x.shape[2:], kernel_size=self.patch, stride=self.patch
        )


def parameters(net):
    """Returns the number of parameters in millions."""
    return sum(p.numel() for p in net.parameters()) / 1e6


def main():
    """Prints one JSON line per round and a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="radit-tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()

    recipe = load_recipe(args.recipe).network
    graph = cx.load_graph("cxr19")
    attributes = tuple(graph.variables[name] for name in graph.image_parents)
    shape = (args.batch_size, recipe.channels, recipe.size, recipe.size)
    x = torch.randn(shape, device=args.device)
    t = torch.rand(len(x), device=args.device)
    parents = torch.zeros(len(x), len(attributes), device=args.device)
    keep = torch.ones_like(parents, dtype=torch.bool)
    label = torch.zeros(len(x), dtype=torch.long, device=args.device)
    nets = {
        "RadiT": (build_network(recipe, attributes), (x, t, parents, keep)),
        "plain DiT": (
            PlainDiT(
                recipe.size,
                recipe.channels,
                recipe.patch,
                recipe.width,
                recipe.depth,
                recipe.heads,
            ),
            (x, t, label),
        ),
    }
    size = {name: parameters(net) for name, (net, _) in nets.items()}
    runs = {}
    for name, (net, inputs) in nets.items():
        net = net.to(args.device)
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=True)
        runs[name] = (torch.compile(net) if args.compile else net, optimiser, inputs)

    def images_per_second(name, steps):
        net, optimiser, inputs = runs[name]
        start = time.perf_counter()
        for _ in range(steps):
            F.mse_loss(net(*inputs), x).backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if args.device != "cpu":
            torch.cuda.synchronize()
        return steps * len(x) / (time.perf_counter() - start)

    for name in runs:
        images_per_second(name, 3)
    rates = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name in runs:
            rates[name].append(images_per_second(name, args.steps))
    ratios = [a / b for a, b in zip(rates["RadiT"], rates["plain DiT"], strict=True)]
    print(
        json.dumps(
            {
                "recipe": args.recipe,
                "device": args.device,
                "threads": torch.get_num_threads(),
                "compile": args.compile,
                "million_parameters": {k: round(v, 2) for k, v in size.items()},
                "images_per_s": {k: round(statistics.median(v), 1) for k, v in rates.items()},
                "ratio_median": round(statistics.median(ratios), 3),
                "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
