"""What a release tells a training about uncertain labels: voxels to ignore, and weights of the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import read_json, write_json
from heartmend.io.dataset import Case
from heartmend.io.tables import NO_UNIT, Column, write_csv
from heartmend.release.layouts import Images
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import UNKNOWN, Labels, Mask

WEIGHTS_FILE = "case_weights.csv"
COLUMNS = (
    Column("case", str),
    Column("expected_dice", float, NO_UNIT, "mean over the structures of the case"),
    Column("weight", float, NO_UNIT, "expected Dice over its mean in the data set"),
)


@dataclass(frozen=True)
class TrainingOptions:
    """Options for the layouts that networks are trained with.

    Attributes:
        images: how the CT is put into the layouts that have images.
        ignore_above: a voxel whose label is wrong with a higher probability gets nnU-Net's ignore label; None: none.
    """

    images: Images = "link"
    ignore_above: float | None = None

    def __post_init__(self) -> None:
        if self.ignore_above is not None and not 0 < self.ignore_above < 1:
            raise ConfigError(f"ignore above {self.ignore_above:g}: give a probability between 0 and 1, such as 0.3")


def ignore_number(anatomy: Anatomy) -> int:
    """Return nnU-Net's ignore label: it must be the highest of the consecutive ids.

    Args:
        anatomy: the structures, which have the numbers from 1 on.

    Returns:
        The number.

    Raises:
        ConfigError: if the anatomy has too many structures for one more label.
    """
    number = len(anatomy.ids) + 1
    if number >= UNKNOWN:
        raise ConfigError(
            f"{len(anatomy.ids)} structures leave no number for nnU-Net's ignore label; export without --ignore-above"
        )
    return number


def ignored_voxels(finished: FinishedRun, case: Case, released: Labels, grid: Grid, ignore_above: float) -> Mask:
    """Find the voxels of a released map that are too uncertain to train on.

    Args:
        finished: the run, made with `--uncertainty`.
        case: the case.
        released: (x, y, z) uint8, the released label map.
        grid: its grid.
        ignore_above: highest probability of an error of a voxel that is trained on.

    Returns:
        (x, y, z) bool. Where a person chose another label than the repaired one, no voxel is ignored.

    Raises:
        BadInputError: if the run has no probabilities of the case.
    """
    percent = finished.run.uncertainty(case.id, grid)
    if percent is None:
        raise BadInputError(
            f"case {case.id}: {finished.run.uncertainty_path(case.id)} is missing, so no voxel can be ignored; repeat "
            "`heartmend run` with --uncertainty, or export without --ignore-above"
        )
    ignored: Mask = (percent > 100 * ignore_above) & (released == finished.after(case).labels)
    return ignored


def add_ignore_label(dataset: Path, number: int) -> None:
    """Add the ignore label to an nnU-Net dataset.json.

    Args:
        dataset: path of the file.
        number: the ignore label.
    """
    table = read_json(dataset)
    write_json(dataset, {**table, "labels": {**table["labels"], "ignore": number}})


def write_case_weights(finished: FinishedRun, case_ids: Sequence[str], folder: Path) -> None:
    """Write weights of the released cases for a sampler, as `case_weights.csv`.

    Args:
        finished: the run.
        case_ids: ids of the released cases.
        folder: folder of the release.
    """
    dice = {id: [one.dice for one in finished.run.changes(id).estimates] for id in case_ids}
    expected = {id: float(np.mean(values)) for id, values in dice.items() if values}
    mean = float(np.mean([*expected.values()])) if expected else 1.0
    # A case that cannot be judged is sampled as the others.
    rows = [
        {"case": id, "expected_dice": expected.get(id), "weight": round(expected.get(id, mean) / mean, 4)}
        for id in case_ids
    ]
    write_csv(folder / WEIGHTS_FILE, COLUMNS, rows)
