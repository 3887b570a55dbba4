"""Where counterfactual radiographs go wrong, and what the answer says about it.

    python examples/failures.py --output runs/failures

No data are needed: the shipped model samples a patient. Two figures and a table:

1. Radiographs that are none: the negative, the picture on its head, and a ramp of greys. The
   flow abducts noise from them, but does not give them back, so their counterfactuals stand for
   something else. `not_reconstructed` says so, for most of them.
2. Guidance that is too strong: an effusion at growing weights. The finding grows, and with it what
   should have stayed.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.evaluation import image_grid
from cxrcausal.files import atomic_path

DO = {"pleural_effusion": "positive"}
WEIGHTS = (1.0, 2.0, 4.0, 8.0)


def no_radiographs(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Returns the radiograph (1, channel, height, width), and three things that it is not."""
    height, width = image.shape[-2:]
    ramp = torch.linspace(0, 1, width).expand(1, 1, height, width)
    return {
        "radiograph": image,
        "negative": 1 - image,
        "on its head": image.flip(-2),
        "a ramp of greys": ramp,
    }


def main() -> None:
    """Asks the same question of each, and of the radiograph under growing weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="not needed: the model brings a patient")
    parser.add_argument("--output", type=Path, default=Path("runs/failures"))
    parser.add_argument("--model", default="cxr19-small", help="a shipped model or a folder")
    parser.add_argument("--seed", type=int, default=254)
    parser.add_argument("--tiny", action="store_true", help="few steps")
    args = parser.parse_args()
    steps = 2 if args.tiny else None

    model = cx.load_pretrained(args.model)
    image, row = model.sample(1, seed=args.seed)
    shown = no_radiographs(image)
    rows = pd.concat([row.set_axis([name]) for name in shown])
    answer = model.counterfactual(
        torch.cat(list(shown.values())), rows, DO, num_steps=steps, seed=0
    )
    error = (answer.reconstruction - torch.cat(list(shown.values()))).abs().mean(dim=(1, 2, 3))
    table = pd.DataFrame(
        {"round trip error": error.numpy(), "said": list(answer.not_reconstructed)},
        index=list(shown),
    )
    captions = [f"{name}, {e:.3f}" for name, e in zip(shown, error.tolist(), strict=True)]
    figure = image_grid(
        {
            "asked about": torch.cat(list(shown.values())),
            "reconstruction": answer.reconstruction,
            "do(effusion)": answer.images,
        },
        title="Not for diagnosis",
        captions={"asked about": list(shown), "reconstruction": captions},
    )
    with atomic_path(args.output / "not_radiographs.png") as beside:
        figure.savefig(beside, dpi=110, format="png")

    stronger = []
    for weight in WEIGHTS:
        guidance = cx.Guidance("nested", intervened=weight, descendants=1.0, invariant=1.0)
        found = model.counterfactual(image, row, DO, guidance=guidance, num_steps=steps, seed=0)
        stronger.append(found.images)
    changed = [image, *stronger]
    figure = image_grid(
        {
            "image": torch.cat(changed),
            "minus original": torch.cat([0.5 + x - image for x in changed]),
        },
        title="do(effusion) under growing guidance; not for diagnosis",
        captions={"minus original": ["original", *(f"weight {w:g}" for w in WEIGHTS)]},
    )
    with atomic_path(args.output / "guidance.png") as beside:
        figure.savefig(beside, dpi=110, format="png")
    table.to_csv(args.output / "round_trip.csv")
    print(table.round(4).to_string())


if __name__ == "__main__":
    main()
