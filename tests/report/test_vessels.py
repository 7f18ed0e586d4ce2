"""Straightened coronary arteries of a case: their names, and cases without them."""

from pathlib import Path

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.coronaries.segments import Segment
from heartmend.geometry.curves import frame_curve
from heartmend.geometry.grid import Grid
from heartmend.io.label_maps import LabelVolume
from heartmend.report.vessels import draw_vessels, named_paths

GRID = Grid((60, 30, 30), np.eye(4))
LONG = frame_curve(np.array([[2.0, 10, 10], [50, 10, 10]]))
SHORT = frame_curve(np.array([[2.0, 10, 10], [30, 10, 10]]))


def segments() -> np.ndarray:
    values = np.zeros(GRID.shape, np.uint8)
    values[:10, 8:13, 8:13], values[10:, 8:13, 8:13] = Segment.LM, Segment.LAD
    return values


def test_a_vessel_has_the_name_of_its_end_and_the_longest_of_a_name_is_shown() -> None:
    found = named_paths([LONG, SHORT], segments(), GRID)
    assert [(one.name, one.curve) for one in found] == [("LM > LAD", LONG)]


def test_without_segments_vessels_are_numbered() -> None:
    assert [one.name for one in named_paths([LONG, SHORT], None, GRID)] == ["vessel 1", "vessel 2"]
    nowhere = np.zeros(GRID.shape, np.uint8)
    assert [one.name for one in named_paths([LONG], nowhere, GRID)] == ["vessel"]


def test_a_case_is_drawn_if_it_has_coronary_arteries() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    heart = load_anatomy("heart")
    image = np.zeros(GRID.shape, np.float32)

    def volume() -> LabelVolume:
        return LabelVolume(labels, GRID, Path("case.nii.gz"))

    assert draw_vessels(volume(), volume(), image, heart, "A case") is None
    labels[2:50, 9:12, 9:12] = heart.by_name("Coronary").id
    figure = draw_vessels(volume(), volume(), image, heart, "A case")
    assert figure is not None and figure.axes[0].get_ylabel().startswith("vessel 1\n4")
    assert draw_vessels(volume(), volume(), image, load_anatomy("adrenal"), "A case") is None
