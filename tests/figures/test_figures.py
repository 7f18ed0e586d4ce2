"""Figures: plane of the largest change, orientation of the patient, and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from heartmend.figures.files import save
from heartmend.figures.planes import before_after_figure
from heartmend.figures.style import StructureStyle
from heartmend.figures.surfaces import surface_figure
from heartmend.figures.view import BeforeAfter, box_about, largest_change, to_lps

STYLE = StructureStyle({3: (226, 60, 60), 5: (60, 170, 230)}, {3: "LV", 5: "RV"})


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    before = np.zeros((30, 26, 20), np.uint8)
    before[5:15, 5:20, 4:16] = 3
    before[15:25, 5:20, 4:16] = 5
    after = before.copy()
    after[5:8, 6:10, 5:9] = 0
    after[25:28, 12:15, 10:12] = 5
    return before, after


def test_the_planes_go_through_the_largest_change(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y, z = largest_change(*pair, np.ones(3))
    assert 4 <= x <= 9 and 5 <= y <= 11 and 4 <= z <= 10


def test_without_a_change_the_planes_go_through_the_centre(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_allclose(largest_change(pair[0], pair[0], np.ones(3)), [14, 12, 9], atol=1)


@pytest.mark.parametrize("axcodes", [("L", "P", "S"), ("R", "A", "S"), ("S", "L", "A")])
def test_volumes_are_reoriented_to_left_posterior_superior(axcodes: tuple[str, str, str]) -> None:
    volume = np.zeros((4, 5, 6), np.uint8)
    volume[0, 0, 0] = 1
    (turned,), spacing = to_lps([volume], (1.0, 2.0, 3.0), axcodes)
    corner = np.argwhere(turned)[0]
    letters = {"L": (0, 0), "R": (0, -1), "P": (1, 0), "A": (1, -1), "S": (2, 0), "I": (2, -1)}
    for axis, letter in enumerate(axcodes):
        to, end = letters[letter]
        assert corner[to] == (0 if end == 0 else turned.shape[to] - 1)
        assert spacing[to] == (1.0, 2.0, 3.0)[axis]
        assert turned.shape[to] == volume.shape[axis]


def test_the_box_is_clipped_to_the_volume() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[1, 5, 9] = True
    box = box_about(mask, np.array([2, 2, 2]))
    assert mask[box].shape == (4, 5, 3) and mask[box].any()


@pytest.mark.parametrize("with_image", [False, True])
def test_a_figure_has_three_planes_before_after_and_changes(
    pair: tuple[np.ndarray, np.ndarray], with_image: bool
) -> None:
    image = np.where(pair[1] > 0, 300, -90).astype(np.int16) if with_image else None
    maps = BeforeAfter(*pair, (0.8, 0.8, 1.5), image=image, truth=pair[1])
    figure = before_after_figure(maps, STYLE, title="Case 7")
    assert len(figure.axes) == 9
    assert [axes.get_title() for axes in figure.axes[:3]] == ["before", "after", "changes"]
    assert all(axes.get_aspect() == 1 for axes in figure.axes)
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == "Case 7" and "0.0 ml added" in texts[1]
    legend = {text.get_text() for entry in figure.legends for text in entry.get_texts()}
    assert {"LV", "RV", "added", "removed", "relabelled", "truth"} <= legend


def test_an_empty_map_can_be_drawn(tmp_path: Path) -> None:
    empty = np.zeros((12, 12, 12), np.uint8)
    maps = BeforeAfter(empty, empty, (1, 1, 1))
    save(before_after_figure(maps, STYLE), tmp_path / "empty.png")
    save(surface_figure(maps, STYLE), tmp_path / "surface.png")
    assert {path.name for path in tmp_path.iterdir()} == {"empty.png", "surface.png"}


def test_the_surface_from_the_front_has_the_patients_right_on_the_left(
    pair: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    figure = surface_figure(BeforeAfter(*pair, (1, 1, 1)), STYLE, views_deg=((0, 0),))
    picture = np.asarray(figure.axes[0].get_images()[0].get_array())
    assert picture.ndim == 3 and len(figure.axes) == 2
    width = picture.shape[1]
    left, right = (picture[:, : width // 2], picture[:, width // 2 :])
    redness = [float((half[..., 0] - half[..., 2]).mean()) for half in (left, right)]
    assert redness[0] > 0 > redness[1]
    save(figure, tmp_path / "deep" / "heart.png")
    assert imread(tmp_path / "deep" / "heart.png").shape[2] == 4
