"""Synthetic patients and radiographs in the folders that examples and benchmarks read (README,
"Data").

Nothing here resembles a patient: noise with a bright shape where a finding is said to be. It is
there so that every script can be run from end to end where no real data are.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from cxrcausal.data.source.vocabulary import FINDINGS

NIH_LABELS = {
    "Cardiomegaly": 0.1,
    "Effusion": 0.2,
    "Edema": 0.05,
    "Consolidation": 0.08,
    "Pneumonia": 0.05,
    "Atelectasis": 0.15,
    "Pneumothorax": 0.08,
    "Nodule": 0.08,
    "Pleural_Thickening": 0.05,
}


def write_synthetic_data(
    folder: Path, *, rows: int = 4000, radiographs: int = 600, seed: int = 0
) -> Path:
    """Writes `metadata/`, `cxr-real/` and `cxr-real-64/`; returns the folder."""
    rng = np.random.default_rng(seed)
    (folder / "metadata").mkdir(parents=True)
    _nih(rng, rows).to_csv(folder / "metadata" / "nih_train.csv.gz", index=False)
    _chexpert(rng, rows).to_csv(folder / "metadata" / "chexpert_metadata.csv.gz", index=False)
    _radiographs(rng, folder / "cxr-real", radiographs // 2, first=50_000)
    _radiographs(rng, folder / "cxr-real-64", radiographs - radiographs // 2, first=60_000)
    return folder


def _people(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, ...]:
    age = np.clip(rng.normal(50, 17, rows), 1, 94).astype(int)
    return age, rng.random(rows) < 0.55, rng.random(rows) < 0.2 + age / 200


def _nih(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """NIH's `Data_Entry_2017.csv`: findings by name, joined by a bar."""
    age, male, ap = _people(rng, rows)
    labels = []
    for years in age:
        found = [name for name, rate in NIH_LABELS.items() if rng.random() < rate * years / 50]
        labels.append("|".join(found) or "No Finding")
    patient = np.sort(rng.integers(1, rows, rows))
    return pd.DataFrame(
        {
            "Image Index": [f"{p:08}_{i:03}.png" for i, p in enumerate(patient)],
            "Finding Labels": labels,
            "Follow-up #": 0,
            "Patient ID": patient,
            "Patient Age": age,
            "Patient Gender": np.where(male, "M", "F"),
            "View Position": np.where(ap, "AP", "PA"),
        }
    )


def _chexpert(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """CheXpert's `train.csv`: one column per finding, 1, 0, -1 or empty."""
    age, male, ap = _people(rng, rows)
    frontal = rng.random(rows) < 0.85
    frame = pd.DataFrame(
        {
            "Path": [
                f"CheXpert-v1.0-small/train/patient{i:05}/study1/"
                f"view1_{'frontal' if f else 'lateral'}.jpg"
                for i, f in enumerate(frontal)
            ],
            "Sex": np.where(male, "Male", "Female"),
            "Age": age,
            "Frontal/Lateral": np.where(frontal, "Frontal", "Lateral"),
            "AP/PA": np.where(frontal, np.where(ap, "AP", "PA"), ""),
        }
    )
    for name in FINDINGS:
        if name != "No Finding":
            values = rng.choice([1.0, 0.0, -1.0, np.nan], rows, p=[0.2, 0.25, 0.05, 0.5])
            frame[name] = values
    found = (frame.loc[:, "Enlarged Cardiomediastinum":] == 1).any(axis=1)
    frame.insert(5, "No Finding", np.where(found, np.nan, 1.0))
    return frame


def _radiographs(rng: np.random.Generator, folder: Path, radiographs: int, first: int) -> None:
    """A list of NIH radiographs in CheXpert's vocabulary, beside 64 x 64 images."""
    (folder / "images").mkdir(parents=True)
    age, male, ap = _people(rng, radiographs)
    frame = pd.DataFrame(
        {
            "image": [f"images/{first + i}.png" for i in range(radiographs)],
            "source": "nih-chestxray14",
            "patient_id": [f"nih-{first + i:08}" for i in range(radiographs)],
            "age": age,
            "sex": np.where(male, "M", "F"),
            "view": np.where(ap, "AP", "PA"),
        }
    )
    unlabelled = ("Enlarged Cardiomediastinum", "Fracture", "Support Devices")
    for name in FINDINGS:
        frame[name] = (
            np.nan if name in unlabelled else (rng.random(radiographs) < 0.1).astype(float)
        )
    found = (frame.loc[:, "Cardiomegaly":] == 1).any(axis=1)
    frame["No Finding"] = np.where(found, np.nan, 1.0)
    for _, row in frame.iterrows():
        pixels = rng.normal(110, 25, (64, 64))
        pixels[:20, 20:44] += 40 * (row["sex"] == "M")
        pixels[44:, :30] += 60 * (row["Pleural Effusion"] == 1)
        pixels[30:50, 24:50] += 60 * (row["Cardiomegaly"] == 1)
        pixels[:, :6] += 50 * (row["view"] == "AP")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / row["image"])
    frame.to_csv(folder / "images.csv", index=False)
