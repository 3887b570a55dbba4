"""`cxrcausal demo`: three questions to the default model about one radiograph."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import torch
import typer

from cxrcausal.cli.app import app, read_assignments, read_values
from cxrcausal.counterfactual import Counterfactual, CounterfactualModel
from cxrcausal.counterfactual.figure import draw_questions
from cxrcausal.counterfactual.result import save_synthetic
from cxrcausal.data import read_image
from cxrcausal.errors import GraphError, TableError, nearest, summarise
from cxrcausal.files import atomic_path
from cxrcausal.pretrained import load_pretrained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["demo"]

_ASKS = ("sex", "age", "pleural_effusion")
_YEARS = 30.0


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the figure and the table.")] = Path(
        "cxrcausal-demo"
    ),
    image: Annotated[
        Path | None, typer.Option(help="A radiograph (PNG, JPEG, DICOM); else one is sampled.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="What is known of the patient: key=value, repeatable.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model or a folder.")] = "cxr19-small",
    seed: Annotated[int, typer.Option(help="Makes the answer repeatable.")] = 254,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Asks: had this patient been of the other sex or another age, with or without an effusion?"""
    if image is None and metadata:
        raise typer.BadParameter("--metadata describes the patient of --image; give both")
    said = read_assignments(metadata or [], "--metadata")
    loaded = load_pretrained(model, device=device)
    _check(loaded, said)
    known = read_values(said, loaded.graph)
    if image is None:
        images, rows = loaded.sample(1, seed=seed)
        source = "a synthetic radiograph, sampled from the model"
    else:
        if loaded.image is None:
            raise typer.BadParameter(f"model {model!r} is of metadata alone")
        images = read_image(image, size=loaded.image.image_shape[-1])
        nothing = dict.fromkeys(loaded.graph.variables)  # what is not said is not known
        rows = pd.DataFrame([nothing | known], index=[image.stem])
        source = f"the radiograph {image.name}"
    answers = {
        title: loaded.counterfactual(images, rows, do, seed=seed)
        for title, do in _questions(loaded, rows.iloc[0]).items()
    }
    output.mkdir(parents=True, exist_ok=True)
    table = _table(answers)
    with atomic_path(output / "counterfactuals.csv") as beside:
        table.to_csv(beside, index=False)
    _draw(answers, source).savefig(output / "counterfactuals.png", dpi=150)
    if image is None:
        provenance = next(iter(answers.values())).provenance
        save_synthetic(images[0], output / "synthetic_patient.png", {**provenance, "do": {}})
    typer.echo(
        f"{source}; wrote {output / 'counterfactuals.png'} and {output / 'counterfactuals.csv'}"
    )
    changed = table[table["role"] != "invariant"]
    typer.echo(changed.to_string(index=False))


def _check(model: CounterfactualModel, known: dict[str, str]) -> None:
    """Refuses a model that cannot be asked, and what would be known of nothing."""
    variables = model.graph.variables
    absent = [name for name in _ASKS if name not in variables]
    if absent:
        raise GraphError(
            f"the demo asks about {summarise(_ASKS)}; graph {model.graph.name!r} has no "
            f"{summarise(absent)}. Ask your own questions with `cxrcausal counterfactual`"
        )
    for name in known:
        if name not in variables:
            raise TableError(
                f"--metadata {name!r} is not a variable of graph {model.graph.name!r}"
                f"{nearest(name, variables) or '.'} It has: {summarise(variables, 30)}"
            )


def _questions(model: CounterfactualModel, row: pd.Series) -> dict[str, dict[str, Any]]:
    """Returns the three interventions, each away from what was seen."""
    low, high = model.scm.graph.variables["age"].bounds or (0.0, 110.0)
    observed = model.image.observed.get("age") if model.image is not None else None
    low, high = observed or (low, high)
    age = row.get("age")
    if age is None or pd.isna(age):
        older = (low + high) / 2
    else:
        older = age + _YEARS if age + _YEARS <= high else age - _YEARS
    older = float(round(min(max(older, low), high)))
    sex = "Male" if row.get("sex") == "Female" else "Female"
    effusion = "negative" if row.get("pleural_effusion") == "positive" else "positive"
    return {
        f"do(sex = {sex})": {"sex": sex},
        f"do(age = {older:g})": {"age": older},
        f"do(pleural_effusion = {effusion})": {"pleural_effusion": effusion},
    }


def _table(answers: dict[str, Counterfactual]) -> pd.DataFrame:
    """Returns one line per question and variable: factual, counterfactual, and its role."""
    lines = []
    for title, answer in answers.items():
        for name in answer.intervened.columns:
            role = "invariant"
            if answer.intervened[name].iloc[0]:
                role = "intervened"
            elif answer.descendants[name].iloc[0]:
                role = "descendant"
            factual, after = answer.factual[name].iloc[0], answer.table[name].iloc[0]
            lines.append((title, name, factual, after, role))
    return pd.DataFrame(
        lines, columns=["question", "variable", "factual", "counterfactual", "role"]
    )


def _draw(answers: dict[str, Counterfactual], source: str) -> "Figure":
    panels = []
    for title, answer in answers.items():
        assert answer.images is not None
        changes = answer.changes()
        followed = changes[changes["why"] == "descendant"]
        panels.append(
            (
                title,
                answer.images[0],
                [f"{c.variable} → {c.counterfactual}" for c in followed.itertuples()],
            )
        )
    first = next(iter(answers.values()))
    assert isinstance(first.factual_images, torch.Tensor)
    assert isinstance(first.reconstruction, torch.Tensor)
    patient = first.factual.iloc[0]
    known = [str(patient[k]) for k in ("sex", "view") if pd.notna(patient.get(k))]
    if pd.notna(patient["age"]):
        known.insert(0, f"{patient['age']:g} years")
    positive = [k for k in first.intervened.columns if patient[k] == "positive"]
    heading = f"{source}: {', '.join(known + positive)}. Synthetic, not for diagnosis"
    return draw_questions(first.factual_images[0], first.reconstruction[0], panels, heading)
