"""What an answer says of each row is of that row, whatever the rows are called."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PillowImage

from cxrcausal.errors import CxrCausalError

STEPS = 3
ROWS = pd.DataFrame(
    {"age": [58, 60, 61], "sex": ["Female", "Male", "Female"], "view": ["PA", "PA", "AP"]},
    index=["patient 1", "patient 1", "patient 2"],
)


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


def test_the_figure_says_which_unknown_cells_were_not_followed(model, images):
    """An effusion that is unknown may follow from the heart: the radiograph keeps what it had."""
    rows = ROWS.assign(
        cardiomegaly="negative", pleural_effusion=["negative", "negative", np.nan]
    ).set_axis(["a", "b", "c"])
    answer = model.counterfactual(
        images, rows, {"cardiomegaly": "positive"}, num_steps=STEPS, num_samples=2
    )
    blocked = answer.blocked.groupby("row")["unknown"].agg(set)
    lines = lines_of(answer.plot(), 6)
    for line, label in zip(lines, answer.table.index, strict=True):
        words = " ".join(line.split())
        for name in blocked.get(label, ()):
            assert name in words.partition("unknown, not followed: ")[2]
    assert "pleural_effusion" in lines[4].partition("not followed")[2]
    assert "pleural_effusion" not in lines[0].partition("not followed")[2]


def test_the_figure_attributes_nothing_by_a_label_that_two_rows_share(model, images):
    answer = model.counterfactual(images, ROWS, {"cardiomegaly": "positive"}, num_steps=STEPS)
    assert not answer.blocked.empty
    assert "not followed" not in " ".join(lines_of(answer.plot(), 3))


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


def test_save_writes_synthetic_images_and_their_provenance(answer, tmp_path):
    answer.save(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names[:3] == ["blocked.csv", "changes.csv", "counterfactual.csv"]
    with PillowImage.open(tmp_path / "counterfactual_000000.png") as picture:
        assert "not a patient's radiograph" in picture.info["Synthetic"]
        assert json.loads(picture.info["Provenance"])["do"] == {"sex": "Male"}
        assert picture.size == (64, 64)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["synthetic"] is True
    assert record["seed"] == 3
    assert record["model"] == "cxr19-tiny"


def test_each_image_tells_its_own_patient_alone(model, patients, tmp_path):
    """One value per row: an image holds what was asked of its patient, and of nobody else."""
    images, rows = patients
    turned = pd.Series([61.0, 62.0, 63.0, 64.0, 65.0], index=rows.index)[::-1]
    answer = model.counterfactual(
        images, rows, {"age": turned, "sex": "Male"}, num_samples=2, num_steps=STEPS, seed=0
    )
    assert answer.provenance["do"]["age"] == [61.0, 62.0, 63.0, 64.0, 65.0]
    answer.save(tmp_path)
    for position in range(10):
        with PillowImage.open(tmp_path / f"counterfactual_{position:06d}.png") as picture:
            asked = json.loads(picture.info["Provenance"])["do"]
        assert asked == {"age": 61.0 + position // 2, "sex": "Male"}


def test_a_smaller_answer_leaves_nothing_of_a_larger_one(model, patients, answer, tmp_path):
    answer.save(tmp_path)
    small = model.counterfactual(
        patients[0][:1], patients[1].head(1), {"sex": "Male"}, num_steps=STEPS, seed=3
    )
    small.save(tmp_path)
    assert [p.name for p in tmp_path.glob("*.png")] == ["counterfactual_000000.png"]
    model.counterfactual(None, patients[1], {"sex": "Male"}, metadata_only=True, seed=3).save(
        tmp_path
    )
    assert not list(tmp_path.glob("*.png"))
    assert len(pd.read_csv(tmp_path / "counterfactual.csv")) == 5


def test_plot_is_a_figure_and_a_file(answer, tmp_path):
    figure = answer.plot(tmp_path / "figure.png", most=2)
    assert len(figure.axes) == 8
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_an_answer_is_not_saved_over_a_file(answer, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CxrCausalError, match="out' is a file; give a folder"):
        answer.save(tmp_path / "out")


def test_a_notebook_shows_the_figure_and_what_changed(model, images, answer):
    """The picture says that it is synthetic; of metadata alone there is none."""
    shown = answer._repr_html_()
    assert 'src="data:image/png;base64,' in shown
    assert "not for diagnosis" in shown
    assert all(f"<td>{name}</td>" in shown for name in answer.changes()["variable"])
    alone = model.counterfactual(None, ROWS.iloc[1:], {"sex": "Male"}, seed=0, metadata_only=True)
    assert "<img" not in alone._repr_html_()
    assert "<td>sex</td>" in alone._repr_html_()
    nothing = model.counterfactual(None, ROWS.iloc[1:], {}, seed=0, metadata_only=True)
    assert "nothing changed" in nothing._repr_html_()
