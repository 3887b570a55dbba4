"""Pages of the documentation whose blocks run as printed do."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("page", ["fairness"])
def test_every_block_of_a_page_runs_as_printed(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) > 1
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), names)  # our own page
    assert capsys.readouterr().out
    assert (tmp_path / "audit" / "report.html").exists()


def test_the_columns_that_a_page_explains_are_those_of_an_answer():
    from cxrcausal.fairness.estimates import Scores, effects

    text = (DOCS / "fairness.md").read_text(encoding="utf-8")
    table = text[text.index("| column | is") : text.index("A radiograph that does not come back")]
    named = set(re.findall(r"`(\w+)`", table)) - {"check"}
    said = f"{effects.__doc__} {Scores.others.__doc__}"
    assert {name for name in named if name not in said} <= {
        "there_and_back_flips",
        "placebo_flips",
    }
