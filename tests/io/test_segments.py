"""Segmentation files of 3D Slicer."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.forms.open import open_label_map
from heartmend.io.segments import read_segments, write_segments
from support.grids import grids
from support.volumes import some_labels

HEART = load_anatomy("heart")
GRID = Grid((7, 6, 5), np.array([[0.0, -0.5, 0, 10], [-0.5, 0, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]]))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(grids())
def test_a_written_segmentation_is_read_unchanged(tmp_path: Path, grid: Grid) -> None:
    labels = some_labels(grid.shape)
    write_segments(labels, grid, HEART, tmp_path / "1.seg.nrrd")
    assert (read_segments(tmp_path / "1.seg.nrrd", grid, HEART) == labels).all()


def test_the_header_names_and_colours_every_segment(tmp_path: Path) -> None:
    """The fields that 3D Slicer's documentation of the format requires."""
    write_segments(some_labels(), GRID, HEART, tmp_path / "1.seg.nrrd")
    head = (tmp_path / "1.seg.nrrd").read_bytes().split(b"\n\n")[0].decode()
    lines = head.splitlines()
    assert lines[0].startswith("NRRD000")
    assert "space: left-posterior-superior" in lines and "encoding: gzip" in lines
    for number, s in enumerate(sorted(HEART.structures, key=lambda s: s.id)):
        assert f"Segment{number}_Name:={s.name}" in lines
        assert f"Segment{number}_LabelValue:={s.id}" in lines
        assert f"Segment{number}_Layer:=0" in lines
        assert f"Segment{number}_Extent:=0 6 0 5 0 4" in lines
        colour = next(line for line in lines if line.startswith(f"Segment{number}_Color:=")).split("=")[1]
        assert np.allclose(np.array(colour.split(), float) * 255, s.colour, atol=0.01)
    assert "Segmentation_MasterRepresentation:=Binary labelmap" in lines


def as_slicer_saves(path: Path, layers: list[np.ndarray], start: tuple[int, int, int], segments: list[dict]) -> None:
    """A file cropped to a part of GRID, with other numbers, in one or several layers (x, y, z)."""
    spacing = np.array(GRID.spacing_mm)
    direction = np.diag([-1.0, -1, 1]) @ GRID.affine[:3, :3] / spacing
    stack = layers[0].T if len(layers) == 1 else np.stack([layer.T for layer in layers], axis=-1)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stack), isVector=len(layers) > 1)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((np.diag([-1.0, -1, 1]) @ GRID.index_to_world(start)).tolist())
    for number, segment in enumerate(segments):
        for key, value in segment.items():
            image.SetMetaData(f"Segment{number}_{key}", str(value))
    sitk.WriteImage(image, str(path), useCompression=True)


def test_a_cropped_and_renumbered_file_is_positioned_by_its_geometry(tmp_path: Path) -> None:
    part = np.zeros((3, 2, 2), dtype=np.uint8)
    part[0, 0, 0], part[2, 1, 1] = 7, 4
    segments = [{"Name": "LA", "LabelValue": 7, "Layer": 0}, {"Name": "coronaries", "LabelValue": 4, "Layer": 0}]
    as_slicer_saves(tmp_path / "1.seg.nrrd", [part], (2, 1, 3), segments)
    found = read_segments(tmp_path / "1.seg.nrrd", GRID, HEART)
    assert np.argwhere(found).tolist() == [[2, 1, 3], [4, 2, 4]]
    assert (found[2, 1, 3], found[4, 2, 4]) == (2, 9)


def test_the_priority_decides_where_segments_overlap(tmp_path: Path) -> None:
    """A coronary comes before the myocardium."""
    wall, vessel = np.ones((2, 2, 1), np.uint8), np.zeros((2, 2, 1), np.uint8)
    vessel[0, 0, 0] = 1
    segments = [{"Name": "Coronary", "LabelValue": 1, "Layer": 1}, {"Name": "Myocardium", "LabelValue": 1, "Layer": 0}]
    as_slicer_saves(tmp_path / "1.seg.nrrd", [wall, vessel], (0, 0, 0), segments)
    found = read_segments(tmp_path / "1.seg.nrrd", GRID, HEART)
    assert found[:2, :2, 0].tolist() == [[9, 1], [1, 1]] and np.count_nonzero(found) == 4


