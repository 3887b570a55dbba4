"""A figure of generated radiographs says so in its file, or is not written."""

import io
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from cxrcausal.errors import ImageError


def test_every_figure_says_that_it_is_synthetic(answer, tmp_path):
    figure = answer.plot(tmp_path / "figure.PNG", most=1)
    figure.savefig(tmp_path / "again.png", metadata={"Title": "sex"})
    for name in ("figure.PNG", "again.png"):
        with PillowImage.open(tmp_path / name) as picture:
            assert "no patient's radiographs" in picture.info["Synthetic"]
    assert picture.info["Title"] == "sex"
    stream = io.BytesIO()
    figure.savefig(stream)
    assert b"no patient's radiographs" in stream.getvalue()
    for name in ("figure.svg", "figure.pdf"):
        figure.savefig(tmp_path / name)
        assert b"generated images" in (tmp_path / name).read_bytes()


def test_a_figure_is_complete_or_absent(answer, tmp_path, monkeypatch):
    """What stood at the path still stands there when writing ends half-way."""
    figure = answer.plot(tmp_path / "figure.png", most=1)
    before = (tmp_path / "figure.png").read_bytes()

    def half(self, file, **options):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    with pytest.raises(KeyboardInterrupt):
        figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("x.foo", {}, "cannot be written as 'foo'. Allowed.*: png, pdf, svg"),
        ("x.jpg", {}, "cannot be written as 'jpg'"),
        (None, {"most": 0}, "most is 0; it must be a whole number, at least 1"),
        (None, {"most": 1.5}, r"most is 1\.5"),
    ],
)
def test_impossible_figures_are_refused(answer, tmp_path, path, options, words):
    with pytest.raises(ImageError, match=words):
        answer.plot(path and tmp_path / path, **options)
    assert not list(tmp_path.iterdir())
