"""The scripts of `examples/` and `benchmarks/`, run as ``python SCRIPT ARGUMENTS`` runs them, in
this process: a new one takes seconds of the processor to import torch and pandas again.
"""

import contextlib
import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch

__all__ = ["load_script", "run_script"]


def run_script(script: Path, *arguments: object, folder: Path) -> None:
    """Runs a script in a folder, as ``__main__`` beside the modules that lie beside it.

    What it raises, `SystemExit` among that, is raised here. Nothing of it stays: neither its own
    modules nor torch's threads or random state. (pytest holds the log and warnings.)
    """
    beside = script.parent
    command = [str(script), *map(str, arguments)]
    before, threads = dict(sys.modules), torch.get_num_threads()
    try:
        with (
            mock.patch.object(sys, "argv", command),
            mock.patch.object(sys, "path", [str(beside), *sys.path]),
            contextlib.chdir(folder),
            torch.random.fork_rng(),
        ):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name not in before and file and Path(file).parent == beside:
                del sys.modules[name]


def load_script(script: Path) -> ModuleType:
    """Returns a script as a module, for tests of its parts."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
