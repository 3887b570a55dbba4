"""One patient, an intervention that grows: older, from PA to AP, with an effusion, more guidance.

    python examples/animations.py --output runs/animations [--image FILE --age 58 --sex Female]

The shipped model answers; without `--image` it samples a patient of its own. Ends with four GIFs.
A level has no halfway: the way from one to another is guidance rising from 0, where the radiograph
is what it was under the old level, over 1, the plain counterfactual, to the weight that the recipe
recommends.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import cxrcausal as cx
from cxrcausal.counterfactual.animation import save_animation


def main() -> None:
    """Asks every question at every step and writes the animations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="not needed: the model brings a patient")
    parser.add_argument("--output", type=Path, default=Path("runs/animations"))
    parser.add_argument("--model", default="cxr19-small", help="a shipped model or a folder")
    parser.add_argument("--image", type=Path, help="a radiograph; else one is sampled")
    parser.add_argument("--age", type=float, help="of its patient, if known")
    parser.add_argument("--sex", choices=("Female", "Male"))
    parser.add_argument("--view", choices=("PA", "AP"))
    parser.add_argument("--seed", type=int, default=254)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--tiny", action="store_true", help="few frames, few steps")
    args = parser.parse_args()

    model = cx.load_pretrained(args.model)
    if args.image is None:
        images, rows = model.sample(1, seed=args.seed)
    else:
        images = cx.read_image(args.image, size=model.image.image_shape[-1])
        known = {"age": args.age, "sex": args.sex, "view": args.view}
        rows = pd.DataFrame([{name: known.get(name) for name in model.graph.variables}])
    frames, num_steps = (3, 3) if args.tiny else (args.frames, None)

    def answer(do: dict, guidance: cx.Guidance | None = None) -> torch.Tensor:
        """Returns the one radiograph of one question."""
        out = model.counterfactual(
            images, rows, do, guidance=guidance, num_steps=num_steps, seed=args.seed
        )
        return out.images

    ages = [float(round(age)) for age in np.linspace(30, 80, frames)]
    drawn = torch.cat([answer({"age": age}) for age in ages])
    save_animation(drawn, [f"age {age:g}" for age in ages], args.output / "age.gif")

    recommended = model.image.guidance
    view = "AP" if rows["view"].iloc[0] != "AP" else "PA"
    for name, level in {"view": view, "pleural_effusion": "positive"}.items():
        most = recommended.own.get(name, recommended.intervened)
        weights = [float(w) for w in np.linspace(0, most, frames)]
        drawn = torch.cat([answer({name: level}, cx.Guidance("nested", w)) for w in weights])
        labels = [f"{name} {level}, weight {w:.1f}" for w in weights]
        save_animation(drawn, labels, args.output / f"{name}.gif")

    sex = "Male" if rows["sex"].iloc[0] == "Female" else "Female"
    weights = [float(w) for w in np.linspace(0, 3, frames)]
    drawn = torch.cat([answer({"sex": sex}, cx.Guidance("nested", w)) for w in weights])
    labels = [f"sex {sex}, weight {w:.1f}" for w in weights]
    save_animation(drawn, labels, args.output / "guidance.gif")
    print(f"wrote age.gif, view.gif, pleural_effusion.gif and guidance.gif to {args.output}")


if __name__ == "__main__":
    main()
