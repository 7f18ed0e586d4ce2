"""Post-processing of label maps as other tools do it, for `peers.py`.

Each method is written anew from the source of its tool; none of their code is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.ndimage import center_of_mass

from heartmend.geometry.components import Connectivity, label_components
from heartmend.metrics.overlap import dice
from heartmend.types import Labels, Mask

Spacing = tuple[float, float, float]
Method = Callable[[Labels, Spacing], Labels]

BLOB_MM3 = 200.0
"""TotalSegmentator removes blobs up to 0.2 ml."""
SMOOTHING_FACTOR = 0.5
"""Default of 3D Slicer's joint smoothing."""
SMOOTHING_ITERATIONS = 100
SMALL_SHARE = 0.1
"""ShapeKit removes components of less than a tenth of their organ."""
NEIGHBOURS = {1: (3, 5), 2: (4, 8), 3: (1,), 4: (2, 5), 5: (1, 4), 8: (2,)}
"""For ShapeKit: structures that a large part of a structure may belong to; none for vessels, which have many parts."""


def largest_component(mask: Mask, connectivity: Connectivity = 26) -> Mask:
    """Keep the largest component of a mask; all of the largest ones, where they are equal."""
    components, sizes = label_components(mask, connectivity)
    return np.asarray((sizes == sizes.max())[components] & mask)


def keep_largest_blobs(labels: Labels, spacing_mm: Spacing) -> Labels:
    """Keep the largest component of each structure, as `keep_largest_blob_multilabel` of TotalSegmentator.

    TotalSegmentator (`totalsegmentator/postprocessing.py`) does this for the trunk of its task `body`; voxels that
    share a face are connected. Here it is done for every structure, also for those that have several components.
    """
    out = np.zeros_like(labels)
    for id in _ids(labels):
        out[largest_component(labels == id, 6)] = id
    return out


def remove_small_blobs(labels: Labels, spacing_mm: Spacing) -> Labels:
    """Remove the components of up to 200 mm³ of each structure, as TotalSegmentator's `--remove_small_blobs`.

    `totalsegmentator/nnunet.py`: all structures, 200 mm³ (0.2 ml), voxels that share a face are connected.
    """
    components, sizes = label_components(labels, 6)
    return np.asarray(np.where((sizes > BLOB_MM3 / np.prod(spacing_mm))[components], labels, 0), labels.dtype)


def remove_small_components(labels: Labels, spacing_mm: Spacing, min_voxels: int) -> Labels:
    """Remove the components of each structure that have fewer voxels (26 neighbours), the usual filter by size."""
    components, sizes = label_components(labels, 26)
    return np.asarray(np.where((sizes >= min_voxels)[components], labels, 0), labels.dtype)


def shapekit(labels: Labels, spacing_mm: Spacing) -> Labels:
    """Apply the rules of ShapeKit (Liu et al., MICCAI 2025 Workshop on Shape in Medical Imaging; BodyMaps/ShapeKit).

    `reassign_false_positives` first: components (voxels that share a face) of less than a tenth of their structure are
    removed; one whose centre is nearer to the centre of a neighbouring structure than to that of its own becomes that
    structure. Then `remove_small_components`, as for its vessels and hollow organs: less than a tenth (26 neighbours).
    Its table of neighbours has abdominal organs; `NEIGHBOURS` has those of the heart. Rules that need a second side, a
    liver or vertebrae do not apply. Of structures that overlap the one with the higher id has the voxel.
    """
    ids = _ids(labels)
    masks = {id: labels == id for id in ids}
    centres = {id: np.array(center_of_mass(mask)) for id, mask in masks.items()}
    for id in ids:
        components, sizes = label_components(masks[id], 6)
        kept = np.zeros_like(masks[id])
        beside = [other for other in NEIGHBOURS.get(id, ()) if other in centres]
        for number in np.flatnonzero(sizes >= sizes[1:].sum() * SMALL_SHARE):
            if number == 0:
                continue
            part = components == number
            centre = np.array(center_of_mass(part))
            nearest = min(beside, key=lambda other: float(np.linalg.norm(centre - centres[other])), default=id)
            if np.linalg.norm(centre - centres[nearest]) < np.linalg.norm(centre - centres[id]):
                masks[nearest] |= part
            else:
                kept |= part
        masks[id] = kept
    out = np.zeros_like(labels)
    for id, mask in masks.items():
        components, sizes = label_components(mask, 26)
        large = sizes >= sizes[1:].sum() * SMALL_SHARE
        out[large[components] & mask] = id
    return out


def all_but_largest_removed(labels: Labels, ids: Sequence[int]) -> Labels:
    """Remove all but the largest component of some structures together, as nnU-Net does."""
    mask = np.isin(labels, ids)
    return np.asarray(np.where(mask & ~largest_component(mask), 0, labels), labels.dtype)


