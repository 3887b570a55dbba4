"""What would these radiographs look like, had the patients been older, or of the other sex?

    python examples/counterfactual.py --data FOLDER --output runs/counterfactual

FOLDER holds `cxr-real/` (an `images.csv` beside its images). The shipped `cxr19-small` answers for
test patients, whom it never saw. Ends with a figure per question and a table of what changed.
"""

import argparse
from pathlib import Path

import cxrcausal as cx
from cxrcausal.data import read_images, split_by_patient

QUESTIONS = {
    "sex": {"sex": "Male"},
    "older": {"age": cx.shift(+25)},
    "effusion": {"pleural_effusion": "positive"},
    "supine": {"view": "AP"},
}


def main() -> None:
    """Asks the four questions and writes a folder for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cxr-real/")
    parser.add_argument("--output", type=Path, default=Path("runs/counterfactual"))
    parser.add_argument("--model", default="cxr19-small", help="a shipped model or a folder")
    parser.add_argument("--patients", type=int, default=6)
    parser.add_argument("--tiny", action="store_true", help="one patient, few steps")
    args = parser.parse_args()

    model = cx.load_pretrained(args.model)
    table = cx.read_table(
        args.data / "cxr-real" / "images.csv", source="image_list", graph=model.graph
    )
    table = table[(table["dataset"] == "NIH") & (split_by_patient(table) == "test")]
    women = (table["sex"] == "Female") & (table["view"] == "PA") & table["age"].between(20, 55)
    healthy = table[women & (table["no_finding"] == "positive")]
    rows = healthy.drop_duplicates("patient_id").head(1 if args.tiny else args.patients)
    images = read_images(rows["image"], size=model.image.image_shape[-1])
    for name, do in QUESTIONS.items():
        answer = model.counterfactual(images, rows, do, num_steps=4 if args.tiny else None, seed=0)
        answer.save(args.output / name)
        answer.plot(args.output / name / "figure.png")
        changes = answer.changes()
        blocked = answer.blocked["unknown"].drop_duplicates().tolist()
        print(f"do({do}): {len(changes)} cells changed; not followed, unknown: {blocked}")
        print(changes.head(8).to_string(index=False))


if __name__ == "__main__":
    main()
