"""Small files in each owner's format, made by hand from the owners' documentation.

No row is a patient's: names and columns are the owners', the values are ours.
"""

import gzip
import json
from pathlib import Path

CHEXPERT = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
FINDINGS = [name.lower().replace(" ", "_") for name in CHEXPERT.split(",")]


def labels(**given) -> str:
    """The 14 cells of a report-labelled row: `edema=1`; those not given are empty."""
    return ",".join(str(given.get(name, "")) for name in FINDINGS)


def positives(row) -> set[str]:
    """Which findings of a row of the result are positive."""
    return {name for name in FINDINGS if row[name] == "positive"}


def write(path: Path, *lines: str) -> Path:
    """Writes lines to a file, packed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def write_json_lines(path: Path, *objects: dict) -> Path:
    """Writes one JSON object per line."""
    return write(path, *map(json.dumps, objects))
