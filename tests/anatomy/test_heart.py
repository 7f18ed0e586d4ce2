"""The built-in anatomies."""

import itertools

import numpy as np
import pytest
from skimage.color import rgb2lab

from heartmend.anatomy.load import built_in_anatomies, load_anatomy


def test_the_heart_has_the_ids_of_the_reference_data_set() -> None:
    heart = load_anatomy("heart")
    ten = heart.without_absent(())
    assert dict(zip(ten.ids, ten.names, strict=True)) == {
        1: "Myocardium", 2: "LA", 3: "LV", 4: "RA", 5: "RV", 6: "Aorta", 7: "PA", 8: "LAA", 9: "Coronary", 10: "PV",
    }  # fmt: skip
    assert ten.priority == ("Coronary", "LAA", "PV", "LA", "LV", "Myocardium", "Aorta", "RA", "RV", "PA")
    assert [s.components for s in ten.structures] == [1, 1, 1, 1, 1, 2, 1, 1, 2, 2]
    assert heart.by_name("LAA").must_touch == ("LA",)
    assert heart.by_name("PV").must_touch == ("LA",)
    assert [s.name for s in heart.structures if s.kind == "tube"] == ["Coronary"]


def test_the_venae_cavae_are_optional() -> None:
    heart = load_anatomy("heart")
    assert [(s.id, s.name) for s in heart.structures if s.optional] == [(11, "SVC"), (12, "IVC")]
    assert heart.by_name("superior_vena_cava").id == 11 and heart.by_name("Vena cava inferior").id == 12
    assert heart.without_absent(["SVC", "IVC"]) is heart
    one = heart.without_absent(["IVC", "LA"])
    assert one.names == tuple(name for name in heart.names if name != "SVC")
    assert one.priority == tuple(name for name in heart.priority if name != "SVC")
    assert one.are_neighbours("RA", "IVC") and one.rules == heart.rules


def test_every_structure_has_its_own_snomed_code() -> None:
    # DICOM PS3.16, CID 3010; the myocardium and the adrenal gland as in 3D Slicer.
    codes = {
        s.name: s.terminology.code for a in ("heart", "adrenal") for s in load_anatomy(a).structures if s.terminology
    }
    assert codes == {
        "Myocardium": "74281007", "LA": "82471001", "LV": "87878005", "RA": "73829009", "RV": "53085002",
        "Aorta": "15825003", "PA": "81040000", "LAA": "33626005", "Coronary": "41801008", "PV": "122972007",
        "SVC": "48345005", "IVC": "64131007", "Adrenal": "23451007",
    }  # fmt: skip


def test_the_adrenal_gland_has_one_structure() -> None:
    assert load_anatomy("adrenal").names == ("Adrenal",)


def test_there_are_two_built_in_anatomies() -> None:
    assert built_in_anatomies() == ("adrenal", "heart")


# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_are_distinguishable(vision: str) -> None:
    rgb = np.array([s.colour for s in load_anatomy("heart").structures]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    visible = np.clip(linear @ np.transpose(VISION[vision]), 0, 1)
    lab = rgb2lab(np.where(visible <= 0.0031308, visible * 12.92, 1.055 * visible ** (1 / 2.4) - 0.055)[None])[0]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) >= 30
