"""An SCM on disk: weights as safetensors, everything else as JSON; loading one runs no code.

The folder holds `scm.safetensors` (the mechanisms' parameters and buffers, named
`variable/parameter`) and `scm.json` (format, graph with its fingerprint, fingerprint of the data,
how the table was read, what was observed, each mechanism's class and configuration, package
versions, and the SHA-256 of the tensors' file). If the fit kept replicates of its parameters, from
which effects get their intervals, `replicates.safetensors` holds them in single precision. Each
file is written whole or not at all, and a save that died has changed nothing that `load_scm`
reads; files of two different saves are refused.
"""

import math
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrcausal.checkpoint import entry, read_record, read_tensors, write_checkpoint
from cxrcausal.errors import (
    CheckpointError,
    CxrCausalError,
    GraphError,
    OptionError,
    nearest,
)
from cxrcausal.graph.dag import CausalGraph
from cxrcausal.graph.load import load_graph
from cxrcausal.scm.fit.choice import check_options
from cxrcausal.scm.fitted import Fitted
from cxrcausal.scm.mechanism.base import Mechanism
from cxrcausal.scm.mechanism.registry import MECHANISMS
from cxrcausal.scm.replicates import DRAWS, Replicates, parameter_count
from cxrcausal.version import package_versions

if TYPE_CHECKING:
    from cxrcausal.scm.model import FlowSCM

__all__ = ["load_scm", "save_scm"]

FORMAT = 1
TENSORS, DESCRIPTION = "scm.safetensors", "scm.json"
REPLICATES = "replicates.safetensors"


def save_scm(scm: "FlowSCM", folder: str | PathLike[str]) -> None:
    """Writes a fitted SCM to a folder: each file beside its name, and then renamed.

    Older files of the same names are replaced, others in the folder are kept. A writer that dies
    leaves the older SCM or this one.

    Raises:
        NotFittedError: If the SCM is not fitted.
        CheckpointError: If the path cannot be written, or a mechanism has no configuration.
    """
    tensors = {}
    described = {}
    for name, mechanism in scm.mechanisms.items():
        described[name] = {
            "class": type(mechanism).__name__,
            "parents": [p.name for p in mechanism.parents],
            "config": _config(mechanism),
        }
        for key, tensor in mechanism.state_dict().items():
            tensors[f"{name}/{key}"] = tensor
    description = {
        "format_version": FORMAT,
        "kind": "FlowSCM",
        "graph_fingerprint": scm.graph.fingerprint,
        "graph": scm.graph.to_yaml(),
        "data_fingerprint": scm.data_fingerprint,
        "family": scm.family,
        "coupling": scm.coupling,
        "hidden": list(scm.hidden),
        "policies": dict(scm.policies),
        "observed": {name: _finite(part) for name, part in scm.observed.items()},
        "observed_by": {
            context: {
                level: {name: _finite(part) for name, part in variables.items()}
                for level, variables in levels.items()
            }
            for context, levels in scm._state.observed_by.items()
        },
        "mechanisms": described,
        "versions": package_versions(),
    }
    further = {}
    if (kept := scm._state.replicates) is not None:
        further["replicates"] = {name: step.float() for name, step in kept.steps.items()}
        description["replicates"] = {
            "seed": kept.seed,
            "by_patient": kept.by_patient,
            "patients": kept.patients,
        }
    write_checkpoint(folder, "scm", description, tensors, further)


def load_scm(
    folder: str | PathLike[str], graph: str | PathLike[str] | CausalGraph | None = None
) -> tuple[CausalGraph, dict[str, Any], Fitted]:
    """Reads a saved SCM, see `FlowSCM.load`.

    Arguments:
        folder: Where it was saved.
        graph: A graph, its name or its file, whose fingerprint the saved one must have.

    Returns:
        The graph, the options that the SCM was made with, and what its fit left behind.

    Raises:
        CheckpointError: Naming the file and the key at fault, or that the files are of two saves.
    """
    folder = Path(folder)
    file = folder / DESCRIPTION
    description = read_record(file, FORMAT, "FlowSCM")
    saved = _saved_graph(file, description)
    if graph is not None:
        wanted = graph if isinstance(graph, CausalGraph) else load_graph(graph)
        if wanted.fingerprint != saved.fingerprint:
            raise CheckpointError(
                f"{file}: key 'graph_fingerprint' is {saved.fingerprint} (graph {saved.name!r}); "
                f"the graph asked for, {wanted.name!r}, has {wanted.fingerprint}. The SCM was "
                f"fitted to another graph: load it without `graph`, or fit anew"
            )
        saved = wanted
    tensors = read_tensors(folder / TENSORS, description)
    mechanisms = {}
    for name, part in entry(file, description, "mechanisms", dict).items():
        mechanisms[name] = _mechanism(file, folder / TENSORS, saved, name, part, tensors)
    left = [key for key in tensors if key.split("/", 1)[0] not in mechanisms]
    if left:
        raise CheckpointError(f"{folder / TENSORS}: key {left[0]!r} belongs to no mechanism")
    options = {name: entry(file, description, name, str) for name in ("family", "coupling")}
    options["hidden"] = tuple(entry(file, description, "hidden", list))
    try:
        check_options(**options)
    except OptionError as error:
        raise CheckpointError(f"{file}: a setting of the SCM is not allowed: {error}") from error
    observed = entry(file, description, "observed", dict)
    observed = {name: _without_ends(part) for name, part in observed.items()}
    left = [name for name in observed if name not in mechanisms]
    if left:
        raise CheckpointError(f"{file}: key 'observed.{left[0]}' belongs to no mechanism")
    policies = entry(file, description, "policies", dict)
    fingerprint = entry(file, description, "data_fingerprint", str | None)
    description.setdefault("observed_by", {})  # folders from before it was recorded have none
    by_context = entry(file, description, "observed_by", dict)
    try:
        fitted = Fitted.of(saved, mechanisms, observed, policies, fingerprint, by_context)
    except GraphError as error:
        raise CheckpointError(f"{file}: the mechanisms do not fit the graph: {error}") from error
    kept = _replicates(file, description, mechanisms)
    return saved, options, replace(fitted, replicates=kept)


