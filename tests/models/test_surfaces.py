"""Surfaces from the function: closed, outward, in mm where the structure is."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.models.surfaces import claim, surfaces_of
from support.models import CENTRES_MM, RADIUS_MM, two_balls

MODEL = two_balls(spread=0.0)
BALL_MM3 = 4 / 3 * np.pi * RADIUS_MM**3


def test_a_ball_is_closed_smooth_and_where_it_is() -> None:
    meshes = surfaces_of(MODEL, MODEL.heart("a"), spacing_mm=1.5)
    assert set(meshes) == {"LV", "RV"}
    for name, mesh in meshes.items():
        assert mesh.is_watertight
        assert mesh.volume_mm3 == pytest.approx(BALL_MM3, rel=0.03)
        radii = np.linalg.norm(mesh.vertices_mm - np.array(CENTRES_MM[name]), axis=1)
        # Of a label map of 2 mm they would lie up to a millimetre off.
        assert abs(radii - RADIUS_MM).max() < 0.35
    assert set(surfaces_of(MODEL, MODEL.heart("a"), 3.0, ["lv"])) == {"LV"}


def test_bent_hearts_are_closed_too() -> None:
    model = two_balls(spread=0.08, seed=3)
    for id in model.codes.ids:
        for mesh in surfaces_of(model, model.heart(id), spacing_mm=2.5).values():
            assert mesh.is_watertight and mesh.volume_mm3 > 0


def test_structures_do_not_overlap() -> None:
    heart = load_anatomy("heart")
    fields = {"LV": np.array([1.0, 1.0, -1.0]), "Coronary": np.array([0.5, -0.5, 0.5])}
    assert claim(fields, heart, {}, "Coronary").tolist() == [0.5, -0.5, 0.5]
    assert claim(fields, heart, {}, "LV").tolist() == [-0.5, 0.5, -1.0]
