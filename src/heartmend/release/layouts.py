"""The layouts of a release, and the names that cases have in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from heartmend import __version__
from heartmend.anatomy.schema import Anatomy
from heartmend.io.atomic import write_json, write_text
from heartmend.io.colour_tables import write_itksnap_labels, write_slicer_colours
from heartmend.io.file_names import plain_markdown

Layout = Literal["nnunet", "bids", "slicer", "itksnap", "meshes"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
BIDS_VERSION = "1.10.0"


@dataclass(frozen=True)
class Names:
    """nnunet: the data set's folder, such as Dataset001_Heart; bids: case id -> subject label (letters and digits)."""

    nnunet: str
    bids: Mapping[str, str]

    @classmethod
    def of(cls, anatomy: Anatomy, case_ids: Iterable[str], number: int = 1) -> Names:
        """The names of these cases."""
        word = "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", anatomy.name))
        labels: dict[str, str] = {}
        for id in case_ids:
            label = plain = re.sub(r"[^A-Za-z0-9]", "", id) or "x"
            more = 2
            # Two ids that differ in signs alone stay two subjects.
            while label in labels.values():
                label, more = f"{plain}x{more}", more + 1
            labels[id] = label
        return cls(f"Dataset{number:03d}_{word}", labels)

    @staticmethod
    def nnunet_ids(anatomy: Anatomy) -> dict[int, int]:
        """The anatomy's id -> nnU-Net's, which wants them without gaps."""
        return {id: number for number, id in enumerate(sorted(anatomy.ids), start=1)}


def write_layouts(
    to: Path, layouts: frozenset[Layout], anatomy: Anatomy, names: Names, case_ids: list[str], title: str
) -> None:
    """Write what a layout says of the data set as a whole."""
    if "nnunet" in layouts:
        numbers = Names.nnunet_ids(anatomy)
        labels = {"background": 0} | {anatomy.by_id(id).name: number for id, number in numbers.items()}
        table = {
            "channel_names": {"0": "CT"}, "labels": labels, "numTraining": len(case_ids), "file_ending": ".nii.gz",
            "name": names.nnunet, "description": title,
        }  # fmt: skip
        write_json(to / "nnunet" / names.nnunet / "dataset.json", table)
    if "bids" in layouts:
        _write_bids(to / "bids", anatomy, names, case_ids, title)
    if "slicer" in layouts:
        write_slicer_colours(anatomy, to / "slicer" / f"{anatomy.name}.ctbl")
    if "itksnap" in layouts:
        write_itksnap_labels(anatomy, to / "itksnap" / f"{anatomy.name}.itksnap.txt")


def _write_bids(to: Path, anatomy: Anatomy, names: Names, case_ids: list[str], title: str) -> None:
    description = {
        "Name": title, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative",
        "License": "that of the source data: see README.md",
        "GeneratedBy": [{"Name": "Heartmend", "Version": __version__}],
    }  # fmt: skip
    write_json(to / "dataset_description.json", description)
    write_text(
        to / "README.md",
        f"{plain_markdown(title)}: label maps, BIDS derivatives. The README of the release says more.\n",
    )
    people = ["participant_id\tcase_id", *(f"sub-{names.bids[id]}\t{id}" for id in case_ids)]
    write_text(to / "participants.tsv", "\n".join(people) + "\n")
    write_json(to / "participants.json", {"case_id": {"Description": "The id of the case in the source data set"}})
    rows = ["index\tname\tcolor", "0\tbackground\t#000000"]
    rows += [f"{s.id}\t{s.name}\t#{bytes(s.colour).hex()}" for s in sorted(anatomy.structures, key=lambda s: s.id)]
    write_text(to / "desc-mended_dseg.tsv", "\n".join(rows) + "\n")
