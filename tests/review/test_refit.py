"""Test of decisions that teach: three cases are corrected, and a button repairs the others again."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.errors import RunError
from heartmend.models.lattice import evaluate_case
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.release.corrections import import_corrected
from heartmend.release.export import export_release
from heartmend.release.teach import lesson_of, teach
from heartmend.review.case_cache import make_ready
from heartmend.review.summary import read_summary
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from support.browser import launched, served
from support.shared_error import COUNT, TRUSTED, write_cohort_with_wide_lv

SECONDS = 1000


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def accept_open(finished: FinishedRun, cases: int) -> None:
    """Accept what is open in the first cases."""
    decisions = open_decisions(finished)
    for case in list(finished)[:cases]:
        summary = read_summary(finished, case)
        numbers = {d.structure: d for d in decisions.current() if d.case == case.id}
        names = [n for n in summary.changed_structures if n not in numbers]
        decisions.write([DecisionRequest(case.id, n, "accept", "", summary.stamp, 0) for n in names], "Anna")


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose first three cases were corrected by hand and decided; their LV is a voxel narrower now."""
    folder = write_cohort_with_wide_lv(tmp_path_factory.mktemp("cohort"))
    config = load_config("mend", folder / "small.toml")
    run(Request(folder / "labels", folder / "out", device="cpu", workers=1, stop_after="fuse"), config)
    finished = FinishedRun.open(folder / "out")
    assert make_ready(finished, workers=1) == {}
    with pytest.raises(RunError, match=r"0 cases are corrected by hand and decided; a refit needs 3"):
        lesson_of(finished)
    assert all(not one.error for one in import_corrected(finished, folder / "trusted", "Anna"))
    accept_open(finished, TRUSTED)
    return folder


def lv_of_shape(out: Path, case: str) -> int:
    """Voxels of the LV in the fitted shape of a case."""
    run = RunFolder.at(out)
    return int((evaluate_case(*run.fitted(), case, run.roi(case))["LV"] > 0).sum())


def test_the_undecided_cases_are_repaired_again_and_the_others_stay(corrected: Path, tmp_path: Path) -> None:
    out = corrected / "out"
    fitted_before = {n: lv_of_shape(out, str(n)) for n in range(1, COUNT + 1)}
    refined_before = {n: (out / "run" / "refine" / f"{n}.npz").read_bytes() for n in range(1, COUNT + 1)}
    before = {n: values(out / "labels" / f"{n}.nii.gz") for n in range(1, COUNT + 1)}
    lesson, result = teach(FinishedRun.open(out), "cpu", 1)
    assert [plan.case.id for plan in lesson.trusted] == ["1", "2", "3"] and lesson.kept == {"1", "2", "3"}
    assert len(result.cases) == COUNT
    # The fit has followed the corrected maps: the shapes of these cases have the volume of the truth, those of the
    # others that of their labels. What the repair made of the corrected cases before stays, to be compared with them.
    for n in range(1, COUNT + 1):
        label, true = (np.sum(values(corrected / name / f"{n}.nii.gz") == 3) for name in ("labels", "truth"))
        assert abs(fitted_before[n] / label - 1) < 0.06
        assert abs(lv_of_shape(out, str(n)) / (true if n <= TRUSTED else label) - 1) < 0.06
        if n <= TRUSTED:
            assert refined_before[n] == (out / "run" / "refine" / f"{n}.npz").read_bytes()
    truth = {n: values(corrected / "truth" / f"{n}.nii.gz") for n in range(1, COUNT + 1)}
    for n in range(1, COUNT + 1):
        after = values(out / "labels" / f"{n}.nii.gz")
        if n <= TRUSTED:
            # The results of the cases with a decision stay, with their corrections beside them.
            assert (after == before[n]).all()
        else:
            errors_of_lv = [abs(np.sum(m == 3) / np.sum(truth[n] == 3) - 1) for m in (before[n], after)]
            assert errors_of_lv[0] > 0.15 and errors_of_lv[1] < 0.1
    finished = FinishedRun.open(out)
    assert make_ready(finished, workers=1) == {}
    export_release(finished, tmp_path / "release", frozenset(), undecided="accept", workers=1)
    for n in range(1, COUNT + 1):
        expected = truth[n] if n <= TRUSTED else values(out / "labels" / f"{n}.nii.gz")
        assert (values(tmp_path / "release" / "labels" / f"{n}.nii.gz") == expected).all()


def test_the_button_starts_it_and_the_page_loads_the_new_maps(corrected: Path) -> None:
    """What the test before has done is not repeated: the maps are the same after it."""
    out = corrected / "out"
    before = {path.name: path.read_bytes() for path in (out / "labels").iterdir()}
    command = (sys.executable, "-m", "heartmend", "--quiet", "refit", str(out), "--workers", "1", "--device", "cpu")
    with launched() as browser, served(out, command) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(600 * SECONDS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("body[data-shown]")
        page.wait_for_selector("#refit:has-text('refit from 3 corrected cases')")
        assert "of 3 cases" in page.locator("#budget").text_content()
        with page.expect_navigation():
            page.click("#refit")
        page.wait_for_selector("body[data-shown]")
        assert page.locator("#counts").text_content() == f"{TRUSTED} of {COUNT} decided"
        assert errors == []
    assert {path.name: path.read_bytes() for path in (out / "labels").iterdir()} == before
