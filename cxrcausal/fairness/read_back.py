"""Does a generated radiograph show what was asked? Read back by classifiers, with thresholds.

A counterfactual that a classifier, trained on real radiographs alone, does not read as the level
that was set would be a wrong label in a training set. It is refused.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, final

import numpy as np
import pandas as pd

from cxrcausal.errors import OptionError, nearest, summarise
from cxrcausal.evaluation import Predictor
from cxrcausal.fairness.classifier import Classifier, Scorer
from cxrcausal.shapes import Image

if TYPE_CHECKING:
    from cxrcausal.fairness.balancing import AugmentationPlan
    from cxrcausal.graph import CausalGraph

__all__ = ["ReadBack", "levels_to_read"]


@final
class ReadBack:
    """Reads attributes from radiographs, as the levels that a classifier takes them for.

    Arguments:
        check: A classifier, or one for each attribute, by name. The score of a binary attribute
            bears its name, or is the only one; one of several levels has a score `view=PA` for
            each. A fitted `Predictor` gives its log-odds.
        attributes: What has to be read, each with its levels, the second one scored.
        thresholds: Above which the (second) level is read: the same for all, or by score. Left
            out, a Predictor's own (the log-odds in its training set), and .5 of others.
        batch_size: Radiographs at a time.

    Raises:
        OptionError: If a check is no classifier.
    """

    def __init__(
        self,
        check: Classifier | Mapping[str, Classifier],
        attributes: Mapping[str, Sequence[str]],
        thresholds: Mapping[str, float] | float | None = None,
        *,
        batch_size: int = 64,
    ) -> None:
        self.attributes = {name: tuple(levels) for name, levels in attributes.items()}
        self.given = thresholds
        self.checks: dict[str | None, Classifier] = {}
        if isinstance(check, Mapping):
            self.checks.update(check)
        else:
            self.checks[None] = check
        self.scorers = {
            name: Scorer(
                one.score if isinstance(one, Predictor) else one,
                batch_size=batch_size,
                name="the check" if name is None else f"the check of {name!r}",
            )
            for name, one in self.checks.items()
        }
        self._names: tuple[str, ...] | None = None

    def scores(self, images: Image) -> pd.DataFrame:
        """Returns every score of every radiograph, one column per score.

        Raises:
            ImageError: If a classifier does not answer as it should.
            OptionError: If no score is of an attribute, or a threshold of no score.
        """
        parts = []
        for name, scorer in self.scorers.items():
            values = scorer(images)
            frame = pd.DataFrame(values, columns=list(scorer.outputs or ()))
            alone = name or (next(iter(self.attributes)) if len(self.attributes) == 1 else None)
            if list(frame.columns) == ["score"] and alone is not None:  # it was given no name
                frame.columns = [alone]
            if name is not None:
                own = [c for c in frame.columns if c == name or str(c).startswith(f"{name}=")]
                frame = frame[own]
            parts.append(frame)
        scores = pd.concat(parts, axis=1)
        if self._names is None:
            self._check_names(tuple(scores.columns))
            self._names = tuple(scores.columns)
        return scores

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the scores; none before the first radiograph was scored."""
        return self._names or ()

    def shows(self, scores: pd.DataFrame, attribute: str, level: str) -> np.ndarray:
        """Returns which radiographs (images,) are read as being of that level."""
        column = f"{attribute}={level}"
        if column in scores:
            return (scores[column] > self.threshold(column)).to_numpy()
        above = (scores[attribute] > self.threshold(attribute)).to_numpy()
        return above if level == self._pair(attribute)[1] else ~above

    def threshold(self, score: str) -> float:
        """Returns above which value a score says that its level is there."""
        if isinstance(self.given, Mapping):
            if score in self.given:
                return float(self.given[score])
        elif self.given is not None:
            return float(self.given)
        one = self._of(score.split("=")[0])
        return one.threshold[score] if isinstance(one, Predictor) else 0.5

    def _pair(self, attribute: str) -> tuple[str, ...]:
        """Returns the two levels between which a score of the attribute's name tells."""
        one = self._of(attribute)
        observed = one.observed.get(attribute) if isinstance(one, Predictor) else None
        return tuple(observed) if observed else self.attributes[attribute]

    def _of(self, attribute: str) -> Classifier | None:
        """Returns the check that reads an attribute."""
        return self.checks.get(attribute if attribute in self.checks else None)

    def _check_names(self, names: Sequence[str]) -> None:
        for attribute, levels in self.attributes.items():
            pair = self._pair(attribute)
            single = attribute in names and len(pair) == 2 and set(levels) <= set(pair)
            if not single and not all(f"{attribute}={level}" in names for level in levels):
                wanted = [attribute] if len(levels) == 2 else [f"{attribute}={v}" for v in levels]
                raise OptionError(
                    f"no check reads {attribute!r}, which is set; its score is to be named "
                    f"{summarise(wanted)}. The checks' scores are: {summarise(names, 20)}"
                )
        if isinstance(self.given, Mapping):
            for name in self.given:
                if name not in names:
                    raise OptionError(
                        f"a threshold is given of {name!r}{nearest(name, names) or '.'} The "
                        f"checks' scores are: {summarise(names, 20)}"
                    )


def levels_to_read(graph: "CausalGraph", plan: "AugmentationPlan") -> dict[str, tuple[str, ...]]:
    """Returns the attributes that a plan's candidates set, with the levels to be told apart.

    Arguments:
        graph: It has the levels in their order.
        plan: The plan.
    """
    changed = {name for text in plan.candidates["changed"].unique() for name in text.split(", ")}
    found = {}
    for name in plan.columns:
        if name in changed:
            levels, present = graph.variables[name].levels, set(plan.cells[name])
            two = len(levels) == 2
            found[name] = tuple(level for level in levels if two or level in present)
    return found
