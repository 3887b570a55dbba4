"""PadChest of Hospital San Juan de Alicante: 193 labels as a list per image.

`PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv` has one row per image and its `Labels` as a
list from PadChest's own tree, 27 % of them by physicians, the others by a network that read the
Spanish report (`MethodLabel`). Which label is which of the graph's findings is `LABELS` below, by
that tree: an alveolar pattern is below infiltrates and so an opacity; consolidation is below it.
Labels under which a finding would be a matter of opinion (hilar congestion: an edema?) make it
unknown rather than negative. Nobody published a mapping to CheXpert's findings that is generally
accepted: this one is ours.

*Unchanged*, *exclude* and *suboptimal study* say nothing of what else there is: beside them, what
is not listed is unknown. A list of devices alone does not say whether anything was found. An empty
list is unknown throughout.

Age is the year of the study less the year of birth, all that is published: up to one year too
high. Projections are those that PadChest's authors checked (`Projection`): AP_horizontal is AP,
COSTAL (ribs) and EXCLUDE are unknown. Race is not recorded.

References:
    | PadChest: A large chest x-ray image dataset with multi-label annotated reports
    | (Bustos et al., 2020), https://arxiv.org/abs/1901.07441
"""

import ast
from collections.abc import Iterable

import pandas as pd

from cxrcausal.data.source.download import SourceFile
from cxrcausal.data.source.label_list import LabelList
from cxrcausal.data.source.source import Source
from cxrcausal.data.source.vocabulary import (
    Columns,
    Policies,
    column,
    no_finding_conflicts,
    numbers,
    text,
    translate,
)
from cxrcausal.graph.dag import CausalGraph

__all__ = ["LABELS", "SOURCE", "read_padchest"]

