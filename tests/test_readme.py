"""The README's Python runs as printed, and its figures are those of published runs."""

import json
import re
from pathlib import Path

import matplotlib as mpl

from cxrcausal import read_table

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def published(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def short(value: float) -> str:
    return f"{value:.3f}".lstrip("0")


def test_python_block_runs_as_printed(tmp_path, monkeypatch, capsys):
    """In a folder that has `docs/`, as the repository has."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(README), "exec"), {})
    assert "positive" in capsys.readouterr().out
    assert (tmp_path / "figure.png").stat().st_size > 0
    assert list((tmp_path / "answer").glob("*.png"))


def test_its_mapping_is_read_as_it_says(tmp_path):
    """The YAML of a table of one's own, on a table that it fits."""
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "ward.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "ward.csv").write_text(
        "Patient Gender,Age (years),MRN,Effusion\nFemale,70,7,yes\nMale,40,8,?\n", "utf-8"
    )
    table = read_table(tmp_path / "ward.csv", source=tmp_path / "ward.yaml")
    assert table["pleural_effusion"].tolist()[0] == "positive"
    assert table["pleural_effusion"].isna().tolist() == [False, True]
    assert table["patient_id"].tolist() == ["ward-7", "ward-8"]


def test_its_three_numbers_were_measured():
    said = " ".join(README.read_text(encoding="utf-8").split())
    leads = [
        group["lead"]
        for result in published("metadata_likelihood")["results"]
        for group in result["groups"].values()
        if "lead" in group
    ]
    assert f"In none of {len(leads)} groups" in said
    assert min(leads) >= -0.0001
    report = published("interval_coverage")
    held = [f["coverage"] for f in report["found"] if f["interval"] == "default"]
    assert f"Over {report['studies']} simulated studies" in said
    assert f"hold the truth in {short(min(held))} to {short(max(held))}." in said
    (fair,) = (x for x in published("audit_coverage")["lines"] if x["effect_left"] == 0)
    assert f"is accused in {short(fair['says_differs'])}." in said


def test_it_has_eleven_sections():
    """The title's and ten below it; what is longer stands in `docs/`."""
    heads = re.findall(r"^#+ .*$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(heads) == 11
