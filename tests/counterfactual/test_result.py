"""What an answer says of each row is of that row, whatever the rows are called."""

import numpy as np
import pandas as pd
import pytest

import cxrcausal as cx

STEPS = 3
ROWS = pd.DataFrame(
    {"age": [58, 60, 61], "sex": ["Female", "Male", "Female"], "view": ["PA", "PA", "AP"]},
    index=["patient 1", "patient 1", "patient 2"],
)


@pytest.fixture(scope="module")
def model():
    return cx.load_pretrained("cxr19-tiny")


@pytest.fixture(scope="module")
def images(model):
    return model.sample(3, seed=1, num_steps=STEPS)[0]


def lines_of(figure, rows):
    """All words of the figure, by row."""
    words = [
        " ".join([*(t.get_text() for t in ax.texts), ax.get_title(), ax.get_ylabel()])
        for ax in figure.axes
    ]
    each = len(words) // rows
    return [" ".join(words[i : i + each]) for i in range(0, len(words), each)]


@pytest.mark.parametrize("samples", [1, 2])
def test_each_line_of_the_figure_is_captioned_with_its_own_change(model, images, samples):
    """Two radiographs of one patient share a label; captions go by position."""
    answer = model.counterfactual(
        images, ROWS, {"sex": "Male"}, num_steps=STEPS, num_samples=samples
    )
    said = ["Female → Male" in line for line in lines_of(answer.plot(), 3 * samples)]
    assert said == np.repeat([True, False, True], samples).tolist()


def test_changes_and_blocked_paths_name_rows_in_their_order(model):
    rows = ROWS.assign(pleural_effusion=["negative", "negative", np.nan])
    answer = model.counterfactual(
        None, rows, {"cardiomegaly": "positive", "age": [70, 60, 61]}, metadata_only=True
    )
    changes = answer.changes()
    assert changes.loc[changes["variable"] == "age", "row"].tolist() == ["patient 1"]
    assert answer.blocked.columns.tolist() == ["row", "cause", "unknown"]
    assert answer.blocked["row"].tolist() == sorted(answer.blocked["row"])
    effusion = answer.blocked[answer.blocked["unknown"] == "pleural_effusion"]
    assert set(effusion["row"]) <= {"patient 2"}


def test_blocked_is_written_with_the_answer(model, tmp_path):
    rows = ROWS.assign(cardiomegaly=["negative", "positive", "negative"])
    answer = model.counterfactual(None, rows, {"cardiomegaly": "positive"}, metadata_only=True)
    assert not answer.blocked.empty
    answer.save(tmp_path / "a")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "a" / "blocked.csv", index_col=0), answer.blocked, check_dtype=False
    )


def test_the_recommended_guidance_is_the_default_and_none_is_unguided(model, images):
    """The same answer as with the recipe's own weights; None leaves the velocity as it is."""
    ask = {"do": {"sex": "Male"}, "num_steps": STEPS, "seed": 0}
    rows = ROWS.reset_index(drop=True)
    default = model.counterfactual(images, rows, **ask)
    given = model.counterfactual(images, rows, guidance=model.image.guidance, **ask)
    unguided = model.counterfactual(images, rows, guidance=None, **ask)
    assert (default.images == given.images).all()
    assert unguided.provenance["guidance"] == {"form": "none"}
    assert (default.images - unguided.images).abs().mean() > 1e-4
