"""A run through faults: a disk that fills up, a process that is killed, files that go bad or away in between."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.errors import OutputError, RunError
from heartmend.geometry.grid import Grid
from heartmend.io import atomic as files
from heartmend.io.atomic import TEMPORARY_PREFIX, write_json, write_npz, write_safetensors
from heartmend.io.label_maps import write_labels_like
from heartmend.io.nifti import write_volume
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, Result, run
from support.bad_files import truncated
from support.cohorts import write_cohort
from support.volumes import save_itk, save_nifti

PATIENT = b"Jane Doe"
SMALL = """
[prepare]
resolution = 32
margin_voxels = 4

[fit]
points = 200
checkpoint_seconds = 0
phases = [
  {steps = 10, code_lr = 0.01, shape_lr = 0.1, side = 16, controls = 5, tolerance_mm = 3.0},
  {steps = 10, code_lr = 0.006, shape_lr = 0.05, side = 16, controls = 5},
]
"""


def mend(folder: Path, out: str, **request: object) -> Result:
    asked = Request(folder / "labels", folder / out, device="cpu", **({"workers": 1} | request))  # type: ignore[arg-type]
    return run(asked, load_config("mend", folder / "small.toml"))


def results(out: Path) -> dict[str, bytes]:
    """All that a run leaves and that does not speak of times or places."""
    kept = [
        *out.glob("labels/*"),
        *out.glob("run/*/*.npz"),
        *out.glob("run/*/*.json"),
        out / "run/fit/model.safetensors",
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept if path.name != "last.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hearts with a patient's name in every text of their headers, mended once into out/; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    write_cohort(folder, count=2)
    (folder / "small.toml").write_text(SMALL)
    for path in (folder / "labels").iterdir():
        image = nib.load(path)
        for field in ("descrip", "intent_name", "aux_file", "db_name"):
            image.header[field] = PATIENT
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", PATIENT))
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    mend(folder, "out")
    return folder


@pytest.fixture
def again(whole: Path, tmp_path: Path) -> Path:
    """The same cohort, not mended yet."""
    shutil.copytree(whole / "labels", tmp_path / "labels")
    shutil.copy(whole / "small.toml", tmp_path / "small.toml")
    return tmp_path


@contextmanager
def full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that takes so many files, and then no more."""
    sync, left = files._sync, [writes]

    def synced(path: Path) -> None:
        if path.is_file():
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_sync", synced)
        yield


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(
    whole: Path, again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every stage: no case is blamed, nothing half-written, and in the end the same bytes."""
    told = []
    for writes in (0, 1, 9, 11, 4, 6, 3, 2, 5, 3, 4):
        with full_after(writes, monkeypatch):
            try:
                mend(again, "out")
                break
            except OutputError as error:
                told.append(str(error))
        assert not list((again / "out").rglob(f"{TEMPORARY_PREFIX}*"))
        skipped = again / "out" / "run" / "skipped.json"
        assert not skipped.exists() or json.loads(skipped.read_text()) == {}
    says = "No space left on device; free some space and repeat the command"
    assert len(told) > 4 and all(says in message for message in told)
    assert mend(again, "out").skipped == {}
    assert results(again / "out") == results(whole / "out")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_file_that_does_not_fit_is_not_there_and_the_old_one_stays(tmp_path: Path, ending: str) -> None:
    """The limit of the size of a file, as the system itself enforces it; noise does not pack."""
    noise = np.random.default_rng(0).integers(0, 11, (40, 40, 40)).astype(np.uint8)
    save = save_nifti if "nii" in ending else save_itk
    template = save(tmp_path / f"in{ending}", noise)
    out = tmp_path / "out" / f"a{ending}"
    array = np.random.default_rng(0).random(40_000)
    writers = {
        out.name: lambda: write_labels_like(noise, template, out),
        "a.npz": lambda: write_npz(out.parent / "a.npz", {"a": array}),
        "a.json": lambda: write_json(out.parent / "a.json", array),
        "a.safetensors": lambda: write_safetensors(out.parent / "a.safetensors", {"a": array}),
        "b.nii.gz": lambda: write_volume(
            array.reshape(20, 40, 50), Grid((20, 40, 50), np.eye(4)), out.parent / "b.nii.gz"
        ),
    }
    out.parent.mkdir()
    for name in writers:
        (out.parent / name).write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        for write in writers.values():
            with pytest.raises(OutputError, match="cannot be written"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(p.name for p in out.parent.iterdir()) == sorted(writers)
    assert all((out.parent / name).read_text() == "old" for name in writers)


def test_a_place_that_cannot_be_written_to_is_told(again: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (again / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written to: Not a directory.*another --out"):
        mend(again, "file/out")

    def read_only(path: Path, *more: object, **others: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(OutputError, match=r"Read-only file system.*another --out"):
        mend(again, "out")


def test_what_is_lost_or_damaged_in_the_run_folder_is_made_again(whole: Path, again: Path) -> None:
    shutil.copytree(whole / "out", again / "out")
    marker = again / "out" / "run" / "run.json"
    marker.write_text(marker.read_text().replace(str(whole), str(again)))
    lost = ("prepare/1.npz", "refine/2.npz", "fuse/1.json", "fit/model.safetensors")
    for name in lost[::2]:
        (again / "out" / "run" / name).unlink()
    for name in lost[1::2]:
        path = again / "out" / "run" / name
        path.write_bytes(path.read_bytes()[:-9])
    mend(again, "out")
    assert results(again / "out") == results(whole / "out")


def test_a_case_that_went_bad_is_refused_and_its_old_result_set_aside(whole: Path, again: Path) -> None:
    shutil.copytree(whole / "out", again / "out")
    marker = again / "out" / "run" / "run.json"
    marker.write_text(marker.read_text().replace(str(whole), str(again)))
    truncated(again / "labels" / "2.nii.gz")
    result = mend(again, "out")
    assert result.mended == ("1",) and list(result.skipped) == ["2"]
    assert [p.name for p in (again / "out" / "labels").iterdir()] == ["1.nii.gz"]
    aside = again / "out" / "run" / "withdrawn" / "2.nii.gz"
    assert aside.read_bytes() == (whole / "out" / "labels" / "2.nii.gz").read_bytes()


def test_when_every_case_is_refused_the_reasons_are_kept(again: Path) -> None:
    for n in (1, 2):
        truncated(again / "labels" / f"{n}.nii.gz")
    with pytest.raises(RunError, match="none of the 2 label maps could be used"):
        mend(again, "out")
    skipped = json.loads((again / "out" / "run" / "skipped.json").read_text())
    assert list(skipped) == ["1", "2"] and "truncated" in skipped["2"]


def test_no_text_of_a_header_gets_into_the_run_folder(
    whole: Path, again: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only the mended label map has it, because it keeps its header to the byte."""
    assert nib.load(whole / "out" / "labels" / "1.nii.gz").header["descrip"].item() == PATIENT
    for path in (whole / "out" / "run").rglob("*"):
        assert not path.is_file() or PATIENT not in path.read_bytes(), path
    # A broken file of each kind, with the name where an error might quote it.
    for n, (at, value) in enumerate(((40, 9), (70, 77), (344, 65), (108, 255)), start=3):
        raw = bytearray(nib.load(again / "labels" / "2.nii.gz").to_bytes())
        raw[at] = value
        (again / "labels" / f"{n}.nii").write_bytes(raw)
    (again / "labels" / "7.nii.gz").write_bytes(PATIENT * 90)
    result = mend(again, "out", until="prepare")
    assert len(result.skipped) >= 4
    told = "".join([*result.skipped.values(), caplog.text, *capfd.readouterr()])
    assert "Jane" not in told and "Doe" not in told


def test_odd_inputs_are_mended_and_told(tmp_path: Path) -> None:
    """One voxel of a structure, an absent one, floats, a trailing axis, a name with spaces and letters of its own."""
    write_cohort(tmp_path, count=2)
    (tmp_path / "small.toml").write_text(SMALL)
    image = nib.load(tmp_path / "labels" / "1.nii.gz")
    values = np.asarray(image.dataobj)
    values[30, 30, 25] = 8
    odd = tmp_path / "labels" / "Zoë  Müller-Åse 1.nii.gz"
    save_nifti(odd, values[..., None], np.float32, image.affine)
    result = mend(tmp_path, "out")
    assert result.skipped == {}
    assert "sform and qform place it" in result.warnings["Zoë  Müller-Åse 1"][0]
    assert json.loads((tmp_path / "out" / "run" / "warnings.json").read_text()) == result.warnings
    mended = nib.load(tmp_path / "out" / "labels" / odd.name)
    assert mended.shape == (*values.shape, 1) and mended.get_data_dtype() == np.float32
    assert set(np.unique(mended.dataobj)) <= {0, 2, 3, 4, 5, 8}


@pytest.mark.slow
def test_the_same_bytes_whatever_the_order_of_the_files_and_the_workers(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for path in sorted((whole / "labels").iterdir(), reverse=True):
        shutil.copy(path, tmp_path / "labels")
    shutil.copy(whole / "small.toml", tmp_path)
    mend(tmp_path, "out", workers=2)
    assert results(tmp_path / "out") == results(whole / "out")


KILLS = Path(__file__).parents[1] / "benchmarks" / "kill_runs.py"


@pytest.mark.skipif(not KILLS.is_file(), reason="the benchmarks are not part of this copy")
@pytest.mark.parametrize(
    "asked",
    [("--kills", "1", "--workers", "1", "--until", "fuse"), pytest.param(("--kills", "50"), marks=pytest.mark.slow)],
)
def test_runs_that_are_killed_end_as_one_that_was_left_alone(asked: tuple[str, ...]) -> None:
    told = subprocess.run([sys.executable, KILLS, *asked], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{asked[1]} kills" in told.stdout


@pytest.mark.slow
def test_a_disk_that_is_really_full(whole: Path, again: Path) -> None:
    out = again / "out"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", out], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            mend(again, "out")
        subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        mend(again, "out")
        assert results(out) == results(whole / "out")
    finally:
        subprocess.run(["umount", "--lazy", out], check=True)
