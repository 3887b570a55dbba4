"""Trains RadiT on real radiographs: the script that makes the shipped image models.

    python examples/train_radit.py --data FOLDER --recipe radit-tiny --output runs/radit-tiny

FOLDER holds image lists, `cxr-real/`, `cxr-real-128/` and `cxr-real-64/`, those that there are,
each an `images.csv` beside its images. Radiographs of NIH alone are used, each once, those of test
patients left out; a few validation patients serve the held-out loss. A run that is stopped goes on
from its last saved state; `cxrcausal train` does the same from the command line, with samples.
`--tiny` shows that all of it works in seconds.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import pandas as pd

from cxrcausal.data import read_image_lists
from cxrcausal.image import ImageRecipe, load_recipe
from cxrcausal.pretrained import pretrained_folder
from cxrcausal.pretraining import train_image_model


def read_radiographs(data: Path, size: int, limit: int | None = None) -> pd.DataFrame:
    """Returns the table of NIH's radiographs that are at least `size` pixels wide."""
    widths = {"cxr-real": 256, "cxr-real-128": 128, "cxr-real-64": 64}
    lists = [data / name / "images.csv" for name, width in widths.items() if width >= size]
    table = read_image_lists([path for path in lists if path.exists()], dataset="NIH")
    return table if limit is None else table.head(limit)


def smaller(recipe: ImageRecipe) -> ImageRecipe:
    """Returns the recipe with a network and a training of seconds."""
    network = dataclasses.replace(recipe.network, width=32, depth=2, heads=2, hidden=64, rank=4)
    training = dataclasses.replace(recipe.training, num_images=400, batch_size=8, warmup_steps=5)
    return dataclasses.replace(recipe, network=network, training=training)


def main() -> None:
    """Reads the radiographs, trains, and saves the averaged weights in half precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the image lists")
    parser.add_argument("--output", type=Path, default=Path("runs/radit-tiny"))
    parser.add_argument("--recipe", default="radit-tiny", help="a recipe's name or file")
    parser.add_argument("--num-images", type=int, help="instead of the recipe's")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes of steps")
    parser.add_argument("--start", help="begin from this model's weights: a name or a folder")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument("--tiny", action="store_true", help="few radiographs, a small network")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    recipe = load_recipe(args.recipe)
    if args.num_images:
        training = dataclasses.replace(recipe.training, num_images=args.num_images)
        recipe = dataclasses.replace(recipe, training=training)
    if args.tiny:
        recipe = smaller(recipe)
    train_image_model(
        recipe,
        read_radiographs(args.data, recipe.image_size, limit=96 if args.tiny else None),
        args.output,
        minutes=args.minutes,
        device=args.device,
        compile=args.compile,
        start=None if args.start is None else pretrained_folder(args.start),
        save_every=250,
    )


if __name__ == "__main__":
    main()