def nnunet_rule(pairs: Sequence[tuple[Labels, Labels]], ids: Sequence[int]) -> list[tuple[int, ...]]:
    """Decide which components nnU-Net removes (`nnunetv2/postprocessing/remove_connected_components.py`).

    First all but the largest component of the whole foreground, if this raises the mean Dice over the structures and
    lowers that of none; then, structure by structure, all but the largest component, if this raises the structure's
    mean Dice. nnU-Net decides on the cross-validation of its training cases. Here the decision is made on the cases
    that are scored, with their true label maps, which favours it.

    Args:
        pairs: true and predicted label map of each case.
        ids: the structures.

    Returns:
        The groups of structures of which all but the largest component are removed together, in order.
    """
    maps = [prediction for _, prediction in pairs]
    truths = [truth for truth, _ in pairs]
    chosen: list[tuple[int, ...]] = []
    everything = tuple(ids)
    before = {id: _mean_dice(truths, maps, id) for id in ids}
    filtered = [all_but_largest_removed(labels, everything) for labels in maps]
    after = {id: _mean_dice(truths, filtered, id) for id in ids}
    if np.nanmean(list(after.values())) > np.nanmean(list(before.values())) and all(
        not after[id] < before[id] for id in ids
    ):
        chosen.append(everything)
        maps, before = filtered, after
    for id in ids:
        filtered = [all_but_largest_removed(labels, (id,)) for labels in maps]
        if _mean_dice(truths, filtered, id) > before[id]:
            chosen.append((id,))
            maps = filtered
    return chosen


def nnunet(rule: Iterable[tuple[int, ...]]) -> Method:
    """Return the post-processing of a rule of `nnunet_rule`."""
    groups = list(rule)

    def method(labels: Labels, spacing_mm: Spacing) -> Labels:
        for ids in groups:
            labels = all_but_largest_removed(labels, ids)
        return labels

    return method


def joint_smoothing(labels: Labels, spacing_mm: Spacing, factor: float = SMOOTHING_FACTOR) -> Labels:
    """Smooth all structures together, as 3D Slicer's effect Smoothing, method Joint smoothing (needs VTK).

    `SegmentEditorSmoothingEffect.py`: the surfaces of all structures are one mesh of shared points (discrete marching
    cubes, in voxels), which is smoothed by a windowed sinc filter (Taubin; 100 iterations, pass band 10^(-4 x factor),
    points on edges of several structures too); each structure is then the inside of its part of the mesh. Of two
    structures that overlap the later one has the voxel.
    """
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    box = tuple(slice(max(int(at.min()) - 3, 0), int(at.max()) + 4) for at in np.nonzero(labels))
    padded = np.pad(labels[box], 1)
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ravel(padded, order="F"), deep=True))
    surfaces = vtk.vtkDiscreteMarchingCubes()
    surfaces.SetInputData(image)
    ids = _ids(padded)
    surfaces.SetNumberOfContours(len(ids))
    for at, id in enumerate(ids):
        surfaces.SetValue(at, id)
    smoother = vtk.vtkWindowedSincPolyDataFilter()
    smoother.SetInputConnection(surfaces.GetOutputPort())
    smoother.SetNumberOfIterations(SMOOTHING_ITERATIONS)
    smoother.BoundarySmoothingOff()
    smoother.FeatureEdgeSmoothingOff()
    smoother.SetFeatureAngle(90.0)
    smoother.SetPassBand(10 ** (-4 * factor))
    smoother.NonManifoldSmoothingOn()
    smoother.NormalizeCoordinatesOn()
    part = vtk.vtkThreshold()
    part.SetInputConnection(smoother.GetOutputPort())
    surface = vtk.vtkGeometryFilter()
    surface.SetInputConnection(part.GetOutputPort())
    inside = vtk.vtkPolyDataToImageStencil()
    inside.SetInputConnection(surface.GetOutputPort())
    inside.SetOutputSpacing(1, 1, 1)
    inside.SetOutputOrigin(0, 0, 0)
    inside.SetOutputWholeExtent(image.GetExtent())
    mask = vtk.vtkImageStencilToImage()
    mask.SetInputConnection(inside.GetOutputPort())
    mask.SetInsideValue(1)
    mask.SetOutsideValue(0)
    mask.SetOutputScalarTypeToUnsignedChar()
    smoothed = np.zeros_like(padded)
    for id in ids:
        part.SetLowerThreshold(id)
        part.SetUpperThreshold(id)
        mask.Update()
        found = vtk_to_numpy(mask.GetOutput().GetPointData().GetScalars()).reshape(padded.shape, order="F")
        smoothed[found > 0] = id
    out = np.zeros_like(labels)
    out[box] = smoothed[1:-1, 1:-1, 1:-1]
    return out


def _ids(labels: Labels) -> list[int]:
    return [int(id) for id in np.flatnonzero(np.bincount(labels.ravel(order="K"))) if id]


def _mean_dice(truths: Sequence[Labels], maps: Sequence[Labels], id: int) -> float:
    """Mean Dice of a structure over the cases in which one of the maps has it."""
    pairs = [(truth == id, labels == id) for truth, labels in zip(truths, maps, strict=True)]
    values = [dice(truth, mask) for truth, mask in pairs if truth.any() or mask.any()]
    return float(np.mean(values)) if values else float("nan")
