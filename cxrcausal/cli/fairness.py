"""`cxrcausal fairness`: does a classifier follow sex, race or age? A page, and an exit code."""

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from cxrcausal.cli.app import app
from cxrcausal.cli.radiographs import listed_radiographs
from cxrcausal.errors import OptionError
from cxrcausal.evaluation import Predictor
from cxrcausal.fairness import Classifier, audit
from cxrcausal.fairness.limits import Limit
from cxrcausal.pretrained import load_pretrained

__all__ = ["fairness"]

EXCEEDED = 3
"""The exit code of an audit that passes a limit; 2 is a refusal."""


@app.command()
def fairness(
    images: Annotated[
        list[Path],
        typer.Option(help="A list of radiographs beside its images; repeatable, finest first."),
    ],
    output: Annotated[Path, typer.Option(help="The folder of the page, tables and JSON.")],
    classifier: Annotated[
        list[str] | None,
        typer.Option(help="module:name of a classifier of your own; repeatable."),
    ] = None,
    predictor: Annotated[
        list[Path] | None, typer.Option(help="Folder of a saved Predictor; repeatable.")
    ] = None,
    protected: Annotated[
        list[str] | None,
        typer.Option(help="What should make no difference: sex, age, race; sex+age both at once."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Folder of a saved Predictor that reads the attribute back."),
    ] = None,
    source: Annotated[
        str, typer.Option(help="Whose layout the list is in, as nih, or a mapping in YAML.")
    ] = "image_list",
    resolution: Annotated[
        int | None, typer.Option(help="The side in pixels that the classifier is given.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model, or a folder.")] = "cxr19-small",
    path: Annotated[str, typer.Option(help="direct or total.")] = "direct",
    margin: Annotated[
        float, typer.Option(min=0, help="How far the image model's own error may move a score.")
    ] = 0.0,
    threshold: Annotated[float, typer.Option(help="Above which an output decides.")] = 0.5,
    dataset: Annotated[str | None, typer.Option(help="Only this data set, as NIH.")] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Training patients too, not test patients alone.")
    ] = False,
    limit: Annotated[int, typer.Option(min=2, help="At most so many radiographs.")] = 1000,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(help="Exit with 3 if this is so, as 'worst_group_auc_gap > .05'."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    seed: Annotated[int, typer.Option(help="Makes the answer a function of it.")] = 0,
) -> None:
    """Asks a classifier about the same patients in worlds where an attribute differs.

    A classifier of your own is imported from a module on the path or in this folder: it is your
    code, and it runs.
    """
    limits = [Limit.read(text) for text in fail_if or []]  # before anything takes time
    chosen = {text: _imported(text) for text in classifier or []}
    chosen |= {folder.name: _probabilities(folder) for folder in predictor or []}
    joint = load_pretrained(model)
    if joint.image is None:
        raise OptionError(f"model {model!r} is of metadata alone; it paints no radiographs")
    table = listed_radiographs(
        images, joint.graph, dataset=dataset, limit=limit, everyone=everyone, source=source
    )
    alone_or_both = [
        text if "+" not in text else tuple(text.split("+")) for text in protected or ["sex"]
    ]
    answer = audit(
        chosen, joint, list(table["image"]), table, alone_or_both, resolution=resolution,  # type: ignore[arg-type]
        check=None if check is None else Predictor.load(check), path=path,  # type: ignore[arg-type]
        margin=margin,
        thresholds=threshold, seed=seed,
    )  # fmt: skip
    page = answer.save(output)
    typer.echo(json.dumps(answer.to_dict(), indent=1) if as_json else f"{answer}\nwrote {page}")
    passed = [one for one in limits if one.exceeded(answer.worst)]
    for one in passed:
        typer.echo(f"failed: {one.text}", err=True)
    if passed:
        raise typer.Exit(EXCEEDED)


def _imported(text: str) -> Classifier:
    """Returns what `module:name` names.

    Raises:
        OptionError: If there is no such module or name.
    """
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise OptionError(f"--classifier takes module:name; found {text!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise OptionError(f"--classifier {text!r}: no module {error.name!r}") from error
    except AttributeError as error:
        raise OptionError(f"--classifier {text!r}: {error}") from error
    finally:
        sys.path.remove(str(Path.cwd()))


def _probabilities(folder: Path) -> Classifier:
    """Returns a saved predictor as a classifier of its findings, its log-odds as probabilities."""
    from scipy.special import expit  # slow to import, so only when asked

    predictor = Predictor.load(folder)
    names = [v.name for v in predictor.targets if v.kind == "binary" and v.levels[0] == "negative"]
    if not names:
        raise OptionError(f"predictor {str(folder)!r} reads no finding")

    def score(images: torch.Tensor) -> pd.DataFrame:
        return predictor.score(images)[names].transform(expit)

    return score
