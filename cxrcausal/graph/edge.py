"""What a causal graph declares beside its variables: arrows, hidden causes and selection."""

from dataclasses import dataclass
from typing import Literal, final

__all__ = ["EDGE_KINDS", "IMAGE", "Edge", "EdgeKind", "HiddenCause", "Selection"]

EdgeKind = Literal["context", "risk", "disease", "sign", "care", "acquisition", "other"]
"""Why an arrow stands: `context` (the source changes a distribution), `risk` (a demographic factor
changes a risk), `disease` (one process brings about another), `sign` (a finding entails the more
general one under which readers record it), `care` (a finding changes what care the patient gets),
`acquisition` (how the radiograph was taken), `other`."""

EDGE_KINDS: tuple[EdgeKind, ...] = (
    "context",
    "risk",
    "disease",
    "sign",
    "care",
    "acquisition",
    "other",
)

IMAGE = "image"
"""The node that stands for the radiograph: a node of the graph, but not among its variables."""


@final
@dataclass(frozen=True)
class Edge:
    """One arrow, from a direct cause to its effect.

    Arguments:
        source: The cause.
        target: The effect; may be `image`.
        kind: Why the arrow stands, one of `EDGE_KINDS`; None if the file does not say.
        source_ref: Where the arrow comes from (`published`, `definition`, a citation).
        rationale: The argument for it, in words.
    """

    source: str
    target: str
    kind: EdgeKind | None = None
    source_ref: str | None = None
    rationale: str | None = None

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@final
@dataclass(frozen=True)
class HiddenCause:
    """A common cause that no variable records: it confounds every two nodes that it touches.

    Arguments:
        name: Its name, not a column of any table.
        touches: The nodes that it causes: variables, `image`, or the name of a selection.
        rationale: What it is.
    """

    name: str
    touches: tuple[str, ...]
    rationale: str | None = None

    def __str__(self) -> str:
        return f"{self.name} (hidden) -> {', '.join(self.touches)}"


@final
@dataclass(frozen=True)
class Selection:
    """Who enters the data at all: an effect of variables on which every data set is conditioned.

    Arguments:
        name: Its name, not a column of any table.
        caused_by: The variables on which entering depends.
        rationale: How.
    """

    name: str
    caused_by: tuple[str, ...]
    rationale: str | None = None

    def __str__(self) -> str:
        return f"{', '.join(self.caused_by)} -> {self.name} (selected)"
