#!/usr/bin/env python3
"""Make the prior models that are part of Heartmend, from label maps of whole hearts.

usage: make_prior.py ANATOMIES [--output FOLDER] [--side 96]

ANATOMIES contains VH_M_heart10.nii.gz and VH_F_heart10.nii.gz: the hearts of the Visible Human Male and Female of the
HuBMAP CCF 3D Reference Object Library v1.2 (CC BY 4.0) as label maps in the ids of the anatomy `heart`. Each becomes
one model: a table of the signed distances of its bulky structures, and one code. The venae cavae, which these hearts
lack, come from a phantom heart that is deformed to each of them. The same input and versions give the same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import CLIP_MM, unit_frame_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.label_maps import read_labels
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import save_heart_model
from heartmend.models.unified import UnifiedShape
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.training.placement import PlacementSchedule, place_template
from heartmend.training.sampling import sample_case
from heartmend.types import Labels

CONTROLS, DETAIL_SIDE, MARGIN_VOXELS, PHANTOM_SEED = 12, 4, 10, 0
CAVAE = ("SVC", "IVC")


@dataclass(frozen=True)
class Source:
    """Origin of one prior model, for its card.

    Attributes:
        file: name of the label map.
        title: name of the heart.
    """

    file: str
    title: str


SOURCES = {
    "heart-male": Source("VH_M_heart10.nii.gz", "Visible Human Male, heart v1.2"),
    "heart-female": Source("VH_F_heart10.nii.gz", "Visible Human Female, heart v1.2"),
}
ATTRIBUTION = "HuBMAP CCF 3D Reference Object Library"
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"


def make_model(labels: Labels, grid: Grid, source: Source, side: int, schedule: PlacementSchedule) -> HeartModel:
    """Make the model of one heart.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy `heart`.
        grid: grid of the label map.
        source: origin of the heart.
        side: cells along each side of the table.
        schedule: how the phantom that has the venae cavae is deformed to the heart.

    Returns:
        The model, with the name of the heart as its only case.
    """
    anatomy = load_anatomy("heart")
    labels, grid = _with_margin(labels, grid)
    roi = Roi.around(labels, grid, anatomy, MARGIN_VOXELS)
    inside = np.ascontiguousarray(labels[roi.source_box()])
    heads = {
        n: id for n, id in anatomy.select(without_kinds=("tube",)).items() if n not in CAVAE and (labels == id).any()
    }
    layers = {name: unit_frame_distance_mm(inside, roi, side, id) for name, id in heads.items()}
    layers |= _cavae(inside, roi, heads, side, schedule)
    torch.manual_seed(0)
    names = tuple(name for name in anatomy.names if name in layers)
    template = {"heads": names, "side": side, "controls": CONTROLS}
    shape = UnifiedShape(names, template, side=DETAIL_SIDE, channels=1, width=4)
    with torch.no_grad():
        table = np.stack([layers[name] for name in names], axis=-1).reshape(-1, len(names))
        shape.template.table.copy_(torch.from_numpy(table))
        for weight in shape.net.parameters():
            weight.zero_()
    case_id = source.file.removesuffix(".nii.gz")
    codes = {**shape.template.new_codes(1), **shape.empty_details()}
    metadata = {"prior": True, "source": source.title, "library": ATTRIBUTION, "licence": LICENCE}
    return HeartModel(shape, CodeBook([case_id], codes), anatomy, {}, {case_id: roi}, metadata=metadata)


def _with_margin(labels: Labels, grid: Grid) -> tuple[Labels, Grid]:
    """Add background on all sides: what is outside a scan is not known, but these hearts are whole."""
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, MARGIN_VOXELS)
    padded = np.pad(labels, MARGIN_VOXELS)
    return padded, Grid(padded.shape, affine)


def _cavae(
    inside: Labels, roi: Roi, heads: dict[str, int], side: int, schedule: PlacementSchedule
) -> dict[str, np.ndarray]:
    """Distances (side, side, side) of the venae cavae of a phantom that is deformed to a heart."""
    anatomy = load_anatomy("heart")
    phantom = make_case(0, PHANTOM_SEED, PhantomSettings(vary_grid=False, venae_cavae=True))
    labels, grid = _with_margin(phantom.truth, Grid(phantom.truth.shape, phantom.affine))
    own = Roi.around(labels, grid, anatomy, MARGIN_VOXELS)
    truth = np.ascontiguousarray(labels[own.source_box()])
    names = (*heads, *CAVAE)
    layers = [unit_frame_distance_mm(truth, own, side, anatomy.by_name(name).id) for name in names]
    shape = UnifiedShape(names, {"heads": names, "side": side, "controls": CONTROLS}, side=DETAIL_SIDE).template
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(layers, axis=-1).reshape(-1, len(names))))
    samples = sample_case("heart", inside, roi, list(heads.values()), resolution=side, seed=0)
    code = place_template(shape, own.size_mm, samples, tuple(heads), schedule)
    axis = cell_centres(side)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
    with torch.no_grad():
        found = shape(points, code)[0].numpy()
    # Where this heart has another structure, there is no vein.
    taken = np.max([unit_frame_distance_mm(inside, roi, side, id) for id in heads.values()], axis=0)
    columns = {name: found[:, names.index(name)].reshape(side, side, side) for name in CAVAE}
    return {name: np.clip(np.minimum(layer, -taken), -CLIP_MM, CLIP_MM) for name, layer in columns.items()}


def make_priors(folder: Path, output: Path, side: int, schedule: PlacementSchedule) -> list[Path]:
    """Make all prior models.

    Args:
        folder: the label maps of `SOURCES`.
        output: folder of the models.
        side: cells along each side of their tables.
        schedule: how the phantom is deformed.

    Returns:
        The files.
    """
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for name, source in SOURCES.items():
        volume = read_labels(folder / source.file, load_anatomy("heart"))
        files.append(output / f"{name}.zip")
        save_heart_model(files[-1], make_model(volume.labels, volume.grid, source, side, schedule))
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the models and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomies", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "src/heartmend/models/priors")
    parser.add_argument("--side", type=int, default=96)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for file in make_priors(options.anatomies, options.output, options.side, PlacementSchedule()):
        Console().print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
