"""Surface extraction: closed surfaces that face outwards, at the structure's position in mm."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.models.surfaces import exclusive_distance_mm
from support.models import CENTRES_MM, RADIUS_MM, two_balls

MODEL = two_balls(spread=0.0)
BALL_MM3 = 4 / 3 * np.pi * RADIUS_MM**3


def test_the_surface_of_a_ball_is_closed_and_smooth() -> None:
    meshes = MODEL.mesh("a", spacing_mm=1.5)
    assert set(meshes) == {"LV", "RV"}
    for name, mesh in meshes.items():
        assert mesh.is_watertight
        assert mesh.volume_mm3 == pytest.approx(BALL_MM3, rel=0.03)
        radii = np.linalg.norm(mesh.vertices_mm - np.array(CENTRES_MM[name]), axis=1)
        # From a label map of 2 mm the error would be up to a millimetre.
        assert abs(radii - RADIUS_MM).max() < 0.35
    assert set(MODEL.mesh("a", 3.0, ["lv"])) == {"LV"}


def test_surfaces_of_deformed_hearts_are_closed() -> None:
    model = two_balls(spread=0.08, seed=3)
    for id in model.codes.ids:
        for mesh in model.mesh(id, spacing_mm=2.5).values():
            assert mesh.is_watertight and mesh.volume_mm3 > 0


def test_structures_do_not_overlap() -> None:
    heart = load_anatomy("heart")
    fields = {"LV": np.array([1.0, 1.0, -1.0]), "Coronary": np.array([0.5, -0.5, 0.5])}
    assert exclusive_distance_mm(fields, heart, {}, "Coronary").tolist() == [0.5, -0.5, 0.5]
    assert exclusive_distance_mm(fields, heart, {}, "LV").tolist() == [-0.5, 0.5, -1.0]
