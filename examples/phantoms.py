"""What every variable does to a phantom: the true counterfactual, beside the factual image.

    python examples/phantoms.py --output runs/phantoms

No data are needed. Two phantom patients, one from behind and one from the side, under an
intervention on each variable of the image alone, with the difference below; and a page of samples.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from cxrcausal.data import phantom
from cxrcausal.evaluation import counterfactual_grid, image_grid

COLUMNS = 6


def main() -> None:
    """Draws the samples, then every variable, a few to a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="not needed: phantoms are drawn")
    parser.add_argument("--output", type=Path, default=Path("runs/phantoms"))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--tiny", action="store_true", help="small images")
    args = parser.parse_args()
    size = 32 if args.tiny else args.size
    args.output.mkdir(parents=True, exist_ok=True)

    study = phantom.sample(24, seed=args.seed, size=size)
    rows = {f"{start + 1} to {start + 8}": study.images[start : start + 8] for start in (0, 8, 16)}
    image_grid(rows, title="Phantoms: no patient's radiographs").savefig(
        args.output / "samples.png", dpi=100
    )

    mechanism = phantom.PhantomMechanism(size)
    variables = mechanism.graph.variables
    patients = study.table.head(2).drop(columns="patient_id")
    for name, variable in variables.items():  # healthy, from behind and from the side
        if variable.role in ("finding", "device"):
            patients[name] = pd.Categorical(["negative"] * 2, variable.levels)
    patients["view"] = pd.Categorical(["PA", "LATERAL"], variables["view"].levels)
    patients["age"] = 45.0
    noise = study.noise.image[:2]
    factual = mechanism.predict(noise, mechanism.encode(patients)[0])

    worlds = {}
    for variable in mechanism.attributes:
        set_to = patients.copy()
        if variable.is_discrete:
            now = patients[variable.name].cat.codes.iloc[0]
            level = variable.levels[(now + 1) % len(variable.levels)]
            set_to[variable.name] = pd.Categorical([level] * 2, variable.levels)
        else:
            level = 85
            set_to[variable.name] = float(level)
        world = mechanism.predict(noise, mechanism.encode(set_to)[0])
        worlds[f"{variable.name}\n{level}"] = world
        if variable.name == "race":
            assert torch.equal(world, factual)
    labels = list(worlds)
    for start in range(0, len(labels), COLUMNS):
        some = {label: worlds[label] for label in labels[start : start + COLUMNS]}
        number = start // COLUMNS + 1
        counterfactual_grid(
            factual, factual, some, title="Phantoms, true counterfactuals"
        ).savefig(args.output / f"variables-{number}.png", dpi=100)
    print(f"wrote samples.png and {number} figures of variables to {args.output}")


if __name__ == "__main__":
    main()
