"""Anatomy of the phantom: volumes, components, contacts and walls."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from heartmend.metrics.overlap import dice
from heartmend.phantom.cohort import PhantomCase
from heartmend.phantom.plan import Label

ADULT_ML = {
    Label.MYOCARDIUM: (60, 220), Label.LA: (35, 150), Label.LV: (55, 180), Label.RA: (50, 220), Label.RV: (70, 280),
    Label.AORTA: (40, 220), Label.PA: (20, 100), Label.LAA: (2, 20), Label.CORONARY: (1, 9), Label.PV: (4, 35),
}  # fmt: skip
ONE_COMPONENT = (Label.MYOCARDIUM, Label.LA, Label.LV, Label.RA, Label.RV, Label.PA, Label.LAA)
NEIGHBOURS = (
    (Label.LV, Label.MYOCARDIUM), (Label.LV, Label.LA), (Label.LV, Label.AORTA), (Label.RV, Label.RA),
    (Label.RV, Label.PA), (Label.RV, Label.MYOCARDIUM), (Label.LA, Label.LAA), (Label.LA, Label.PV),
    (Label.AORTA, Label.CORONARY),
)  # fmt: skip
SEPARATE = (
    (Label.LV, Label.RV),
    (Label.LA, Label.RA),
    (Label.LV, Label.PA),
    (Label.LAA, Label.PA),
    (Label.RA, Label.LV),
)


def components_of(case: PhantomCase, label: Label) -> np.ndarray:
    found: np.ndarray = cc3d.connected_components(case.truth == label, connectivity=26)
    return found


def test_every_structure_has_an_adult_volume(hearts: list[PhantomCase]) -> None:
    for case in hearts:
        voxel_ml = float(np.prod(case.spacing_mm)) / 1000
        for label, (least, most) in ADULT_ML.items():
            assert least <= (case.truth == label).sum() * voxel_ml <= most, (case.id, label.name)


def test_numbers_of_components(hearts: list[PhantomCase]) -> None:
    for case in hearts:
        for label in ONE_COMPONENT:
            assert components_of(case, label).max() == 1, (case.id, label.name)
        assert components_of(case, Label.AORTA).max() in (1, 2)
        assert components_of(case, Label.PV).max() in (2, 3, 4)
        assert components_of(case, Label.CORONARY).max() == 2


@pytest.mark.parametrize("pair", NEIGHBOURS, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_neighbours_touch(hearts: list[PhantomCase], pair: tuple[Label, Label]) -> None:
    for case in hearts:
        around = binary_dilation(case.truth == pair[0], np.ones((3, 3, 3)))
        assert (around & (case.truth == pair[1])).any(), case.id


@pytest.mark.parametrize("pair", SEPARATE, ids=lambda pair: f"{pair[0].name}-{pair[1].name}")
def test_walls_separate_the_chambers(hearts: list[PhantomCase], pair: tuple[Label, Label]) -> None:
    for case in hearts:
        faces = binary_dilation(case.truth == pair[0]) & (case.truth == pair[1])
        assert faces.sum() <= 20, case.id


def test_both_coronary_trees_start_at_the_aorta(hearts: list[PhantomCase]) -> None:
    for case in hearts:
        trees = components_of(case, Label.CORONARY)
        aorta = binary_dilation(case.truth == Label.AORTA, np.ones((3, 3, 3)))
        for tree in (1, 2):
            assert (aorta & (trees == tree)).any(), case.id


def test_hearts_differ_in_shape(hearts: list[PhantomCase]) -> None:
    def centred(case: PhantomCase, label: Label) -> np.ndarray:
        index = np.argwhere(case.truth == label)
        cube = np.zeros((90, 90, 90), bool)
        cube[tuple((index - np.round(index.mean(axis=0)).astype(int) + 45).T)] = True
        return cube

    for label in (Label.LV, Label.RV, Label.LA):
        first, *others = (centred(case, label) for case in hearts)
        assert all(dice(first, other) < 0.96 for other in others)
