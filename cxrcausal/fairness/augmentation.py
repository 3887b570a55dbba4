"""Counterfactual radiographs that balance a training set, each kept only if it shows what it says.

    | plan = plan_augmentation(model, table, decorrelate=("sex", "pleural_effusion"), by="sex")
    | made = augment(model, images, table, plan, check=predictor, output="augmented")
    | images, table = made.joined(images, table)

A radiograph that does not come back from its own noise is no source; a counterfactual that a check
does not read as the level that was set is not kept. Both are counted per cell, and the next
candidate is tried in their place. A cell that runs out of candidates is reported as short.

The folder is in the layout of `cxrcausal.data.shard_images`, so `read_shards` and webdataset read
it: tar files of PNG (each says that it is synthetic) and JSON, and `table.parquet`, a row for each
radiograph: the metadata of its counterfactual world, its patient (who is the source's, so splits
stay by patient), and where it came from. `cells.csv` says what became of the plan.

That it balances the labels is by construction; that a classifier trained on it is better for whom
it was bad is not: `examples/counterfactual_augmentation.py` measures it.
"""

import hashlib
import json
import logging
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cxrcausal.counterfactual.arguments import as_images, check_count, guidance_record
from cxrcausal.counterfactual.result import synthetic_png
from cxrcausal.data.parquet_file import need_pyarrow, write_parquet
from cxrcausal.data.shard import Shards, read_shards
from cxrcausal.data.shard_file import (
    FORMAT,
    add_member,
    plain_records,
    read_json,
    record_path,
    shard_name,
    write_json,
)
from cxrcausal.errors import ImageError, OptionError, TableError, summarise
from cxrcausal.fairness.balancing import AugmentationPlan
from cxrcausal.fairness.classifier import Classifier
from cxrcausal.fairness.painting import KEPT, LOST, Painting
from cxrcausal.fairness.parts import Part, claim, completed
from cxrcausal.fairness.read_back import ReadBack, levels_to_read
from cxrcausal.files import atomic_path, sha256_of
from cxrcausal.image.guidance import Guidance
from cxrcausal.randomness import label_words
from cxrcausal.scm.table import complete_table
from cxrcausal.version import __version__

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel

__all__ = ["Augmented", "augment", "read_augmented"]

logger = logging.getLogger("cxrcausal")


@final
@dataclass(frozen=True)
class Augmented:
    """Counterfactual radiographs for a training set.

    Arguments:
        shards: Them and their table, as stored.
        cells: A row per cell of the plan: how many were `needed`, `painted`, `kept`, how many
            sources were `not_reconstructed`, how many counterfactuals `not_read_back`, and how
            many are `short`.
        provenance: Model, graph, plan, guidance, seed, versions.
    """

    shards: Shards
    cells: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def images(self) -> Tensor:
        """The radiographs (radiographs, 1, size, size) in [0, 1]."""
        return self.shards.pixels(slice(None))

    @property
    def table(self) -> pd.DataFrame:
        """Their metadata in the graph's columns, patients, and where each came from."""
        return self.shards.table

    def joined(self, images: Tensor, table: pd.DataFrame) -> tuple[Tensor, pd.DataFrame]:
        """Returns a training set and these behind it, `synthetic` telling them apart.

        Arguments:
            images: The radiographs of the training set.
            table: Their metadata. Columns that only one of the two has are unknown in the other;
                row labels become numbers from 0.

        Raises:
            TableError: If a column of the table holds what is no level.
        """
        seen = table.assign(synthetic=False).reset_index(drop=True)
        if self.table.empty:
            return images.float(), seen
        for name in self.table.columns.intersection(seen.columns):
            kind = self.table[name].dtype
            if isinstance(kind, pd.CategoricalDtype):
                other = set(seen[name].dropna().unique()) - set(kind.categories)
                if other:
                    raise TableError(
                        f"column {name!r} holds {summarise(other)}; allowed are the graph's levels"
                        f", {summarise(kind.categories)}, as read_table writes them"
                    )
                seen[name] = seen[name].astype(kind)
        both = pd.concat([seen, self.table], ignore_index=True)
        return torch.cat([images.float(), self.images]), both

    def __str__(self) -> str:
        """Says what became of every cell."""
        return f"{len(self.table)} counterfactual radiographs\n{self.cells.to_string(index=False)}"