ATELECTASES = (
    *("atelectasis", "laminar atelectasis", "lobar atelectasis", "segmental atelectasis"),
    *("total atelectasis", "round atelectasis", "atelectasis basal"),
)
NODULES = (
    *("nodule", "multiple nodules", "pulmonary mass", "lung metastasis"),
    *("lepidic adenocarcinoma", "cavitation"),
)
DEVICES = (
    *("pacemaker", "dual chamber device", "single chamber device", "dai", "electrical device"),
    *("artificial heart valve", "artificial aortic heart valve", "artificial mitral heart valve"),
    *("endotracheal tube", "tracheostomy tube", "NSG tube", "chest drain tube", "catheter"),
    *("central venous catheter", "central venous catheter via jugular vein"),
    *("central venous catheter via subclavian vein", "reservoir central venous catheter"),
    *("central venous catheter via umbilical vein", "gastrostomy tube", "nephrostomy tube"),
    *("ventriculoperitoneal drain tube", "double J stent"),
    *("aortic endoprosthesis", "endoprosthesis"),
)
EDEMA = (
    *("heart insufficiency", "hilar congestion", "kerley lines", "vascular redistribution"),
    *("central vascular redistribution", "pulmonary venous hypertension"),
)
LABELS = LabelList(
    owner="PadChest",
    normal="normal",
    mapping={
        "cardiomegaly": ("cardiomegaly",),
        "edema": ("pulmonary edema",),
        "consolidation": ("consolidation", "air bronchogram"),
        "pneumonia": ("pneumonia", "atypical pneumonia"),
        "atelectasis": ATELECTASES,
        "pneumothorax": ("pneumothorax", "hydropneumothorax"),
        "pleural_effusion": (
            *("pleural effusion", "loculated pleural effusion", "loculated fissural effusion"),
            *("hydropneumothorax", "empyema"),
        ),
        "pleural_other": (
            *("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
            *("pleural plaques", "calcified pleural plaques", "pleural mass"),
            *("fissure thickening", "major fissure thickening", "minor fissure thickening"),
        ),
        "fracture": (
            *("fracture", "rib fracture", "callus rib fracture", "clavicle fracture"),
            *("humeral fracture", "vertebral fracture"),
        ),
        "enlarged_cardiomediastinum": (
            *("mediastinal enlargement", "superior mediastinal enlargement"),
        ),
        "lung_lesion": NODULES,
        "lung_opacity": (
            *("infiltrates", "alveolar pattern", "consolidation", "air bronchogram"),
            *("interstitial pattern", "ground glass pattern", "reticular interstitial pattern"),
            *("reticulonodular interstitial pattern", "miliary opacities", "increased density"),
        ),
        "support_devices": DEVICES,
    },
    unclear={
        "edema": EDEMA,
        "consolidation": ("alveolar pattern", "infiltrates"),
        "pneumonia": ("infiltrates", "tuberculosis", "empyema", "abscess"),
        "atelectasis": ("volume loss",),
        "pleural_effusion": ("costophrenic angle blunting",),
        "pleural_other": ("costophrenic angle blunting", "asbestosis signs", "empyema"),
        "fracture": ("vertebral compression", "vertebral anterior compression"),
        "enlarged_cardiomediastinum": (
            *("mediastinal mass", "mediastinic lipomatosis", "aortic aneurysm", "goiter"),
            *("pericardial effusion", "pneumomediastinum"),
        ),
        "lung_lesion": (
            *("mass", "granuloma", "calcified granuloma", "miliary opacities", "abscess", "cyst"),
            *("lymphangitis carcinomatosa",),
        ),
        "lung_opacity": (
            *("pulmonary edema", "pneumonia", "atypical pneumonia", "pulmonary fibrosis"),
            *("tuberculosis", "tuberculosis sequelae", "fibrotic band", "mass", "abscess"),
            *("lymphangitis carcinomatosa", "granuloma", "calcified granuloma", "kerley lines"),
            *("asbestosis signs", "post radiotherapy changes", "respiratory distress"),
            *ATELECTASES,
            *NODULES,
        ),
        "support_devices": (
            *("prosthesis", "humeral prosthesis", "osteosynthesis material", "suture material"),
            *("metal", "sternotomy", "bone cement", "mammary prosthesis"),
            *("abnormal foreign body", "external foreign body"),
        ),
    },
    vague=("unchanged", "exclude", "suboptimal study"),
    devices=DEVICES,
    others=(
        *("COPD signs", "Chilaiditi sign", "adenopathy", "air fluid level", "air trapping"),
        *("aortic atheromatosis", "aortic button enlargement", "aortic elongation"),
        *("ascendent aortic elongation", "descendent aortic elongation"),
        *("supra aortic elongation", "axial hyperostosis", "azygoesophageal recess shift"),
        *("azygos lobe", "blastic bone lesion", "bone metastasis", "breast mass"),
        *("bronchiectasis", "bronchovascular markings", "bullas", "calcified adenopathy"),
        *("calcified densities", "calcified fibroadenoma", "calcified mediastinal adenopathy"),
        *("cervical rib", "chronic changes", "costochondral junction hypertrophy"),
        *("dextrocardia", "diaphragmatic eventration", "emphysema", "end on vessel"),
        *("esophagic dilatation", "flattened diaphragm", "gynecomastia", "heart valve calcified"),
        *("hemidiaphragm elevation", "hiatal hernia", "hilar enlargement", "hyperinflated lung"),
        *("hypoexpansion", "hypoexpansion basal", "kyphosis", "lipomatosis"),
        *("lung vascular paucity", "lytic bone lesion", "mastectomy", "mediastinal shift"),
        *("nipple shadow", "non axial articular degenerative changes", "obesity", "osteopenia"),
        *("osteoporosis", "pectum carinatum", "pectum excavatum", "pneumoperitoneo"),
        *("pseudonodule", "pulmonary artery enlargement", "pulmonary artery hypertension"),
        *("pulmonary hypertension", "right sided aortic arch", "sclerotic bone lesion"),
        *("scoliosis", "soft tissue mass", "sternoclavicular junction hypertrophy"),
        *("subacromial space narrowing", "subcutaneous emphysema", "surgery", "surgery breast"),
        *("surgery heart", "surgery humeral", "surgery lung", "surgery neck"),
        *("thoracic cage deformation", "tracheal shift", "vascular hilar enlargement"),
        *("vertebral degenerative changes",),
    ),
)
SEXES = {"F": "Female", "M": "Male", "O": None, "None": None}
VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "AP_horizontal": "AP",
    "L": "LATERAL",
    "COSTAL": None,
    "EXCLUDE": None,
    "UNK": None,
}


