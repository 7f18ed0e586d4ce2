"""Runs with faults: full disks, killed processes, lost and damaged files, unusual inputs."""

import errno
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import OutputError, RunError
from heartmend.geometry.grid import Grid
from heartmend.io import atomic
from heartmend.io.atomic import TEMPORARY_PREFIX, write_json, write_npz, write_safetensors
from heartmend.io.label_meaning import own_meaning
from heartmend.io.label_writing import write_labels_like
from heartmend.io.nifti import write_volume
from heartmend.pipelines.config import load_config
from heartmend.pipelines.result import Result
from heartmend.pipelines.run import Request, run
from support.bad_files import truncated
from support.cohorts import write_cohort
from support.volumes import save_itk, save_nifti

PATIENT = b"Jane Doe"
CONFIG = """
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


def repair(folder: Path, out: str, **options: object) -> Result:
    """Run on FOLDER/labels into FOLDER/`out`, up to the label maps."""
    options = {"workers": 1, "stop_after": "fuse"} | options
    request = Request(folder / "labels", folder / out, device="cpu", **options)  # type: ignore[arg-type]
    return run(request, load_config("mend", folder / "small.toml"))


def results(out: Path) -> dict[str, bytes]:
    """Read all files of a run that contain neither times nor paths; fit/done.json contains the digest of a log."""
    files = [
        *out.glob("labels/*"),
        *out.glob("run/*/*.npz"),
        *out.glob("run/*/*.json"),
        out / "run/fit/model.safetensors",
    ]
    without = ("last.json", "done.json")
    return {str(path.relative_to(out)): path.read_bytes() for path in files if path.name not in without}


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hearts with a patient's name in every text of their headers, repaired into out/; not to be changed."""
    folder = tmp_path_factory.mktemp("repaired")
    write_cohort(folder, count=2)
    (folder / "small.toml").write_text(CONFIG)
    for path in (folder / "labels").iterdir():
        image = nib.load(path)
        for field in ("descrip", "intent_name", "aux_file", "db_name"):
            image.header[field] = PATIENT
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", PATIENT))
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)
    repair(folder, "out")
    return folder


@pytest.fixture
def cohort(repaired: Path, tmp_path: Path) -> Path:
    """The same cohort without results."""
    shutil.copytree(repaired / "labels", tmp_path / "labels")
    shutil.copy(repaired / "small.toml", tmp_path / "small.toml")
    return tmp_path


@pytest.fixture
def finished(repaired: Path, cohort: Path) -> Path:
    """The same cohort with its results in out/."""
    shutil.copytree(repaired / "out", cohort / "out")
    marker = cohort / "out" / "run" / "run.json"
    marker.write_text(marker.read_text().replace(str(repaired), str(cohort)))
    return cohort


