"""A GIF runs there and back, and says that it is synthetic."""

import pytest
import torch
from PIL import Image

from cxrcausal.counterfactual.animation import save_animation
from cxrcausal.errors import ImageError


def ramp(frames: int) -> torch.Tensor:
    return torch.linspace(0.1, 0.9, frames)[:, None, None, None].expand(-1, 1, 16, 16)


def test_it_runs_there_and_back_and_says_what_it_is(tmp_path):
    path = save_animation(ramp(4), ["a", "b", "c", "d"], tmp_path / "new" / "x.gif", width=96)
    with Image.open(path) as gif:
        assert gif.n_frames == 6
        assert gif.size == (96, 112)
        assert b"not for diagnosis" in gif.info["comment"]
        grey = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            grey.append(gif.convert("L").getpixel((48, 48)))
    assert grey == pytest.approx([26, 94, 161, 230, 161, 94], abs=6)


def test_ends_are_held(tmp_path):
    path = save_animation(ramp(3), ["a", "b", "c"], tmp_path / "x.gif", seconds=0.1, hold=0.5)
    with Image.open(path) as gif:
        shown = []
        for frame in range(gif.n_frames):
            gif.seek(frame)
            shown.append(gif.info["duration"])
    assert shown == [500, 100, 500, 100]


@pytest.mark.parametrize(
    ("images", "labels", "name", "said"),
    [
        (ramp(2), ["a"], "x.gif", "2 frames have 1 labels"),
        (ramp(2), ["a", "b"], "x.mp4", "written as .gif"),
        (ramp(0), [], "x.gif", r"found \(0, 1, 16, 16\)"),
        (torch.zeros(1, 3, 8, 8), ["a"], "x.gif", r"found \(1, 3, 8, 8\)"),
    ],
)
def test_what_is_no_animation_is_refused(images, labels, name, said, tmp_path):
    with pytest.raises(ImageError, match=said):
        save_animation(images, labels, tmp_path / name)
    assert not any(tmp_path.iterdir())
