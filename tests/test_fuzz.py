"""The fuzzer itself: what it calls a defect is one, and the shipped package has none at hand."""

import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from script import load_script

from cxrcausal.errors import GraphError

PATH = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    return load_script(PATH)


def failing(error):
    def call():
        raise error

    return call


def test_outcomes_are_told_apart(fuzz, monkeypatch):
    assert fuzz.outcome_of(lambda: None) == ("accepted", "")
    assert fuzz.outcome_of(failing(GraphError("no such variable"))) == ("refused", "")
    assert fuzz.outcome_of(failing(GraphError(" ")))[0] == "foreign"
    assert fuzz.outcome_of(failing(KeyError("age")))[0] == "foreign"
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    assert fuzz.outcome_of(lambda: time.sleep(30))[0] == "slow"


def test_code_that_runs_is_found(fuzz, tmp_path):
    def careless(draw, work, code):
        content = pickle.dumps(fuzz.Smuggled(code))
        while True:
            yield "a pickle", lambda: pickle.loads(content)

    outcomes = fuzz.tried(careless, 2, 0, tmp_path)
    assert outcomes.counts == {"code": 2}
    assert outcomes.inputs == {"code was run": "a pickle"}


def test_the_same_seed_damages_alike(fuzz, tmp_path):
    def first(seed):
        made = fuzz.graphs(random.Random(seed), tmp_path, tmp_path / "code")
        return [next(made)[0] for _ in range(5)]

    assert first(1) == first(1) != first(2)


def test_no_defect_is_found_in_few_cases(tmp_path):
    """In a process of its own, which may silence logs and warnings."""
    ask = [sys.executable, PATH, "--cases", "12", "--seed", "3", "--output", tmp_path]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.md").read_text().strip() in done.stdout
