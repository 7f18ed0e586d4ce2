"""Layouts of a release (nnU-Net, BIDS, 3D Slicer, ITK-SNAP, meshes) and the names of cases in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import ConfigError
from heartmend.io.atomic import write_json, write_text
from heartmend.io.colour_tables import own_names, slicer_colour_table, write_colour_tables
from heartmend.io.file_names import escape_markdown
from heartmend.io.id_presets import id_preset
from heartmend.version import __version__

Layout = Literal[
    "nnunet", "bids", "slicer", "itksnap", "meshes", "totalsegmentator", "decathlon", "dicom-seg", "rtstruct"
]
Images = Literal["link", "copy", "none"]
"""How the CTs are put into the layouts that have images: as links to the same file where the disk allows, or copies."""
IMAGES: tuple[Images, ...] = get_args(Images)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_MASK_PRESETS = ("totalsegmentator-v2", "heartchambers-highres", "coronary-arteries")
BIDS_VERSION = "1.10.0"
_BIDS_README = """\
# {title}

Label maps of hearts, repaired with Heartmend and reviewed: BIDS derivatives. Each subject has one segmentation,
`*_desc-repaired_dseg.nii.gz`; its values are named in `desc-repaired_dseg.tsv`. The CT images are not part of these
derivatives. See the README of the release for counts, decisions, citations and terms of use.
"""


@dataclass(frozen=True)
class ReleaseNames:
    """Names in the layouts.

    Attributes:
        nnunet: folder of the nnU-Net data set, such as Dataset001_Heart.
        decathlon: folder of the Decathlon task, such as Task01_Heart.
        bids: BIDS subject label (letters and digits) by case id.
        values: value in the case's file in labels/ -> name, by case id.
    """

    nnunet: str
    decathlon: str
    bids: Mapping[str, str]
    values: Mapping[str, Mapping[int, str]]

    @classmethod
    def for_cases(cls, anatomy: Anatomy, values: Mapping[str, Mapping[int, str]], number: int = 1) -> ReleaseNames:
        """Choose the names for cases.

        Args:
            anatomy: anatomy of the label maps.
            values: value -> name, by the id of each released case.
            number: number of the nnU-Net data set.

        Returns:
            The names.
        """
        word = "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", anatomy.name))
        labels: dict[str, str] = {}
        for id in values:
            label = plain = re.sub(r"[^A-Za-z0-9]", "", id) or "x"
            suffix = 2
            # Two ids that differ in other characters only stay two subjects.
            while label in labels.values():
                label, suffix = f"{plain}x{suffix}", suffix + 1
            labels[id] = label
        return cls(f"Dataset{number:03d}_{word}", f"Task{number:02d}_{word}", labels, values)


def consecutive_ids(anatomy: Anatomy) -> dict[int, int]:
    """Map the ids of an anatomy to the consecutive ids that nnU-Net and the Medical Segmentation Decathlon require.

    Args:
        anatomy: the anatomy.

    Returns:
        The number from 1 by the anatomy's id.
    """
    return {id: number for number, id in enumerate(sorted(anatomy.ids), start=1)}


def mask_names(anatomy: Anatomy) -> dict[str, int]:
    """Choose the names of the masks in TotalSegmentator's layout.

    Args:
        anatomy: the anatomy.

    Returns:
        Name of the file without its ending -> id: TotalSegmentator's own name of the structure where it has one.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> list(mask_names(load_anatomy("heart")))[:2]
        ['heart_myocardium', 'heart_atrium_left']
    """
    known: dict[int, str] = {}
    for preset in _MASK_PRESETS:
        for name in id_preset(preset).names.values():
            try:
                known.setdefault(anatomy.by_name(name).id, name)
            except ConfigError:
                continue
    return {known.get(s.id, s.name.replace(" ", "_")): s.id for s in anatomy.structures}


def write_layouts(
    folder: Path, layouts: frozenset[Layout], anatomy: Anatomy, names: ReleaseNames, case_ids: list[str], title: str
) -> None:
    """Write the files that describe a whole data set: dataset.json, BIDS tables, colour tables.

    Args:
        folder: folder of the release.
        layouts: layouts besides labels/.
        anatomy: anatomy of the label maps.
        names: names in the layouts.
        case_ids: ids of the released cases.
        title: title of the data set.
    """
    if "nnunet" in layouts:
        numbers = consecutive_ids(anatomy)
        labels = {"background": 0} | {anatomy.by_id(id).name: number for id, number in numbers.items()}
        table = {
            "channel_names": {"0": "CT"}, "labels": labels, "numTraining": len(case_ids), "file_ending": ".nii.gz",
            "name": names.nnunet, "description": title,
        }  # fmt: skip
        write_json(folder / "nnunet" / names.nnunet / "dataset.json", table)
    if "decathlon" in layouts:
        _write_decathlon(folder / "decathlon" / names.decathlon, anatomy, case_ids, title)
    if "bids" in layouts:
        _write_bids(folder / "bids", anatomy, names, case_ids, title)
    if "slicer" in layouts:
        # The segmentations have the values of the anatomy, the files in labels/ those of the input.
        write_text(folder / "slicer" / f"{anatomy.name}.ctbl", slicer_colour_table(own_names(anatomy), anatomy))
    if "itksnap" in layouts:
        (folder / "itksnap").mkdir(parents=True, exist_ok=True)
        write_colour_tables(folder / "itksnap", anatomy, {id: names.values[id] for id in case_ids}, ("itksnap",))


def _write_decathlon(folder: Path, anatomy: Anatomy, case_ids: list[str], title: str) -> None:
    names = {number: anatomy.by_id(id).name for id, number in consecutive_ids(anatomy).items()}
    table = {
        "name": anatomy.title or anatomy.name, "description": title, "reference": "",
        "licence": "that of the source data: see README.md", "release": __version__, "tensorImageSize": "3D",
        "modality": {"0": "CT"}, "labels": {"0": "background", **{str(n): name for n, name in names.items()}},
        "numTraining": len(case_ids), "numTest": 0,
        "training": [
            {"image": f"./imagesTr/{id}.nii.gz", "label": f"./labelsTr/{id}.nii.gz"} for id in case_ids
        ],
        "test": [],
    }  # fmt: skip
    write_json(folder / "dataset.json", table)


def _write_bids(folder: Path, anatomy: Anatomy, names: ReleaseNames, case_ids: list[str], title: str) -> None:
    description = {
        "Name": title, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative",
        "License": "that of the source data: see README.md",
        "GeneratedBy": [{"Name": "Heartmend", "Version": __version__}], "SourceDatasets": [],
    }  # fmt: skip
    write_json(folder / "dataset_description.json", description)
    write_text(
        folder / "README.md",
        _BIDS_README.format(title=escape_markdown(title)),
    )
    participants = ["participant_id\tcase_id", *(f"sub-{names.bids[id]}\t{id}" for id in case_ids)]
    write_text(folder / "participants.tsv", "\n".join(participants) + "\n")
    write_json(folder / "participants.json", {"case_id": {"Description": "Id of the case in the source data set"}})
    rows = ["index\tname\tcolor", "0\tbackground\t#000000"]
    rows += [
        f"{s.value}\t{s.name}\t#{bytes(s.colour).hex()}" for s in sorted(anatomy.structures, key=lambda s: s.value)
    ]
    write_text(folder / "desc-repaired_dseg.tsv", "\n".join(rows) + "\n")
