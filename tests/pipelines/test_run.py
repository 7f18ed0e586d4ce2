"""Tests of the whole run on three small hearts: what it changes, and what it never does."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.progress import NoProgress, Progress
from heartmend.errors import ConfigError, RunError
from heartmend.geometry.roi import Roi
from heartmend.io.label_maps import read_labels
from heartmend.pipelines.config import Config, load_config
from heartmend.pipelines.run import Request, resolve_device, run
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from heartmend.stages.contract import DONE_BEFORE
from support.cohorts import CONFIG, small_map, write_cohort
from support.sheets import sheet


class Recorder(NoProgress):
    """Records the stages and how far each came; stops the run when the fit has come so far."""

    def __init__(self, stop_fit_at: int | None = None) -> None:
        self.steps: dict[str, int] = {}
        self.notes: dict[str, str] = {}
        self._now, self._stop = "", stop_fit_at

    def start(self, task: str, total: int) -> None:
        self._now = task
        self.steps[task] = 0

    def advance(self, done: int, note: str = "") -> None:
        self.steps[self._now], self.notes[self._now] = done, note
        if self._now == "fit" and done == self._stop:
            raise KeyboardInterrupt


def repair(folder: Path, out: str, progress: Progress | None = None, **request: object) -> dict[str, bytes]:
    """Run on `folder`/labels into `folder`/`out`; returns the repaired files by name."""
    run(
        Request(folder / "labels", folder / out, device="cpu", workers=1, **request),  # type: ignore[arg-type]
        load_config("mend", folder / "small.toml"), progress,
    )  # fmt: skip
    return {path.name: path.read_bytes() for path in (folder / out / "labels").iterdir()}


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort that was mended once into out/; not to be changed."""
    folder = tmp_path_factory.mktemp("repaired")
    write_cohort(folder)
    repair(folder, "out")
    return folder


@pytest.fixture
def again(repaired: Path, tmp_path: Path) -> Path:
    """The same cohort, not mended yet."""
    shutil.copytree(repaired / "labels", tmp_path / "labels")
    shutil.copy(repaired / "small.toml", tmp_path / "small.toml")
    return tmp_path


def test_every_file_keeps_its_name_grid_header_and_type(repaired: Path) -> None:
    assert sorted(p.name for p in (repaired / "out" / "labels").iterdir()) == ["1.nii.gz", "2.nii.gz", "3.nii.gz"]
    for before in (repaired / "labels").iterdir():
        was, now = nib.load(before), nib.load(repaired / "out" / "labels" / before.name)
        assert now.shape == was.shape
        assert now.get_data_dtype() == was.get_data_dtype()
        assert np.array_equal(now.affine, was.affine)
        assert now.header.binaryblock == was.header.binaryblock
        assert now.header.extensions == was.header.extensions


def test_the_input_is_as_it_was(repaired: Path) -> None:
    for n in (1, 3):
        assert (values(repaired / "labels" / f"{n}.nii.gz") == small_map(n)).all()


def test_it_repairs_and_removes_far_components_only_outside_the_heart(repaired: Path) -> None:
    anatomy = load_anatomy("heart")
    for path in (repaired / "labels").iterdir():
        volume = read_labels(path, anatomy)
        now = values(repaired / "out" / "labels" / path.name)
        box = Roi.around(volume.labels, volume.grid, anatomy, margin_voxels=4).source_box()
        outside = np.ones(now.shape, dtype=bool)
        outside[box] = False
        assert outside[0, 0, 0] and volume.labels[0, 0, 0] == 3
        # The far component is removed and listed; nothing else outside changes.
        expected = volume.labels.copy()
        expected[0, 0, 0] = 0
        assert (now[outside] == expected[outside]).all()
        changes = json.loads((repaired / "out" / "run" / "fuse" / f"{path.name[0]}.json").read_text())["changes"]
        island, reach = volume.grid.index_to_world([0, 0, 0]), 2 * max(volume.grid.spacing_mm)
        near = [c["rule"] for c in changes if np.abs(np.array(c["box_mm"]) - island).max() < reach]
        assert near == ["far_components"]
        assert (now != volume.labels).any()
        # The salt in the left ventricle is gone.
        clean = small_map(int(path.name[0]))
        inside = (slice(10, 14), slice(18, 22), slice(9, 13))
        assert (now[inside] == 3).all()
        assert (clean[inside] != 3).any()


def test_a_structure_that_was_absent_stays_so(repaired: Path) -> None:
    now = values(repaired / "out" / "labels" / "2.nii.gz")
    assert set(np.unique(now)) == {0, 2, 3, 5}
    assert set(np.unique(values(repaired / "out" / "labels" / "3.nii.gz"))) == {0, 2, 3, 4, 5}


def test_the_run_folder_explains_itself(repaired: Path) -> None:
    root = repaired / "out" / "run"
    config = json.loads((root / "settings.json").read_text())
    assert config["prepare"]["resolution"] == 32
    assert config["seed"] == 0
    assert json.loads((root / "skipped.json").read_text()) == {}
    assert (root / "versions.json").is_file()
    assert (root / "fit" / "model.safetensors").is_file()
    assert not (root / "fit" / "last.safetensors").exists()


def test_a_second_run_does_nothing(again: Path) -> None:
    first = repair(again, "out")
    times = {p: p.stat().st_mtime_ns for p in (again / "out" / "labels").iterdir()}
    times |= {p: p.stat().st_mtime_ns for p in (again / "out" / "run" / "fit").glob("*.safetensors")}
    recorder = Recorder()
    assert repair(again, "out", recorder) == first
    assert recorder.notes["fit"] == DONE_BEFORE
    assert {p: p.stat().st_mtime_ns for p in times} == times
    (again / "out" / "labels" / "3.nii.gz").unlink()
    assert repair(again, "out") == first
    with pytest.raises(RunError, match="contains a run already"):
        repair(again, "out", resume=False)