def _replicates(
    file: Path, description: dict[str, Any], mechanisms: dict[str, Mechanism]
) -> Replicates | None:
    """Returns the replicates of the parameters, None where the fit kept none.

    Raises:
        CheckpointError: If they are missing, damaged, or of other mechanisms.
    """
    if "replicates" not in description:  # as in folders from before they were kept
        return None
    part = entry(file, description, "replicates", dict)
    seed, by_patient, patients = (
        entry(file, part, key, kind, "replicates.")
        for key, kind in (("seed", int), ("by_patient", bool), ("patients", int))
    )
    tensors = file.with_name(REPLICATES)
    steps = read_tensors(tensors, part, file)
    for name, step in steps.items():
        wanted = (DRAWS, parameter_count(mechanisms[name]) if name in mechanisms else 0)
        if tuple(step.shape) != wanted:
            raise CheckpointError(
                f"{tensors}: key {name!r} has shape {tuple(step.shape)}; its mechanism needs "
                f"{wanted}"
            )
    return Replicates(
        {name: step.double() for name, step in steps.items()}, seed, by_patient, patients
    )


def _finite(part: tuple) -> list:
    """Returns what was observed as JSON: null is an end that a range lacks."""
    return [None if isinstance(x, float) and math.isinf(x) else x for x in part]


def _without_ends(part: object) -> object:
    """Returns what was observed, a missing end being infinite; the inverse of `_finite`."""
    if not isinstance(part, list) or len(part) != 2 or None not in part:
        return part
    low, high = part
    return [-math.inf if low is None else low, math.inf if high is None else high]


def _config(mechanism: Mechanism) -> dict[str, Any]:
    """Returns what a registered mechanism is built from."""
    name = type(mechanism).__name__
    if MECHANISMS.get(name) is not type(mechanism):
        raise CheckpointError(
            f"the mechanism of {mechanism.variable.name!r} is a {name}, which cannot be saved; "
            f"those that can: {', '.join(MECHANISMS)}; see cxrcausal.scm.register_mechanism"
        )
    return mechanism.config()


def _saved_graph(file: Path, description: dict[str, Any]) -> CausalGraph:
    """Returns the graph in a description, its fingerprint checked."""
    fingerprint = entry(file, description, "graph_fingerprint")
    text = entry(file, description, "graph", str)
    try:
        graph = CausalGraph.from_yaml(text)
    except CxrCausalError as error:
        raise CheckpointError(f"{file}: key 'graph' is not a causal graph: {error}") from error
    if graph.fingerprint != fingerprint:
        raise CheckpointError(
            f"{file}: key 'graph_fingerprint' is {fingerprint!r}, but the graph beside it has "
            f"{graph.fingerprint!r}: one of them was changed"
        )
    return graph


def _mechanism(
    file: Path,
    tensor_file: Path,
    graph: CausalGraph,
    name: str,
    part: dict[str, Any],
    tensors: dict[str, Any],
) -> Mechanism:
    """Returns one mechanism with its parameters."""
    path = f"mechanisms.{name}."
    if name not in graph.variables:
        raise CheckpointError(
            f"{file}: key 'mechanisms.{name}' is of no variable of the graph beside it"
            f"{nearest(name, graph.variables)}"
        )
    kind = entry(file, part, "class", str, path)
    names = entry(file, part, "parents", list, path)
    config = entry(file, part, "config", dict, path)
    if kind not in MECHANISMS:
        raise CheckpointError(
            f"{file}: key 'mechanisms.{name}.class' is {kind!r}{nearest(kind, MECHANISMS) or '.'} "
            f"Known: {', '.join(MECHANISMS)}. A mechanism of one's own is registered before "
            f"loading, see cxrcausal.scm.register_mechanism"
        )
    try:
        parents = tuple(graph.variables[p] for p in names)
        mechanism = MECHANISMS[kind].from_config(graph.variables[name], parents, config)
    except (CxrCausalError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{file}: key 'mechanisms.{name}' does not describe a {kind}: {error}"
        ) from error
    state = {
        key.split("/", 1)[1]: tensor
        for key, tensor in tensors.items()
        if key.split("/")[0] == name
    }
    wanted = mechanism.state_dict()
    for key, tensor in wanted.items():
        if key not in state:
            raise CheckpointError(f"{tensor_file}: key '{name}/{key}' is missing")
        if state[key].shape != tensor.shape:
            raise CheckpointError(
                f"{tensor_file}: key '{name}/{key}' has shape {tuple(state[key].shape)}; its "
                f"mechanism needs {tuple(tensor.shape)}"
            )
    extra = [key for key in state if key not in wanted]
    if extra:
        raise CheckpointError(
            f"{tensor_file}: key '{name}/{extra[0]}' belongs to no {kind} of this configuration"
        )
    mechanism.load_state_dict(state)
    return mechanism.eval().requires_grad_(False)
