"""What kills find: a save that loses nothing, and one that would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "killed.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def test_nothing_is_lost_in_few_kills(tmp_path):
    ask = [sys.executable, PATH, "--kills", "3", "--output", tmp_path]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.md").read_text().strip() in done.stdout


def test_what_a_killed_process_reported_is_known():
    """In a small process of its own: a fork of one with many threads may hang."""
    code = (
        "import importlib.util, time;"
        f"spec = importlib.util.spec_from_file_location('killed', {str(PATH)!r});"
        "module = importlib.util.module_from_spec(spec);"
        "spec.loader.exec_module(module);"
        "run = lambda tell: ([tell(i) for i in (1, 2, 3)], time.sleep(60));"
        "print(module.killed(run, 1.0), module.killed(lambda tell: time.sleep(60), 0.0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["3", "0"], done.stderr