def test_a_wrong_grid_name_or_file_is_an_error(tmp_path: Path) -> None:
    write_segments(some_labels(), GRID, HEART, tmp_path / "1.seg.nrrd")
    shifted = GRID.affine.copy()
    shifted[:3, 3] += 0.25
    with pytest.raises(BadInputError, match="is not on the voxels"):
        read_segments(tmp_path / "1.seg.nrrd", Grid(GRID.shape, shifted), HEART)
    segments = [{"Name": "Segment_1", "LabelValue": 1, "Layer": 0}]
    as_slicer_saves(tmp_path / "2.seg.nrrd", [np.ones((2, 2, 2), np.uint8)], (0, 0, 0), segments)
    with pytest.raises(BadInputError, match=r"2\.seg\.nrrd: contains a segment 'Segment_1'.*it has Myocardium, LA"):
        read_segments(tmp_path / "2.seg.nrrd", GRID, HEART)
    (tmp_path / "3.seg.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(BadInputError, match=r"3\.seg\.nrrd"):
        read_segments(tmp_path / "3.seg.nrrd", GRID, HEART)


def test_a_file_that_lies_about_its_segments_or_voxels_is_an_error(tmp_path: Path) -> None:
    write_segments(some_labels(), GRID, HEART, tmp_path / "1.seg.nrrd")
    head, _, voxels = (tmp_path / "1.seg.nrrd").read_bytes().partition(b"\n\n")
    many = b"".join(b"\nSegment%d_Name:=LV\nSegment%d_LabelValue:=3" % (n, n) for n in range(20, 3000))
    for change, match in (
        (head.replace(b"Segment0_LabelValue:=1", b"Segment0_LabelValue:=" + b"9" * 5000), "without a value"),
        (head.replace(b"Segment0_Layer:=0", b"Segment0_Layer:=7"), "layer that the file does not have"),
        (head.replace(b"encoding: gzip", b"encoding: gzip\ndata file: /etc/passwd"), "names another file"),
        (head.replace(b"sizes: 7 6 5", b"sizes: 70000 60000 5"), "bytes|voxels|memory"),
        (head + many, "segments, the limit is"),
    ):
        (tmp_path / "2.seg.nrrd").write_bytes(change + b"\n\n" + voxels)
        with pytest.raises(BadInputError, match=match) as error:
            read_segments(tmp_path / "2.seg.nrrd", GRID, HEART)
        assert len(str(error.value)) < 1000 and "root:" not in str(error.value)


def test_a_layer_cannot_have_the_value_of_a_segment(tmp_path: Path) -> None:
    for value in (0, 300):
        segments = [{"Name": "LA", "LabelValue": value, "Layer": 1}, {"Name": "LV", "LabelValue": 1, "Layer": 0}]
        layers = [np.ones((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8)]
        as_slicer_saves(tmp_path / "1.seg.nrrd", layers, (0, 0, 0), segments)
        with pytest.raises(BadInputError, match=rf"'LA' has the value {value}, which a layer"):
            open_label_map(tmp_path / "1.seg.nrrd")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are not UTF-8")
def test_a_folder_whose_name_is_no_utf_8_can_be_written_to_and_is_not_read_from(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    labels, grid = some_labels(), Grid(some_labels().shape, np.eye(4))
    write_segments(labels, grid, HEART, folder / "a.seg.nrrd")
    (folder / "a.seg.nrrd").rename(tmp_path / "a.seg.nrrd")
    assert (read_segments(tmp_path / "a.seg.nrrd", grid, HEART) == labels).all()
    (tmp_path / "a.seg.nrrd").rename(folder / "a.seg.nrrd")
    with pytest.raises(BadInputError, match="rename the file or its folder"):
        read_segments(folder / "a.seg.nrrd", grid, HEART)