def augment(
    model: "CounterfactualModel",
    images: Tensor | np.ndarray,
    table: pd.DataFrame,
    plan: AugmentationPlan,
    *,
    check: Classifier | Mapping[str, Classifier],
    output: str | os.PathLike,
    thresholds: Mapping[str, float] | float | None = None,
    path: Literal["direct", "total"] = "direct",
    guidance: "Guidance | Literal['recommended'] | None" = "recommended",
    num_steps: int | None = None,
    part_size: int = 64,
    batch_size: int = 64,
    progress: bool = False,
) -> Augmented:
    """Paints the counterfactuals of a plan into a folder, and returns those that were kept.

    Called again with the same arguments it goes on where it was stopped, however that was (a check
    is known by its weights, or if it has none by its scores' names and thresholds alone). Under
    `torchrun` every process calls it with the same arguments (and the model on its own device) and
    paints its part; all of them return the whole, which does not depend on how many they are.

    Arguments:
        model: The joint model that the plan was made with.
        images: The radiographs in [0, 1], (batch, channel, height, width), one grey channel.
        table: Their metadata, the table of the plan.
        plan: From `plan_augmentation`.
        check: What reads from a counterfactual whether it shows the level that was set: a
            classifier, one for each attribute by name, or a fitted `Predictor`. It should have
            been trained on real radiographs, and not on the correlation that is to be removed.
        output: The folder; there, or in nothing that is not yet there.
        thresholds: Above which a score says that a level is there, the same for all or by score;
            left out, a Predictor's own, and .5 of others.
        path: `direct`: the plan's columns change in the radiograph alone, all else is held.
            `total`: the metadata that descend from them follow, as the SCM says, but no column of
            the plan does.
        guidance: How strongly the changed columns are imposed; the recipe's if left out.
        num_steps: The number of steps of the flow; the recipe's if None.
        part_size: Candidates per shard at most; no more than these are lost when it is stopped.
        batch_size: Radiographs at a time.
        progress: Whether to show a progress bar.

    Raises:
        ImageError: If images are not the model's, not the table's, or of several channels.
        TableError: If the table is not the plan's, or the plan was changed.
        OptionError: If `path` is neither, the check reads not what is set, or the folder holds
            other shards.
        MissingExtraError: If pyarrow, which writes the table, is not installed.
    """
    need_pyarrow()
    if path not in ("direct", "total"):
        raise OptionError(f"path is {path!r}; allowed: direct, total")
    for name, value in {"part_size": part_size, "batch_size": batch_size}.items():
        check_count(value, name)
    images, complete, rows = _checked(model, images, table, plan)
    read = ReadBack(check, levels_to_read(model.graph, plan), thresholds, batch_size=batch_size)
    if len(plan.candidates):  # what is wrong with a check is said before anything is painted
        read.scores(images[:1])
    assert model.image is not None
    if guidance == "recommended":
        guidance = model.image.guidance
    folder = Path(output)
    made_by = {
        "model": model.name,
        "model_sha256": _digest([model.image, *model.scm.mechanisms.values()]),
        "graph": model.graph.name,
        "graph_fingerprint": model.graph.fingerprint,
        "path": path,
        "guidance": guidance_record(guidance),
        "image": dict(model.image.describe(num_steps)),
        "seed": plan.seed,
        "cxrcausal": __version__,
    }
    request = {
        "format": FORMAT,
        "size": model.image.image_shape[-1],
        "bits": 8,
        "part_size": part_size,
        "augmentation": json.loads(json.dumps(made_by)),
        "plan_sha256": _sha256(plan.cells.to_csv(), plan.candidates.to_csv()),
        "table_sha256": _sha256(complete.to_csv()),
        "images_sha256": hashlib.sha256(images.contiguous().numpy().data).hexdigest(),
        "check_sha256": _digest(list(read.checks.values())),
        "thresholds": {name: read.threshold(name) for name in read.names},
    }
    claim(folder, request)
    painting = Painting(
        model, images, complete, rows, plan, read, guidance, num_steps, batch_size, made_by
    )
    cells = plan.cells
    with tqdm(
        total=int(cells["needed"].sum()), unit="image", disable=None if progress else True
    ) as bar:

        def paint(part: Part) -> None:
            bar.update(_write_part(folder, part, painting))

        parts = completed(
            folder, cells["needed"].to_numpy(int), cells["candidates"].to_numpy(int), part_size,
            paint,
        )  # fmt: skip
    return _assemble(folder, parts, painting)


def read_augmented(folder: str | os.PathLike) -> Augmented:
    """Returns what `augment` wrote.

    Arguments:
        folder: The `output` that `augment` was given.

    Raises:
        ImageError: If the folder holds no finished augmentation, or is damaged.
    """
    folder = Path(folder)
    request = read_json(folder / "shards.json")
    if request is None or "augmentation" not in request:
        raise ImageError(f"{str(folder)!r} holds no augmentation (shards.json does not say so)")
    shards = read_shards(folder)
    return Augmented(shards, pd.read_csv(folder / "cells.csv"), request["augmentation"])


