"""The README's Python runs as printed."""

import importlib.util
import json
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A working folder with the two files that the README's reader has: a film and NIH's table."""
    rng = np.random.default_rng(0)
    film = rng.integers(0, 256, (80, 80), dtype=np.uint8)
    Image.fromarray(film).save(tmp_path / "film.png")
    lines = [
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    ]
    labels = ("No Finding", "Effusion", "Cardiomegaly|Effusion", "Atelectasis", "Edema")
    for patient in range(400):
        label = labels[rng.integers(len(labels))]
        sex, view = "MF"[rng.integers(2)], ("PA", "AP")[rng.integers(2)]
        lines.append(
            f"{patient:08}_000.png,{label},0,{patient},{rng.integers(20, 90)},{sex},{view}"
        )
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    return tmp_path


def test_python_block_runs_as_printed(desk, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(README), "exec"), {})
    assert "Male" in capsys.readouterr().out
    assert (desk / "figure.png").stat().st_size > 0
    assert list((desk / "answer").glob("*.png"))


def test_the_table_of_radiographs_is_that_of_the_published_run():
    spec = importlib.util.spec_from_file_location(
        "soundness_tables", ROOT / "benchmarks" / "soundness_tables.py"
    )
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    results = ROOT / "benchmarks" / "results"
    numbers = json.loads((results / "image_soundness.json").read_text(encoding="utf-8"))
    shown = README.read_text(encoding="utf-8").split("<!-- image-soundness -->\n")[1]
    assert shown.split("\n<!-- /image-soundness -->")[0] == tables.readme_table(numbers)
    report = (results / "image_soundness.md").read_text(encoding="utf-8")
    assert f"{numbers['seconds']:.0f} s in all." in report  # one run wrote both


def test_the_published_run_is_of_the_shipped_model():
    """A model that is trained anew needs a new run before its figures may stand."""
    shipped = json.loads(
        (ROOT / "generative" / "cxr19-tiny" / "image.json").read_text(encoding="utf-8")
    )
    numbers = json.loads(
        (ROOT / "benchmarks" / "results" / "image_soundness.json").read_text(encoding="utf-8")
    )
    assert numbers["model"]["training"] == shipped["training"]
    for key, value in shipped["recipe"]["solver"].items():
        assert numbers["model"]["solver"][key] == value