def test_a_run_that_was_cut_off_ends_as_the_undisturbed_one(repaired: Path, again: Path) -> None:
    whole = {p.name: p.read_bytes() for p in (repaired / "out" / "labels").iterdir()}
    with pytest.raises(KeyboardInterrupt):
        repair(again, "out", Recorder(stop_fit_at=20))
    assert not list((again / "out" / "labels").iterdir())
    recorder = Recorder()
    assert repair(again, "out", recorder) == whole
    assert recorder.steps["fit"] == 40


def test_the_structures_that_were_asked_for_are_the_only_ones_to_change(again: Path) -> None:
    repair(again, "out", structures=("LV", "la"))
    for n in (1, 2, 3):
        was, now = (values(again / where / f"{n}.nii.gz") for where in ("labels", "out/labels"))
        changed = was != now
        assert changed.any()
        assert (np.isin(was, (2, 3)) | np.isin(now, (2, 3)))[changed].all()
    with pytest.raises(ConfigError, match="no structure 'spleen'"):
        repair(again, "unknown_labels", structures=("spleen",))


@pytest.mark.slow
def test_each_stage_can_be_the_last(again: Path) -> None:
    for stage, made in (("prepare", "prepare"), ("fit", "fit/model.safetensors"), ("refine", "refine")):
        recorder = Recorder()
        assert repair(again, "out", recorder, stop_after=stage) == {}
        assert (again / "out" / "run" / made).exists()
        assert list(recorder.steps)[-1] == stage


@pytest.mark.slow
def test_one_bad_file_never_stops_the_others(again: Path) -> None:
    bad = again / "labels" / "4.nii.gz"
    bad.write_bytes((again / "labels" / "3.nii.gz").read_bytes()[:400])
    result = run(
        Request(again / "labels", again / "out", device="cpu", workers=1), load_config("mend", again / "small.toml")
    )
    assert result.cases == ("1", "2", "3")
    assert list(result.skipped) == ["4"]
    assert "4.nii.gz" in result.skipped["4"]
    assert json.loads((again / "out" / "run" / "skipped.json").read_text()) == result.skipped
    assert len(list((again / "out" / "labels").iterdir())) == 3


def test_what_has_no_shape_in_common_is_mended_without_a_template(tmp_path: Path) -> None:
    """Sheets of which no two are alike, as adrenal glands: nearer to the truth, and the template's fit is not asked."""
    (tmp_path / "small.toml").write_text(CONFIG + "[fit.voxel_classifier]\nrounds = 1\nexamples = 12000\npasses = 12\n")
    (tmp_path / "labels").mkdir()
    for seed in range(5):
        worse = corrupt_mask(sheet(seed), 0.7, np.random.default_rng(seed)).astype(np.uint8)
        nib.save(nib.Nifti1Image(worse, np.eye(4)), tmp_path / "labels" / f"{seed}.nii.gz")
    recorder = Recorder()
    repair(tmp_path, "out", recorder, anatomy="adrenal", stop_after="fuse")
    assert recorder.steps.keys() == {"prepare", "classifiers", "refine", "fuse"}
    wrong = np.zeros(2)
    for seed in range(5):
        for at, folder in enumerate(("labels", "out/labels")):
            wrong[at] += ((values(tmp_path / folder / f"{seed}.nii.gz") > 0) != sheet(seed)).sum()
    assert wrong[1] < 0.95 * wrong[0]


def test_when_no_file_can_be_used_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "1.nii.gz").write_bytes(b"no volume")
    with pytest.raises(RunError, match=r"the only label map could not be used: .*1\.nii\.gz"):
        run(Request(tmp_path / "labels", tmp_path / "out", device="cpu", workers=1), Config())


def test_a_device_that_is_not_there_is_told() -> None:
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="--device toaster"):
        resolve_device("toaster")
    with pytest.raises(ConfigError, match=r"--device cuda:99: torch finds \d+ GPUs"):
        resolve_device("cuda:99")


KILLED_IN_THE_FIT = """
import os, signal
from heartmend.cli.main import main
from heartmend.training.loop import Fit

step = Fit._step

def killed_in_step_26(self, phase, at, reports):
    if at == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, phase, at, reports)

Fit._step = killed_in_step_26
main()
"""


def heartmend_run(folder: Path, out: str, *program: str) -> int:
    """Run in a process of its own; returns its exit status."""
    command = [sys.executable, *(program or ("-m", "heartmend")), "run", folder / "labels", "--output", folder / out]
    command += ["--config", folder / "small.toml", "--device", "cpu", "--workers", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False).returncode


@pytest.mark.slow
def test_a_killed_run_that_is_continued_gives_the_same_labels(again: Path) -> None:
    assert heartmend_run(again, "killed", "-c", KILLED_IN_THE_FIT) == -signal.SIGKILL
    files = again / "killed" / "run" / "fit"
    assert (files / "last.safetensors").exists() and not (files / "model.safetensors").exists()
    for out in ("killed", "undisturbed"):
        assert heartmend_run(again, out) == 0
    killed, undisturbed = (
        {p.name: p.read_bytes() for p in (again / out / "labels").iterdir()} for out in ("killed", "undisturbed")
    )
    assert len(undisturbed) == 3
    assert killed == undisturbed