@contextmanager
def disk_full_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every file after the first `writes` fail in the block, as on a full disk."""
    sync, left = atomic._sync, [writes]

    def failing_sync(path: Path) -> None:
        if path.is_file():
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "_sync", failing_sync)
        yield


def test_a_full_disk_stops_the_run_which_continues_when_there_is_space(
    repaired: Path, cohort: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every stage: no case is skipped, no partial file is left, and the final files are the same bytes."""
    messages = []
    for writes in (0, 1, 9, 11, 4, 6, 3, 2, 5, 3, 4):
        with disk_full_after(writes, monkeypatch):
            try:
                repair(cohort, "out")
                break
            except OutputError as error:
                messages.append(str(error))
        assert not list((cohort / "out").rglob(f"{TEMPORARY_PREFIX}*"))
        skipped = cohort / "out" / "run" / "skipped.json"
        assert not skipped.exists() or json.loads(skipped.read_text()) == {}
    expected = "No space left on device; free some space and repeat the command"
    assert len(messages) > 4 and all(expected in message for message in messages)
    assert repair(cohort, "out").skipped == {}
    assert results(cohort / "out") == results(repaired / "out")


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_file_that_cannot_be_written_leaves_the_old_one_unchanged(tmp_path: Path, ending: str) -> None:
    """The size limit of the system stops the writer; noise cannot be compressed."""
    noise = np.random.default_rng(0).integers(0, 11, (40, 40, 40)).astype(np.uint8)
    save = save_nifti if "nii" in ending else save_itk
    template = save(tmp_path / f"in{ending}", noise)
    out = tmp_path / "out" / f"a{ending}"
    array = np.random.default_rng(0).random(40_000)
    writers = {
        out.name: lambda: write_labels_like(noise, template, out, own_meaning(load_anatomy("heart"))),
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


def test_an_output_folder_that_cannot_be_written_is_an_error(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cohort / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written to: Not a directory.*another --out"):
        repair(cohort, "file/out")

    def read_only(path: Path, *more: object, **others: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(OutputError, match=r"Read-only file system.*another --out"):
        repair(cohort, "out")


def test_lost_and_damaged_files_of_the_run_folder_are_made_again(repaired: Path, finished: Path) -> None:
    names = ("prepare/1.npz", "refine/2.npz", "fuse/1.json", "fit/model.safetensors")
    for name in names[::2]:
        (finished / "out" / "run" / name).unlink()
    for name in names[1::2]:
        path = finished / "out" / "run" / name
        path.write_bytes(path.read_bytes()[:-9])
    repair(finished, "out")
    assert results(finished / "out") == results(repaired / "out")


def test_a_case_that_is_damaged_later_is_skipped_and_its_old_result_withdrawn(repaired: Path, finished: Path) -> None:
    truncated(finished / "labels" / "2.nii.gz")
    result = repair(finished, "out")
    assert result.cases == ("1",) and list(result.skipped) == ["2"]
    assert [p.name for p in (finished / "out" / "labels").iterdir()] == ["1.nii.gz"]
    withdrawn = finished / "out" / "run" / "withdrawn" / "2.nii.gz"
    assert withdrawn.read_bytes() == (repaired / "out" / "labels" / "2.nii.gz").read_bytes()


def test_the_reasons_are_stored_when_every_case_is_skipped(cohort: Path) -> None:
    for n in (1, 2):
        truncated(cohort / "labels" / f"{n}.nii.gz")
    with pytest.raises(RunError, match="none of the 2 label maps could be used"):
        repair(cohort, "out")
    skipped = json.loads((cohort / "out" / "run" / "skipped.json").read_text())
    assert list(skipped) == ["1", "2"] and "truncated" in skipped["2"]


def test_texts_of_file_headers_are_not_copied_into_the_run_folder(
    repaired: Path, cohort: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only the repaired label map contains them, because its header is copied byte by byte."""
    assert nib.load(repaired / "out" / "labels" / "1.nii.gz").header["descrip"].item() == PATIENT
    for path in (repaired / "out" / "run").rglob("*"):
        assert not path.is_file() or PATIENT not in path.read_bytes(), path
    # Files that are damaged in different ways, so that an error message could quote the name.
    for n, (at, value) in enumerate(((40, 9), (70, 77), (344, 65), (108, 255)), start=3):
        raw = bytearray(nib.load(cohort / "labels" / "2.nii.gz").to_bytes())
        raw[at] = value
        (cohort / "labels" / f"{n}.nii").write_bytes(raw)
    (cohort / "labels" / "7.nii.gz").write_bytes(PATIENT * 90)
    result = repair(cohort, "out", stop_after="prepare")
    assert len(result.skipped) >= 4
    printed = "".join([*result.skipped.values(), caplog.text, *capfd.readouterr()])
    assert "Jane" not in printed and "Doe" not in printed


def test_unusual_inputs_are_repaired_with_a_warning(tmp_path: Path) -> None:
    """A structure of one voxel, an absent one, floats, an additional axis, spaces and non-ASCII letters in the name."""
    write_cohort(tmp_path, count=2)
    (tmp_path / "small.toml").write_text(CONFIG)
    image = nib.load(tmp_path / "labels" / "1.nii.gz")
    values = np.asarray(image.dataobj)
    values[30, 30, 25] = 8
    path = tmp_path / "labels" / "Zoë  Müller-Åse 1.nii.gz"
    save_nifti(path, values[..., None], np.float32, image.affine)
    result = repair(tmp_path, "out")
    assert result.skipped == {}
    assert "by sform and qform are up to" in result.warnings["Zoë  Müller-Åse 1"][0]
    assert json.loads((tmp_path / "out" / "run" / "warnings.json").read_text()) == result.warnings
    repaired = nib.load(tmp_path / "out" / "labels" / path.name)
    assert repaired.shape == (*values.shape, 1) and repaired.get_data_dtype() == np.float32
    assert set(np.unique(repaired.dataobj)) <= {0, 2, 3, 4, 5, 8}


def test_copies_are_named_whatever_their_files(tmp_path: Path) -> None:
    """The first map once more, with another type and order of the axes; the second, mirrored by a lost header."""
    write_cohort(tmp_path, count=3)
    (tmp_path / "small.toml").write_text(CONFIG)
    first, second = (nib.load(tmp_path / "labels" / f"{n}.nii.gz") for n in (1, 2))
    turned = nib.as_closest_canonical(first)
    save_nifti(tmp_path / "labels" / "4.nii.gz", np.asarray(turned.dataobj), np.int16, turned.affine)
    save_nifti(tmp_path / "labels" / "5.nii.gz", np.asarray(second.dataobj)[::-1], affine=second.affine)
    warnings = repair(tmp_path, "out", stop_after="prepare").warnings
    assert warnings["4"][-1] == "the same label map as 1; remove all but one"
    assert warnings["2"][-1] == "the same label map as 5, which is mirrored or turned beside it; remove all but one"
    assert "the same" not in str(warnings.get("3"))


@pytest.mark.slow
def test_results_do_not_depend_on_the_order_of_files_or_the_number_of_workers(repaired: Path, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    for path in sorted((repaired / "labels").iterdir(), reverse=True):
        shutil.copy(path, tmp_path / "labels")
    shutil.copy(repaired / "small.toml", tmp_path)
    repair(tmp_path, "out", workers=2)
    assert results(tmp_path / "out") == results(repaired / "out")


@pytest.mark.slow
def test_a_run_on_a_full_file_system_continues_when_there_is_space(repaired: Path, cohort: Path) -> None:
    out = cohort / "out"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", out], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            repair(cohort, "out")
        subprocess.run(["mount", "-o", "remount,size=64m", out], check=True)
        repair(cohort, "out")
        assert results(out) == results(repaired / "out")
    finally:
        subprocess.run(["umount", "--lazy", out], check=True)
