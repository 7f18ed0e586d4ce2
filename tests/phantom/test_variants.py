"""Variants of a phantom heart: what each adds, removes or moves."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.errors import ConfigError
from heartmend.geometry.components import count_components
from heartmend.phantom.cohort import PhantomCase, PhantomSettings, make_case
from heartmend.phantom.plan import Label
from heartmend.phantom.variants import VARIANTS, VariantHeart, make_variant, variant_names


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(0, 1, PhantomSettings(spacing_mm=2.0, vary_grid=False))


def made(name: str, case: PhantomCase) -> VariantHeart:
    truth = case.truth.copy()
    heart = make_variant(name, truth, case.affine)
    assert np.array_equal(truth, case.truth)
    assert heart.labels.dtype == np.uint8
    return heart


def test_a_mirrored_heart_mirrored_again_is_the_heart(case: PhantomCase) -> None:
    once = made("mirrored", case).labels
    assert np.array_equal(once, case.truth[::-1])  # the first axis of a phantom is left to right


@pytest.mark.parametrize(("name", "label"), [("absent-laa", Label.LAA), ("absent-rv", Label.RV)])
def test_an_absent_structure_is_absent_and_the_others_stay(name: str, label: Label, case: PhantomCase) -> None:
    assert np.array_equal(made(name, case).labels, np.where(case.truth == label, 0, case.truth))


def test_one_coronary_is_one_component(case: PhantomCase) -> None:
    labels = made("one-coronary", case).labels
    assert count_components(labels == Label.CORONARY) == 1
    assert not (labels != case.truth)[case.truth != Label.CORONARY].any()


@pytest.mark.parametrize("name", ["apical-aneurysm", "extra-vein", "common-trunk", "vein-graft"])
def test_an_added_part_is_what_changed(name: str, case: PhantomCase) -> None:
    heart = made(name, case)
    assert heart.part is not None and heart.part.any()
    assert np.array_equal(heart.part, heart.labels != case.truth)


def test_an_additional_vein_starts_at_the_atrium(case: PhantomCase) -> None:
    heart = made("extra-vein", case)
    assert heart.part is not None
    volume_mm3 = int(heart.part.sum()) * 8
    assert 0.5 * np.pi * 16 * 18 < volume_mm3 < 2 * np.pi * 16 * 18
    assert count_components(heart.part | (case.truth == Label.LA)) == count_components(case.truth == Label.LA)


def test_an_aneurysm_enlarges_the_ventricle_and_stays_connected(case: PhantomCase) -> None:
    labels = made("apical-aneurysm", case).labels
    assert count_components(labels == Label.LV) == count_components(case.truth == Label.LV)
    assert 2000 < ((labels == Label.LV).sum() - (case.truth == Label.LV).sum()) * 8 < 4 / 3 * np.pi * 12**3


def test_a_giant_atrium_has_1_85_times_the_volume(case: PhantomCase) -> None:
    ratio = (made("giant-la", case).labels == Label.LA).sum() / (case.truth == Label.LA).sum()
    assert ratio == pytest.approx(1.85, rel=0.03)


def test_an_aneurysm_of_the_aorta_is_wider(case: PhantomCase) -> None:
    heart = made("ascending-aneurysm", case)
    assert (heart.labels == Label.AORTA).sum() > 1.2 * (case.truth == Label.AORTA).sum()


def test_a_cut_scan_keeps_the_positions_of_its_voxels(case: PhantomCase) -> None:
    heart = made("cut-below-arch", case)
    count = heart.labels.shape[2]
    assert count < case.truth.shape[2]
    assert np.array_equal(heart.labels, case.truth[:, :, :count]) and np.array_equal(heart.affine, case.affine)
    turned = make_variant("cut-below-arch", case.truth[:, :, ::-1], case.affine @ np.diag([1.0, 1, -1, 1]))
    assert np.array_equal(turned.labels[:, :, ::-1], heart.labels)


def test_padding_removes_seven_per_cent_of_the_heart(case: PhantomCase) -> None:
    labels = made("oblique-padding", case).labels
    assert (labels > 0).sum() == pytest.approx(0.93 * (case.truth > 0).sum(), rel=0.01)
    assert labels.shape == case.truth.shape


def test_unknown_names_and_missing_structures_are_errors(case: PhantomCase) -> None:
    with pytest.raises(ConfigError, match="unknown name big-la; choose from mirrored"):
        make_variant("big-la", case.truth, case.affine)
    with pytest.raises(ConfigError, match="has no LA"):
        make_variant("giant-la", np.where(case.truth == Label.LA, 0, case.truth).astype(np.uint8), case.affine)
    with pytest.raises(ConfigError, match="2 names for 1 hearts"):
        variant_names(["mirrored", "giant-la"], 1)


def test_the_first_hearts_of_a_cohort_get_the_variants() -> None:
    settings = PhantomSettings(spacing_mm=3.0, vary_grid=False, variants=("absent-rv",))
    first, second = (make_case(index, 1, settings) for index in range(2))
    assert not (first.truth == Label.RV).any() and "variant:absent-rv" in first.corruptions
    assert (second.truth == Label.RV).any() and not any("variant" in name for name in second.corruptions)
    assert set(VARIANTS) >= {"absent-rv"}
