"""Tests of the recipe of the prior models."""

from pathlib import Path

import numpy as np
import pytest
from make_prior import SOURCES, make_priors

from heartmend.models.model_file import load_heart_model
from heartmend.phantom.cohort import PhantomSettings, make_case
from heartmend.training.placement import PlacementSchedule
from heartmend.training.schedule import Phase
from support.volumes import save_nifti

TINY = PlacementSchedule((Phase(steps=3, code_lr=0.01, shape_lr=0, controls=6),), points=200)


@pytest.fixture(scope="module")
def anatomies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anatomies")
    for index, source in enumerate(SOURCES.values()):
        case = make_case(index, 1, PhantomSettings(spacing_mm=4.0, vary_grid=False))
        save_nifti(folder / source.file, case.truth, np.uint8, case.affine)
    return folder


def test_the_same_hearts_give_the_same_bytes(anatomies: Path, tmp_path: Path) -> None:
    first = make_priors(anatomies, tmp_path / "a", 24, TINY)
    second = make_priors(anatomies, tmp_path / "b", 24, TINY)
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert first[0].read_bytes() != first[1].read_bytes()


def test_a_model_is_its_heart_with_the_veins_of_a_phantom(anatomies: Path, tmp_path: Path) -> None:
    model = load_heart_model(make_priors(anatomies, tmp_path, 24, TINY)[0])
    heads = model.shape.template.heads
    volumes = dict(zip(heads, (model.shape.template.distances_mm > 0).sum(axis=(0, 1, 2)), strict=True))
    # Cells of eight millimetres: thin structures may have none.
    assert min(volumes[name] for name in ("Myocardium", "LA", "LV", "RA", "RV", "Aorta", "PA")) > 20
    assert {"SVC", "IVC", "LAA", "PV"} <= set(heads) and "Coronary" not in heads
    inside = model.shape.template.distances_mm > 0
    veins = inside[..., heads.index("SVC")] | inside[..., heads.index("IVC")]
    assert not (veins & inside[..., heads.index("LA")]).any()
    corners = model.shape.template.distances_mm[::23, ::23, ::23]
    assert (corners < -5).all(), "there is background all around"
    assert model.metadata["source"] == "Visible Human Male, heart v1.2"
