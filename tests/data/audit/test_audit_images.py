"""What was planted among radiographs is found, and little else."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from cxrcausal.data import audit_images, audit_table, read_table, write_audit
from cxrcausal.data.audit.duplicates import find_duplicates
from cxrcausal.data.audit.orientation import BACK, TURNS, local_contrast, stand
from cxrcausal.errors import TableError

UP_AND_ACROSS = np.mgrid[0:128, 0:128] / 128.0


def chest(rng: np.random.Generator) -> np.ndarray:
    """A cartoon of a chest (128, 128): two lungs, a heart left of the middle, ribs, noise."""
    y, x = UP_AND_ACROSS
    across, up = 0.5 + rng.normal(0, 0.02), 0.45 + rng.normal(0, 0.03)
    wide, high = 0.13 * rng.uniform(0.9, 1.1), 0.28 * rng.uniform(0.85, 1.1)
    image = 0.75 - 0.9 * (np.abs(x - across) > 0.42 * rng.uniform(0.95, 1.05))
    for side in (-1, 1):
        lung = ((x - across - side * 0.2) / wide) ** 2 + ((y - up) / high) ** 2 < 1
        image = np.where(lung, 0.25 + 0.06 * np.sin(y * rng.uniform(55, 65)), image)
    heart = ((x - across - 0.07) / 0.12) ** 2 + ((y - up - 0.14) / 0.12) ** 2 < 1
    image = np.where(heart, 0.85, image)
    image = np.where(y < 0.12, 0.1, image)
    for _ in range(10):  # something of one's own
        at = rng.uniform(0.2, 0.8, 2)
        blob = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / rng.uniform(0.001, 0.01))
        image = image + rng.normal(0, 0.15) * blob
    return np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)


def save(pixels: np.ndarray, path) -> None:
    Image.fromarray(np.rint(255 * pixels).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """160 cartoons in a folder, with three of everything planted."""
    folder, rng = tmp_path_factory.mktemp("planted"), np.random.default_rng(0)
    names = [f"film{i:03}.png" for i in range(160)]
    for name in names:
        save(chest(rng), folder / name)
    changes = {
        "right": lambda image: image.transpose(Image.Transpose.ROTATE_270),
        "left": lambda image: image.transpose(Image.Transpose.ROTATE_90),
        "over": lambda image: image.transpose(Image.Transpose.ROTATE_180),
        "inverted": ImageOps.invert,
        "flat": lambda image: image.point(lambda v: 90 + v // 40),
        "one grey": lambda image: image.point(lambda v: 90),
    }
    truth = {}
    for k, (what, change) in enumerate(changes.items()):
        for i in range(3):
            name = names[20 * k + 5 * i]
            with Image.open(folder / name) as image:
                change(image).save(folder / name)
            truth[name] = what
    copies = {
        "same.png": lambda image, path: image.save(path, optimize=True),
        "small.png": lambda image, path: image.resize((100, 100)).save(path),
        "jpeg.jpg": lambda image, path: image.save(path, quality=70),
        "bright.png": lambda image, path: image.point(lambda v: v * 0.8 + 30).save(path),
    }
    for i, (name, change) in enumerate(copies.items()):
        with Image.open(folder / names[130 + i]) as image:
            change(image, folder / name)
        truth[name] = names[130 + i]
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    names += [*copies, "broken.png"]
    table = pd.DataFrame({"image": [str(folder / name) for name in names]})
    table["patient_id"] = [f"p{i}" for i in range(len(names))]
    table["split"] = "train"
    table.loc[len(names) - 3, "split"] = "test"  # the JPEG
    return table, truth


@pytest.fixture(scope="module")
def audit(planted):
    return audit_images(planted[0], split="split", workers=1)


def names_of(finding, column="image") -> list[str]:
    return [] if finding is None else [path.rsplit("/", 1)[1] for path in finding.rows[column]]


@pytest.mark.parametrize(
    ("kinds", "name"),
    [(("right", "left", "over"), "turned"), (("inverted",), "inverted")],
)
def test_what_is_turned_or_inverted_is_found(planted, audit, kinds, name):
    expected = {file for file, what in planted[1].items() if what in kinds}
    assert set(names_of(audit.named(name))) == expected


def test_how_an_image_is_turned_is_said(planted, audit):
    found = audit.named("turned").rows
    words = dict(zip(names_of(audit.named("turned")), found["stands"], strict=True))
    said = {planted[1][name]: words[name] for name in words}
    assert "clockwise" in said["right"]
    assert "anti" not in said["right"]
    assert "anticlockwise" in said["left"]
    assert said["over"] == "upside down"


def test_what_is_flat_is_found(planted, audit):
    expected = {file for file, what in planted[1].items() if what in ("flat", "one grey")}
    assert set(names_of(audit.named("flat"))) == expected


def test_copies_are_found_and_whose_they_are_is_said(planted, audit):
    same = audit.named("duplicate")
    assert names_of(same, "image_again") == ["same.png"]
    assert names_of(same) == [planted[1]["same.png"]]
    near = audit.named("near_duplicate")
    found = dict(zip(names_of(near, "image_again"), names_of(near), strict=True))
    assert found == {name: planted[1][name] for name in ("small.png", "jpeg.jpg", "bright.png")}
    assert "3 of them are of different patients" in near.said
    assert "1 of them are of different parts" in near.said


def test_what_cannot_be_read_is_named_with_the_reason(audit):
    assert names_of(audit.named("unreadable")) == ["broken.png"]
    assert "damaged" in audit.named("unreadable").rows["reason"][0]


def test_mirrored_ones_are_ranked_and_the_error_is_said(audit):
    finding = audit.named("perhaps_mirrored")
    assert finding.weight == "look"
    assert "no verdict" in finding.said
    right = audit.numbers["mirrored, share that fits better mirrored back"]
    assert 0.5 < right <= 1


def test_the_page_needs_nothing_else(planted, audit, tmp_path):
    numbers = write_audit(audit, tmp_path / "report.html", title="A < B")
    page = (tmp_path / "report.html").read_text()
    assert "A &lt; B" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.index("To be mended") < page.index("To be looked at")
    assert "film000.png" in page
    said = json.loads(numbers.read_text())
    assert {finding["name"] for finding in said["findings"]} >= {"turned", "inverted", "flat"}


def test_processes_do_not_change_the_answer(planted, audit):
    again = audit_images(planted[0], split="split", workers=2, progress=False)
    assert [f.said for f in again.findings] == [f.said for f in audit.findings]


def test_a_folder_that_is_turned_as_a_whole_is_said(shared_data):
    listed = pd.read_csv(shared_data / "cxr-real-128" / "images.csv").iloc[::60]
    images = np.stack(
        [np.asarray(Image.open(shared_data / "cxr-real-128" / name)) for name in listed["image"]]
    )
    small = images.reshape(-1, 32, 4, 32, 4).mean((2, 4))
    found = stand(local_contrast(255 - small[:, ::-1, ::-1]))
    assert found.all_of_them == "upside down, inverted"
    assert (found.names == "").mean() > 0.98


def test_turns_are_undone_by_what_is_said_to():
    rng = np.random.default_rng(1)
    image = rng.random((1, 4, 4))
    for name, turn in TURNS.items():
        other = TURNS[BACK.get(name, name)]
        np.testing.assert_array_equal(other(turn(image)), image)


def test_few_radiographs_are_held_against_the_shipped_mean(shared_data):
    listed = pd.read_csv(shared_data / "cxr-real-128" / "images.csv").iloc[::800]
    images = np.stack(
        [np.asarray(Image.open(shared_data / "cxr-real-128" / name)) for name in listed["image"]]
    )
    images[0] = 255 - images[0]
    images[1] = np.rot90(images[1], 2)
    found = stand(local_contrast(images.reshape(-1, 32, 4, 32, 4).mean((2, 4))))
    assert "inverted" in found.names[0]
    assert "upside down" in found.names[1]
    assert (found.names[2:] == "").mean() >= 0.9


def test_different_radiographs_are_no_duplicates():
    rng = np.random.default_rng(2)
    images = np.stack([chest(rng) for _ in range(200)]).reshape(-1, 32, 4, 32, 4).mean((2, 4))
    contrast = local_contrast(255 * images)
    found = find_duplicates(contrast, [str(i) for i in range(200)])
    assert len(found.exact) == 0
    assert len(found.near) == 0
    assert found.nearest.max() < found.threshold


def test_tables_without_radiographs_are_refused(tmp_path):
    with pytest.raises(TableError, match="no column 'image'"):
        audit_images(pd.DataFrame({"age": [1.0]}), workers=1)
    with pytest.raises(TableError, match="none of 1 radiographs could be read"):
        audit_images(pd.DataFrame({"image": [str(tmp_path / "absent.png")]}), workers=1)


@pytest.mark.slow
def test_among_real_radiographs_what_was_planted_is_found(shared_data, tmp_path):
    """1,500 of ChestX-ray14, with 20 of each planted; the false alarms are counted."""
    source = shared_data / "cxr-real-128"
    table = read_table(source / "images.csv", source="image_list").iloc[::5].head(1500).copy()
    rng = np.random.default_rng(0)
    planted: dict[str, set[str]] = {}
    rows = rng.permutation(len(table))
    changes = {
        "turned": lambda i, image: np.rot90(image, 1 + i % 3),
        "inverted": lambda i, image: 255 - image,
        "flat": lambda i, image: (90 + image * (0.05 * (i % 2))).astype(np.uint8),
    }
    images = table["image"].tolist()
    for k, (what, change) in enumerate(changes.items()):
        planted[what] = set()
        for i, row in enumerate(rows[20 * k : 20 * k + 20]):
            path = tmp_path / f"{what}{i}.png"
            with Image.open(images[row]) as image:
                Image.fromarray(change(i, np.asarray(image))).save(path)
            images[row] = str(path)
            planted[what].add(str(path))
    table["image"] = images
    copies = table.iloc[rows[100:140]].copy()
    for i, row in enumerate(copies.index):
        path = tmp_path / f"copy{i}.png"
        with Image.open(copies.loc[row, "image"]) as image:
            (image if i % 2 else image.resize((150, 150))).save(path)
        copies.loc[row, "image"] = str(path)
    both = pd.concat([table, copies], ignore_index=True)
    audit = audit_images(both, workers=2, progress=False)
    for what, files in planted.items():
        found = set(audit.named(what).rows["image"])
        assert files <= found, what
        assert len(found - files) <= 0.005 * len(both), what
    for name in ("duplicate", "near_duplicate"):
        assert len(audit.named(name).rows) == 20
    assert audit_table(both).named("image_twice") is None