def _checked(
    model: "CounterfactualModel",
    images: Tensor | np.ndarray,
    table: pd.DataFrame,
    plan: AugmentationPlan,
) -> tuple[Tensor, pd.DataFrame, np.ndarray]:
    """Returns the images, the table with every variable, and where each candidate's source is.

    Raises:
        ImageError: If images are not the model's, or not the table's.
        TableError: If the table is not the plan's, or the plan was changed.
    """
    if model.image is None:
        raise ImageError(f"model {model.name!r} is of metadata alone; it paints no radiographs")
    images = as_images(images).float().cpu()
    model.image.check_images(images)
    if len(images) != len(table):
        raise ImageError(f"{len(images)} images stand beside {len(table)} rows of metadata")
    if images.shape[1] != 1:
        raise ImageError(f"images have {images.shape[1]} channels; shards are of one, grey")
    complete = complete_table(table, model.graph)[0]
    label_words(table.index)  # refuses repeated labels
    counted = plan.candidates["cell"].value_counts().reindex(plan.cells.index, fill_value=0)
    whole = plan.candidates.index.equals(pd.RangeIndex(len(plan.candidates)))
    if not whole or (counted != plan.cells["candidates"]).any():
        raise TableError(
            "the plan's candidates were changed; leave rows out of the table instead, and plan "
            "again"
        )
    at = table.index.get_indexer(pd.Index(plan.candidates["source_row"]))
    there = {name: complete[name].astype(object).to_numpy()[at] for name in plan.columns}
    for place, (label, changed, origin) in enumerate(
        zip(*(plan.candidates[name] for name in ("source_row", "changed", "from")), strict=True)
    ):
        if at[place] < 0:
            raise TableError(f"the plan is of another table: this one has no row {label!r}")
        found = ", ".join(str(there[name][place]) for name in changed.split(", "))
        if found != origin:
            raise TableError(
                f"the plan is of another table: row {label!r} is {origin!r} in {changed} there, "
                f"and {found!r} here"
            )
    return images, complete, at


def _write_part(folder: Path, part: Part, painting: Painting) -> int:
    """Writes the shard of one part, its record first; returns how many were kept."""
    images, outcome = painting.outcome(part)
    rows = painting.kept_rows(part, outcome)
    with atomic_path(folder / shard_name(part.number)) as beside:
        with tarfile.open(beside, "w", format=tarfile.USTAR_FORMAT) as tar:
            lines = plain_records(rows.drop(columns=["shard", "key"]))
            for image, key, line in zip(images, rows["key"], lines, strict=True):
                do = {name: line[name] for name in line["changed"].split(", ")}
                said = {"synthetic": True, "do": do, "source_row": line["source_row"]}
                add_member(tar, f"{key}.png", synthetic_png(image, said | painting.made_by))
                add_member(tar, f"{key}.json", json.dumps(line, ensure_ascii=False).encode())
        record = {
            "sha256": sha256_of(beside),
            "kept": [int(i) for i in rows.index],
            "outcomes": plain_records(outcome.reset_index(names="candidate")),
        }
        write_json(record_path(folder, part.number), record)
    return len(rows)


def _assemble(
    folder: Path, parts: list[tuple[Part, dict[str, Any]]], painting: Painting
) -> Augmented:
    """Writes the table and the cells from the parts' records, and returns the whole."""
    cells = painting.plan.cells.assign(painted=0, kept=0, not_reconstructed=0, not_read_back=0)
    frames = []
    for part, record in parts:
        outcome = pd.DataFrame(record["outcomes"]).set_index("candidate")
        said = outcome["outcome"]
        counted = {
            "painted": (said != LOST).sum(),
            "kept": (said == KEPT).sum(),
            "not_reconstructed": (said == LOST).sum(),
            "not_read_back": said.str.startswith("not read back").sum(),
        }
        for name, count in counted.items():
            cells.loc[part.cell, name] += int(count)
        frames.append(painting.kept_rows(part, outcome))
    cells["short"] = cells["needed"] - cells["kept"]
    for _, line in cells[cells["short"] > 0].iterrows():
        at = ", ".join(f"{name}={line[name]}" for name in painting.plan.columns)
        logger.warning(
            "cell %s is %d of %d radiographs short: %d candidates, %d of them did not come back "
            "from their noise, %d were not read back",
            at, line["short"], line["needed"], line["candidates"], line["not_reconstructed"],
            line["not_read_back"],
        )  # fmt: skip
    if not frames:
        nothing = Part(0, 0, 0, 0)
        frames = [painting.kept_rows(nothing, pd.DataFrame({"outcome": []}, dtype=object))]
    filled = [frame for frame in frames if len(frame)]
    table = pd.concat(filled or frames[:1], ignore_index=True)
    with atomic_path(folder / "cells.csv") as beside:
        cells.to_csv(beside, index=False)
    with atomic_path(folder / "table.parquet") as beside:
        write_parquet(table, beside)
    return read_augmented(folder)


def _digest(parts: Sequence[object]) -> str:
    """Returns a SHA-256 of the weights of those parts that have any, and of what the rest are."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(type(part).__qualname__.encode())
        state = part.state_dict() if isinstance(part, nn.Module) else {}
        for key, tensor in sorted(state.items()):
            numbers = tensor.detach().cpu().contiguous()
            digest.update(f"{key} {numbers.dtype} {tuple(numbers.shape)}".encode())
            digest.update(numbers.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _sha256(*texts: str) -> str:
    joined = "\n".join(texts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
