"""Tests of the benchmark of variants: the Dice of an abnormal part by hand, and the cohort that is made."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from variants import TOLD, make_cohort, part_dice

from heartmend.phantom.cohort import PhantomSettings, write_cohort
from heartmend.phantom.variants import VARIANTS

MM = (1.0, 1.0, 1.0)


def test_every_variant_has_words_that_must_be_said() -> None:
    assert list(TOLD) == list(VARIANTS)


def test_the_dice_of_a_part_counts_what_is_lost_and_what_grows_beside_it() -> None:
    truth = np.zeros((30, 20, 20), np.uint8)
    truth[2:12, 5:15, 5:15] = 6
    truth[12:22, 8:12, 8:12] = 6
    part = np.zeros(truth.shape, bool)
    part[12:22] = truth[12:22] == 6
    assert part_dice(truth, truth, part, MM) == 1
    lost = truth.copy()
    lost[17:22] = 0
    # 80 of 160 voxels: 2 * 80 / (80 + 160). What the structure loses elsewhere does not count.
    lost[2:6] = 0
    assert part_dice(lost, truth, part, MM) == pytest.approx(2 / 3)
    grown = truth.copy()
    grown[13:23, 12:13, 8:12] = 6
    assert part_dice(grown, truth, part, MM) == pytest.approx(320 / (200 + 160))
    # Another structure in its place is a loss, far growth is none.
    swapped = np.where(part, np.uint8(3), truth)
    swapped[28] = 6
    assert part_dice(swapped, truth, part, MM) == 0


def test_the_first_hearts_get_a_variant_each_and_what_is_there_stays(tmp_path: Path) -> None:
    write_cohort(tmp_path / "source", 3, 1, PhantomSettings(spacing_mm=4.0, vary_grid=False, images=False))
    names = ("absent-rv", "vein-graft")
    found = make_cohort(tmp_path / "source", tmp_path / "made", names, "harsh", 0, with_images=True)
    assert found == {"001": "absent-rv", "002": "vein-graft"}
    folders = {name: sorted(path.name for path in (tmp_path / "made" / name).iterdir()) for name in
               ("labels_true", "labels_noisy", "images", "parts")}  # fmt: skip
    assert folders["parts"] == ["002.nii.gz"]
    assert all(len(folders[name]) == 3 for name in ("labels_true", "labels_noisy", "images"))
    true, noisy, part, source = (
        np.asarray(nib.load(path).dataobj)
        for path in (
            *(tmp_path / "made" / name / "002.nii.gz" for name in ("labels_true", "labels_noisy", "parts")),
            tmp_path / "source" / "labels_true" / "002.nii.gz",
        )
    )
    np.testing.assert_array_equal(part > 0, true != source)
    assert (noisy != true).any()
    marked = tmp_path / "made" / "labels_noisy" / "003.nii.gz"
    marked.write_bytes(b"mine")
    make_cohort(tmp_path / "source", tmp_path / "made", names, "harsh", 0, with_images=True)
    assert marked.read_bytes() == b"mine"