def read_padchest(
    frame: pd.DataFrame, graph: CausalGraph, policies: Policies, notes: dict[str, int]
) -> Columns:
    """Returns the columns of PadChest's table under the graph's names.

    Arguments:
        frame: The table as its owners wrote it.
        graph: Not used: its columns are all read.
        policies: `not_mentioned` decides a finding that is not listed; under `unknown`, all of
            them are still negative where *normal* is. `uncertain` never occurs.
        notes: Counts of cells that are not taken as written, added to in place.

    Raises:
        TableError: If a column is absent or holds a value that PadChest does not have.
    """
    folder = text(column(frame, "ImageDir", "padchest"))
    image = text(column(frame, "ImageID", "padchest"))
    born = numbers(column(frame, "PatientBirth", "padchest"))
    study = numbers(column(frame, "StudyDate_DICOM", "padchest")) // 10_000
    view = column(frame, "Projection", "padchest")
    sex = column(frame, "PatientSex_DICOM", "padchest")
    age = study - born
    columns: Columns = {
        "image": folder + "/" + image,
        "patient_id": "padchest-" + text(column(frame, "PatientID", "padchest")),
        "study_id": "padchest-" + text(column(frame, "StudyID", "padchest")),
        "dataset": pd.Series("PadChest", index=frame.index),
        "age": age.where(age >= 0),
        "sex": translate(sex, SEXES),
        "view": translate(view, VIEWS),
    }
    notes["born after the study, age unknown"] = int((age < 0).sum())
    notes["sex read as unknown"] = int((sex.notna() & columns["sex"].isna()).sum())
    notes["view is none of the graph's"] = int((view.notna() & columns["view"].isna()).sum())
    labels = column(frame, "Labels", "padchest")
    columns |= LABELS.read(labels, _parts, policies, notes)
    vague = text(labels).str.contains("|".join(LABELS.vague), case=False, regex=True)
    notes["unchanged, excluded or suboptimal: what is not listed is unknown"] = int(
        vague.fillna(False).astype(bool).sum()
    )
    notes |= no_finding_conflicts(columns)
    return columns


def _parts(cell: str) -> Iterable[str]:
    """Returns the labels of a cell such as ``['cardiomegaly', ' pneumonia']``."""
    found = ast.literal_eval(cell)
    if not isinstance(found, list | tuple) or not all(isinstance(part, str) for part in found):
        raise ValueError(cell)
    return found


SOURCE = Source(
    name="padchest",
    title="PadChest of Hospital San Juan de Alicante",
    read=read_padchest,
    files=(
        SourceFile(
            (
                "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
                "PADCHEST_chest_x_ray_images_labels_160K.csv",
            ),
            "the table of images and labels",
        ),
    ),
    columns={
        "image": "ImageDir and ImageID",
        "patient_id": "PatientID",
        "study_id": "StudyID",
        "age": "StudyDate_DICOM and PatientBirth",
        "sex": "PatientSex_DICOM",
        "view": "Projection",
        "no_finding": "Labels",
        **dict.fromkeys(LABELS.mapping, "Labels"),
    },
    mapping={
        "age": "year of StudyDate_DICOM - PatientBirth",
        "sex": "F Female, M Male; O unknown",
        "view": "PA, AP; AP_horizontal is AP; L is LATERAL; COSTAL and EXCLUDE unknown",
        **LABELS.described(),
        "no_finding": "normal positive; any finding negative; devices alone unknown",
    },
    never_labelled=("race",),
    names=("ImageID", "ImageDir", "StudyID", "PatientID", "Labels", "Report", "ReportID"),
    has_reports=True,
    not_mentioned="a label that is not listed, unless normal is",
    ages="from the year of birth alone, up to one year too high; not top-coded",
    image_layout="`<ImageDir>/<ImageID>`, as the archives unpack: `0/...png` to `54/...png`",
    licence=(
        "PadChest Dataset Research Use Agreement of BIMCV: research, no redistribution (a form "
        "is to be signed)."
    ),
    citation=(
        "Bustos et al., PadChest: A large chest x-ray image dataset with multi-label annotated "
        "reports, Medical Image Analysis 2020"
    ),
)
