"""Trains RadiT on real radiographs: the script that made the shipped default `cxr19-tiny`.

    python examples/train_radit.py --data FOLDER --output runs/radit-tiny

FOLDER holds `cxr-real/` and `cxr-real-64/`, each an `images.csv` beside its images. Radiographs of
NIH alone are used, those of test patients left out; a few validation patients serve the held-out
loss. A run that is stopped goes on from its last saved state. `--tiny` shows that all of it works
in seconds.
"""

import argparse
import dataclasses
import datetime
import logging
from pathlib import Path

import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient
from cxrcausal.device import resolve_device
from cxrcausal.image import RectifiedFlow, Trainer, load_recipe, save_image_mechanism


def read_radiographs(
    data: Path, size: int, limit: int | None = None
) -> tuple[torch.Tensor, pd.DataFrame]:
    """Returns NIH's radiographs (images, 1, size, size) in [0, 1] and their metadata, row by
    row.
    """
    lists = [data / "cxr-real" / "images.csv", data / "cxr-real-64" / "images.csv"]
    table = pd.concat(
        [cx.read_table(path, source="image_list") for path in lists if path.exists()],
        ignore_index=True,
    )
    table = table[table["dataset"] == "NIH"].reset_index(drop=True)
    if limit is not None:
        table = table.head(limit)
    return read_images(table["image"], size=size), table


def main() -> None:
    """Reads the radiographs, trains, and saves the averaged weights in half precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of cxr-real and cxr-real-64"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/radit-tiny"))
    parser.add_argument("--recipe", default="radit-tiny", help="a recipe's name or file")
    parser.add_argument("--num-images", type=int, help="instead of the recipe's")
    parser.add_argument("--steps", type=int, help="stop after that many further steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:0")
    parser.add_argument("--compile", action="store_true", help="compile the network first")
    parser.add_argument(
        "--tiny", action="store_true", help="few radiographs, few steps, a small network"
    )
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    recipe = load_recipe(args.recipe)
    if args.num_images:
        training = dataclasses.replace(recipe.training, num_images=args.num_images)
        recipe = dataclasses.replace(recipe, training=training)
    if args.tiny:
        network = dataclasses.replace(
            recipe.network, width=32, depth=2, heads=2, hidden=64, rank=4
        )
        training = dataclasses.replace(
            recipe.training, num_images=400, batch_size=8, warmup_steps=5
        )
        recipe = dataclasses.replace(recipe, network=network, training=training)

    images, table = read_radiographs(
        args.data, recipe.network.size, limit=96 if args.tiny else None
    )
    part = split_by_patient(table, validation=(0.36, 0.39))
    train, held_out = part == "train", part == "validation"
    logging.info("%d radiographs to train on, %d held out", train.sum(), held_out.sum())

    torch.manual_seed(recipe.training.seed)  # the network's first weights
    trainer = Trainer(
        RectifiedFlow(cx.load_graph(recipe.graph), recipe).to(resolve_device(args.device)),
        images[torch.tensor(train.to_numpy())],
        table[train],
        args.output,
        held_out=(images[torch.tensor(held_out.to_numpy())], table[held_out]),
        compile=args.compile,
    )
    mechanism = trainer.run(num_steps=args.steps)
    training = {
        "images_shown": trainer.step * recipe.training.batch_size,
        "radiographs": int(train.sum()),
        "images_fingerprint": trainer.fingerprint,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
    }
    save_image_mechanism(mechanism, args.output, training=training, dtype=torch.float16)
    logging.info("saved %s", args.output)


if __name__ == "__main__":
    main()
