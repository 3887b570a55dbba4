"""Radiographs, looked at before anything is trained on them: unreadable, flat, turned, doubled."""

import hashlib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from cxrcausal.data.audit.duplicates import Duplicates, find_duplicates
from cxrcausal.data.audit.finding import Audit, Finding
from cxrcausal.data.audit.orientation import FEWEST, Standing, local_contrast, stand
from cxrcausal.data.radiograph import FLAT, read_image
from cxrcausal.data.workers import Refused, count_workers, over_files
from cxrcausal.errors import TableError

__all__ = ["audit_images"]

THUMBNAIL = 64
SHOWN = 24  # of a gallery


def audit_images(
    table: pd.DataFrame,
    *,
    split: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Audit:
    """Looks for radiographs that are unreadable, flat, turned, mirrored, inverted or doubled.

    Lateral radiographs (`view` LATERAL) are not compared with the mean, which is of frontal ones.

    Arguments:
        table: Rows with `image`, the file of each radiograph; `patient_id`, `view` and `split`
            are used where it has them.
        split: A column that says which part each row is in: doubles across parts are said.
        workers: How many processes decode; one per core if left out.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        Findings with the files that they are about, thresholds and error rates as numbers, and
        thumbnails.

    Raises:
        TableError: If the table has no column `image`, or no radiograph of it can be read.
        OptionError: If `workers` is not allowed.
    """
    begun = time.perf_counter()
    if "image" not in table.columns:
        raise TableError("the table has no column 'image', which names each row's radiograph")
    workers = count_workers(workers)
    named = table[table["image"].notna()]
    paths = [str(path) for path in named["image"]]
    answers = over_files(_describe, paths, workers)
    bar = tqdm(answers, total=len(paths), unit="image", disable=None if progress else True)
    described = list(bar)
    unread = [i for i, answer in enumerate(described) if isinstance(answer, Refused)]
    read = [i for i, answer in enumerate(described) if not isinstance(answer, Refused)]
    if not read:
        why = f"; {described[0].reason}" if unread else ""
        raise TableError(f"none of {len(paths)} radiographs could be read{why}")
    findings = []
    if unread:
        rows = _rows(named.iloc[unread], split)
        rows["reason"] = [described[i].reason for i in unread]
        said = f"{len(unread):,} files cannot be read; `cxrcausal data shard` leaves them out."
        findings.append(Finding("unreadable", "act", said, len(unread), rows))
    rows = _rows(named.iloc[read], split)
    thumbnails = np.stack([described[i][1] for i in read])
    spread = np.array([described[i][2] for i in read])
    contrast = local_contrast(_halved(thumbnails))
    flat = _is_flat(spread) | ~contrast.any(axis=1)
    frontal = ~flat
    if "view" in named.columns:
        frontal &= (named["view"].astype(object).to_numpy()[read]) != "LATERAL"
    audit = _flat(rows, thumbnails, spread, flat)
    seen = np.flatnonzero(~flat)  # two white squares are no two copies of a radiograph
    doubles = find_duplicates(contrast[seen], [described[read[i]][0] for i in seen])
    audit += _doubled(rows.iloc[seen].reset_index(drop=True), thumbnails[seen], doubles, split)
    if frontal.any():
        standing = stand(contrast[frontal])
        audit += _turned(rows[frontal].reset_index(drop=True), thumbnails[frontal], standing)
    numbers = {"radiographs": len(read), "compared with the mean": int(frontal.sum())}
    return Audit(tuple(findings), {}, numbers, {}, time.perf_counter() - begun) + audit


def _describe(path: str) -> tuple[str, np.ndarray, float]:
    """Returns the hash of the pixels, a thumbnail of the middle square, and the used range."""
    pixels = read_image(path)[0, 0].numpy()
    height, width = pixels.shape
    stored = np.rint(pixels * 65535.0).astype("<u2")
    digest = hashlib.sha256(f"{height} {width} ".encode() + stored.tobytes()).hexdigest()
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    small = square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    low, high = np.quantile(pixels, (0.01, 0.99))
    grey = np.clip(np.rint(np.asarray(small) * 255.0), 0, 255).astype(np.uint8)
    return digest, grey, float(high - low)


def _halved(thumbnails: np.ndarray) -> np.ndarray:
    half = THUMBNAIL // 2
    return thumbnails.reshape(-1, half, 2, half, 2).mean((2, 4), dtype=np.float32)


def _is_flat(spread: np.ndarray) -> np.ndarray:
    """Whether the used range is less than any radiograph's, or far below that of these.

    The logarithm of the range is held against the lower half of its own distribution.
    """
    logs = np.log(np.maximum(spread, 1e-4))
    middle, lower = np.quantile(logs, (0.5, 0.1))
    # The normal distribution's 10 % lie 1.28 standard deviations below; one of n images is left
    far = middle - np.log(max(len(logs), 2)) / np.log(10.0) * 2.0 * (middle - lower)
    return (spread < FLAT) | (logs < far)


def _flat(
    rows: pd.DataFrame, thumbnails: np.ndarray, spread: np.ndarray, flat: np.ndarray
) -> Audit:
    """Says which radiographs are nearly one grey."""
    if not flat.any():
        return Audit()
    order = np.flatnonzero(flat)[np.argsort(spread[flat])]
    where = rows.iloc[order].assign(used_range=spread[order].round(4)).reset_index(drop=True)
    said = (
        f"{flat.sum():,} radiographs are nearly one grey: 98 % of their pixels lie within "
        f"{spread[order].max():.2f} of the scale or less, where half of all use "
        f"{np.median(spread):.2f} or more. The exposure, window or export went wrong; leave them "
        "out."
    )
    return Audit(
        (Finding("flat", "act", said, int(flat.sum()), where),),
        numbers={"least used range that is not flat": float(spread[~flat].min(initial=1.0))},
        pictures=_gallery("Flat", where, thumbnails[order], "used_range"),
    )


def _doubled(
    rows: pd.DataFrame, thumbnails: np.ndarray, found: Duplicates, split: str | None
) -> Audit:
    """Says which radiographs are there twice, and whether under two names of patients or parts."""
    audit = Audit(numbers={"correlation of near duplicates": round(found.threshold, 4)})
    for name, pairs, alike in (
        ("duplicate", found.exact, np.ones(len(found.exact))),
        ("near_duplicate", found.near, found.correlation),
    ):
        if not len(pairs):
            continue
        order = np.argsort(-alike, kind="stable")
        one, other = (rows.iloc[pairs[order, k]].reset_index(drop=True) for k in (0, 1))
        where = pd.concat([one, other.add_suffix("_again")], axis=1)
        where["correlation"] = alike[order].round(4)
        said = {
            "duplicate": f"{len(pairs):,} radiographs have the very pixels of another one",
            "near_duplicate": f"{len(pairs):,} pairs of radiographs are nearly the same picture "
            f"(local contrasts correlate by {found.threshold:.3f} or more, which less than one "
            "pair of different radiographs of this collection would)",
        }[name]
        for key, what in (("patient_id", "different patients"), (split, "different parts")):
            if key in rows.columns:
                apart = (where[key] != where[f"{key}_again"]).sum()
                said += f"; {apart:,} of them are of {what}"
        advice = "K" if name == "duplicate" else "Look at them; if they are one, k"
        weight: Any = "act" if name == "duplicate" else "look"
        finding = Finding(name, weight, f"{said}. {advice}eep one of each.", len(pairs), where)
        both = np.concatenate([thumbnails[pairs[order, 0]], thumbnails[pairs[order, 1]]], axis=2)
        title = "The same pixels" if name == "duplicate" else "Nearly the same picture"
        pictures = _gallery(title, where, both, "correlation")
        audit += Audit((finding,), pictures=pictures)
    return audit


def _turned(rows: pd.DataFrame, thumbnails: np.ndarray, standing: Standing) -> Audit:
    """Says which radiographs do not stand upright."""
    findings = []
    pictures: dict[str, tuple[list[str], np.ndarray]] = {}
    if standing.all_of_them:
        findings.append(
            Finding(
                "all_turned",
                "act",
                f"Most of the {len(rows):,} radiographs are {standing.all_of_them}, by comparison "
                "with the mean radiograph of ChestX-ray14. Set the whole folder upright; single "
                "files are named below as they stand against the others.",
                len(rows),
            )
        )
    for name, chosen in (
        ("inverted", np.array(["inverted" in words for words in standing.names])),
        ("turned", np.array([bool(w) and "inverted" not in w for w in standing.names])),
    ):
        if not chosen.any():
            continue
        order = np.flatnonzero(chosen)[np.argsort(-standing.margin[chosen])]
        where = rows.iloc[order].reset_index(drop=True)
        where["stands"], where["margin"] = standing.names[order], standing.margin[order].round(2)
        kinds = where["stands"].value_counts()
        said = ", ".join(f"{count:,} {words}" for words, count in kinds.items())
        findings.append(
            Finding(
                name,
                "act",
                f"{len(order):,} radiographs would be more typical if they were set upright: "
                f"{said}. Turn back those that are; the least certain, with the smallest margin, "
                "are often children on large cassettes, laterals or parts of a chest.",
                len(order),
                where,
            )
        )
        pictures |= _gallery(name.capitalize(), where, thumbnails[order], "stands")
    findings.append(_mirrored(rows, standing))
    order = np.argsort(-standing.mirrored)[:SHOWN]
    ranked = rows.iloc[order].assign(margin=standing.mirrored[order].round(2))
    pictures |= _gallery("Most like mirrored ones", ranked, thumbnails[order], "margin")
    order = np.argsort(-standing.distance)[:SHOWN]
    ranked = rows.iloc[order].assign(distance=standing.distance[order].round(2))
    pictures |= _gallery("Least like the mean radiograph", ranked, thumbnails[order], "distance")
    numbers = {
        "least share found, if it stood so": {k: round(v, 4) for k, v in standing.found.items()},
        "mirrored, share that fits better mirrored back": round(standing.mirrored_found, 4),
        "upright, share that fits better mirrored": round(standing.mirrored_false, 4),
        "mean radiograph": "their own" if len(rows) >= FEWEST else "that of ChestX-ray14",
    }
    return Audit(tuple(findings), {}, numbers, pictures)


def _mirrored(rows: pd.DataFrame, standing: Standing) -> Finding:
    """Says how many seem mirrored, and that the mean cannot name them."""
    chosen = standing.mirrored > 0
    order = np.flatnonzero(chosen)[np.argsort(-standing.mirrored[chosen])]
    where = rows.iloc[order].assign(margin=standing.mirrored[order].round(2))
    return Finding(
        "perhaps_mirrored",
        "look",
        f"{chosen.sum():,} radiographs ({chosen.mean():.1%}) would be more typical mirrored. By "
        f"the symmetry of the comparison about {standing.mirrored_found:.0%} of mirrored ones are "
        "among them, and as large a share of upright ones as is not: only the heart and the "
        "stomach's air tell left from right here, so the list is a ranking to look through from "
        "the top, for a letter on the film, and no verdict. Far more than a few per cent would "
        "mean that a part of the collection is mirrored.",
        int(chosen.sum()),
        where.reset_index(drop=True),
    )


def _rows(named: pd.DataFrame, split: str | None) -> pd.DataFrame:
    """Returns the labels, files, patients and parts of rows."""
    keep = [name for name in ("image", "patient_id", split) if name in named.columns]
    rows = named[keep].astype(object).reset_index(drop=True)
    rows.insert(0, "row", named.index.astype(str))
    return rows


def _gallery(
    title: str, rows: pd.DataFrame, thumbnails: np.ndarray, said: str
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Returns the first thumbnails under their file's name and what is said of each."""
    names: Iterable[str] = rows["image"].astype(str).str.replace("\\", "/").str.split("/").str[-1]
    captions = [f"{name}: {value}" for name, value in zip(names, rows[said], strict=True)]
    return {title: (captions[:SHOWN], thumbnails[:SHOWN])}
