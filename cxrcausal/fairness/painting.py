"""What becomes of the candidates of a plan: painted, read back, kept or refused.

A candidate is a radiograph of the training set with some columns set to other levels. Its source
has to come back from its own noise, and the check has to read what was set, in the 8 bits in which
the radiograph is written. The metadata are those of the counterfactual world: on the direct path
the columns alone, and what is defined by them (no finding); on the total path what descends too.
"""

import json
from typing import TYPE_CHECKING, Any, final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxrcausal.counterfactual.round_trip import RoundTrip, round_trip_error
from cxrcausal.data.shard_file import shard_key, shard_name
from cxrcausal.evaluation.axioms import groups_of
from cxrcausal.fairness.balancing import AugmentationPlan
from cxrcausal.fairness.parts import Part
from cxrcausal.fairness.read_back import ReadBack
from cxrcausal.image.guidance import Guidance
from cxrcausal.scm.table import categories

if TYPE_CHECKING:
    from cxrcausal.counterfactual import CounterfactualModel
    from cxrcausal.graph import CausalGraph

__all__ = ["KEPT", "LOST", "Painting", "defined"]

_CARRIED = ("patient_id", "study_id", "split")
"""Columns beside the graph's and the patients' that are the same in every world."""
KEPT, LOST = "kept", "does not come back from its noise"
"""Outcomes of a candidate; the others begin with *not read back*."""


@final
class Painting:
    """Paints any part of a plan: the same radiographs in every process.

    Arguments:
        model: The joint model.
        images: The radiographs of the training set.
        table: Their metadata, complete.
        rows: For each candidate of the plan where its source stands in the table.
        plan: The plan.
        read: The check.
        guidance: How strongly the changed columns are imposed; not at all if None.
        num_steps: The number of steps of the flow; the recipe's if None.
        batch_size: Radiographs at a time.
        made_by: What provenance says of every radiograph, `path` among it.
    """

    def __init__(
        self,
        model: "CounterfactualModel",
        images: Tensor,
        table: pd.DataFrame,
        rows: np.ndarray,
        plan: AugmentationPlan,
        read: ReadBack,
        guidance: Guidance | None,
        num_steps: int | None,
        batch_size: int,
        made_by: dict[str, Any],
    ) -> None:
        assert model.image is not None
        self.model, self.mechanism, self.images, self.table = model, model.image, images, table
        self.rows, self.plan, self.read, self.made_by = rows, plan, read, made_by
        self.guidance, self.num_steps = guidance or Guidance("none"), num_steps
        self.how: dict[str, Any] = {"solver": num_steps, "batch_size": batch_size}
        self.round_trip = RoundTrip(model.image, model.graph)
        starts = plan.candidates["cell"].searchsorted(range(len(plan.cells)))
        self.starts = np.asarray(starts, np.int64)
        self._worlds: dict[Part, pd.DataFrame] = {}

    def candidates(self, part: Part) -> pd.DataFrame:
        """Returns the candidates of a part; their labels are their numbers in the plan."""
        start = int(self.starts[part.cell])
        return self.plan.candidates.iloc[start + part.first : start + part.last]

    def world(self, part: Part) -> pd.DataFrame:
        """Returns the metadata of a part's counterfactual worlds, in the candidates' order."""
        if part not in self._worlds:
            self._worlds[part] = self._world(part)
        return self._worlds[part]

    def _world(self, part: Part) -> pd.DataFrame:
        some = self.candidates(part)
        table = self.table.iloc[self.rows[some.index]]
        to = {name: self.plan.cells[name].iloc[part.cell] for name in self.plan.columns}
        if self.made_by["path"] == "total" and len(some):
            answer = self.model.counterfactual(
                None, table, to, seed=self.plan.seed, metadata_only=True
            )
            return answer.table
        graph = self.model.graph
        kinds = {name: categories(graph.variables[name]) for name in to}
        levels = {n: pd.Categorical([v] * len(table), dtype=kinds[n]) for n, v in to.items()}
        changed = {name for text in some["changed"].unique() for name in text.split(", ")}
        return defined(table.assign(**levels), changed, graph)

    def painted(self, part: Part) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """Returns a part's counterfactuals in 8 bits, and of each source its round-trip error.

        The third is which sources come back; only they are painted.
        """
        some = self.candidates(part)
        at = self.rows[some.index]
        images = self.images[torch.from_numpy(at)]
        before = self.mechanism.encode(self.table.iloc[at])[0]
        after = self.mechanism.encode(self.world(part))[0]
        noise = self.mechanism.abduct(images, before, **self.how)
        error = round_trip_error(images, self.mechanism.predict(noise, before, **self.how))
        back = error <= self.round_trip.most(error, self.num_steps)
        names = [variable.name for variable in self.mechanism.attributes]
        sets = torch.tensor(
            [[name in text.split(", ") for name in names] for text in some["changed"]]
        ).to(before.device)
        keep = torch.from_numpy(np.flatnonzero(back))
        if not len(keep):
            return images[keep], error, back
        groups = groups_of(before[keep], after[keep], sets[keep])
        found = self.mechanism.predict(
            noise[keep], after[keep], guidance=self.guidance,
            groups=(groups.intervened, groups.descendants, groups.invariant), **self.how,
        )  # fmt: skip
        return (found.cpu().clamp(0, 1) * 255).round() / 255, error, back

    def outcome(self, part: Part) -> tuple[Tensor, pd.DataFrame]:
        """Returns the radiographs of a part that are kept, and a row for each candidate.

        The row says the `outcome`, `reconstruction_error` and every score of the check.
        """
        some = self.candidates(part)
        painted, error, back = self.painted(part)
        frame = pd.DataFrame({"outcome": LOST, "reconstruction_error": error}, index=some.index)
        scores = pd.DataFrame(np.nan, some.index, list(self.read.names))
        if len(painted):
            scores.loc[back] = self.read.scores(painted).to_numpy()
        said = []
        for place in np.flatnonzero(back):
            line, score = some.iloc[place], scores.iloc[[place]]
            unread = [
                name
                for name in line["changed"].split(", ")
                if not self.read.shows(score, name, line[name])[0]
            ]
            said.append(f"not read back: {', '.join(unread)}" if unread else KEPT)
        frame.loc[back, "outcome"] = said
        kept = torch.tensor([text == KEPT for text in said], dtype=torch.bool)
        return painted[kept], frame.join(scores.add_prefix("check "))

    def kept_rows(self, part: Part, outcome: pd.DataFrame) -> pd.DataFrame:
        """Returns the table of a part's radiographs that are kept."""
        kept = (outcome["outcome"] == KEPT).to_numpy()
        some = self.candidates(part)[kept]
        world = self.world(part)[kept]
        kinds = {*self.model.graph.variables, *_CARRIED, self.plan.groups}
        names = [name for name in world if name in kinds]
        label = some["source_row"]
        found = world[names].set_axis(some.index).assign(
            synthetic=True,
            source_row=label if pd.api.types.is_integer_dtype(label) else label.astype(str),
            **{name: some[name] for name in ("changed", "from", "to")},
            **{name: outcome.loc[kept, name] for name in outcome if name != "outcome"},
        )  # fmt: skip
        for name in ("model", "model_sha256", "graph", "graph_fingerprint", "path", "seed"):
            found[name] = self.made_by[name]
        found["guidance"] = json.dumps(self.made_by["guidance"])
        return found.assign(shard=shard_name(part.number), key=[shard_key(i) for i in found.index])


def defined(table: pd.DataFrame, changed: set[str], graph: "CausalGraph") -> pd.DataFrame:
    """Returns the table with the definitions of what was changed as their parents now say.

    A definition is *none of these*: negative with any positive parent, positive if all are known
    to be negative, else unknown.
    """
    found = {}
    for name, variable in graph.variables.items():
        parents = graph.parents(name)
        if not variable.is_definition or not changed & set(parents):
            continue
        positive = pd.concat([table[p] == graph.variables[p].levels[1] for p in parents], axis=1)
        known = table[list(parents)].notna().all(axis=1)
        value = pd.Series(np.nan, table.index, dtype=object).mask(known, variable.levels[1])
        value = value.mask(positive.any(axis=1), variable.levels[0])
        found[name] = value.astype(categories(variable))
    return table.assign(**found)
