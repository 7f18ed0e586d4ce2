"""Tests of the run folder: opening, locking, stamps and records."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import RunError
from heartmend.geometry.distance import DistanceMap
from heartmend.io.atomic import TEMPORARY_PREFIX, write_json
from heartmend.io.dataset import Case, discover_cohort
from heartmend.io.digests import compute_fingerprint, file_fingerprint
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.records import CaseFacts, PreparedCase
from heartmend.run_folder.stamp import content_digest
from heartmend.run_folder.versions import versions
from support.hearts import prepared, small_heart
from support.volumes import save_nifti, some_labels

OPEN_RUN = (
    "import sys, time; from heartmend.run_folder.folder import RunFolder; "
    "r = RunFolder.open(*sys.argv[1:]); print('locked', flush=True); "
)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    save_nifti(folder / "1.nii.gz", some_labels())
    return folder


@contextmanager
def lock_owner(code: str, *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that opens a run and continues with `code`; killed after the block."""
    command = [sys.executable, "-c", OPEN_RUN + code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


def test_a_run_is_started_and_continued(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "deep" / "out"
    with RunFolder.open(out, labels) as run:
        assert not run.is_started
        run.write_validation("fit", {"1": {"LV": 0.5}})
    with RunFolder.open(out, labels) as run:
        assert run.is_started
        assert run.validation("fit") == {"1": {"LV": 0.5}}
        assert run.result_path(Case("1", labels / "1.nii.gz")) == out / "labels" / "1.nii.gz"
        assert sorted(p.name for p in out.iterdir()) == ["labels", "run"]


@pytest.mark.parametrize("where", ["labels", "labels/out", "."])
def test_out_and_input_never_overlap(tmp_path: Path, labels: Path, where: str) -> None:
    with pytest.raises(RunError, match="input folder"):
        RunFolder.open(tmp_path / where, labels)
    with pytest.raises(RunError, match="input folder"):
        RunFolder.open(tmp_path / where, tmp_path.parent / "elsewhere", images_dir=labels)
    assert [p.name for p in labels.iterdir()] == ["1.nii.gz"]


def test_nor_through_a_link(tmp_path: Path, labels: Path) -> None:
    (tmp_path / "link").symlink_to(labels)
    with pytest.raises(RunError, match="input folder"):
        RunFolder.open(tmp_path / "link" / "out", labels)


def test_a_folder_that_is_no_run_is_not_changed(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"not a run of Heartmend \(it contains thesis.tex\)"):
        RunFolder.open(out, labels)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        RunFolder.open(tmp_path / "file", labels)


def test_a_run_killed_in_its_first_moment_is_started_again(tmp_path: Path, labels: Path) -> None:
    begun = tmp_path / "out" / "run"
    begun.mkdir(parents=True)
    (begun / "lock").touch()
    (begun / f"{TEMPORARY_PREFIX}12.json").write_text("{")
    with RunFolder.open(tmp_path / "out", labels) as run:
        assert not list(run.output.rglob(f"{TEMPORARY_PREFIX}*"))


def test_the_run_of_another_input_is_an_error(tmp_path: Path, labels: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    RunFolder.open(tmp_path / "out", labels).close()
    with pytest.raises(RunError, match=r"is the run of .*labels, not of .*other"):
        RunFolder.open(tmp_path / "out", other)
    RunFolder.open(tmp_path / "out", labels).close()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"format": "heartmend-run", "format_version": 99, "labels_dir": ""}']
)
def test_a_marker_that_cannot_be_read_is_an_error(tmp_path: Path, labels: Path, content: str) -> None:
    RunFolder.open(tmp_path / "out", labels).close()
    (tmp_path / "out" / "run" / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json"):
        RunFolder.open(tmp_path / "out", labels)


def test_a_run_can_be_opened_by_one_process_at_a_time(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    with lock_owner("time.sleep(3600)", out, labels) as first:
        with pytest.raises(RunError, match=rf"another process \(id {first.pid}\)"):
            RunFolder.open(out, labels)
        first.kill()
        first.wait()
        RunFolder.open(out, labels).close()


def test_an_orphaned_worker_does_not_keep_the_lock(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "import os; worker = os.fork(); print(worker, flush=True) if worker else None; time.sleep(3600)"
    with lock_owner(code, out, labels) as first:
        assert first.stdout is not None
        worker = int(first.stdout.readline())
        try:
            first.kill()
            first.wait()
            RunFolder.open(out, labels).close()
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_forked_worker_does_not_release_the_lock_of_its_parent(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "import os; w = os.fork(); w or os._exit(0); os.waitpid(w, 0); print('ended', flush=True); time.sleep(3600)"
    with lock_owner(code, out, labels) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "ended\n"
        with pytest.raises(RunError, match="another process"):
            RunFolder.open(out, labels)


def test_a_second_run_in_this_process_is_refused_too(tmp_path: Path, labels: Path) -> None:
    with RunFolder.open(tmp_path / "out", labels), pytest.raises(RunError, match=f"id {os.getpid()}"):
        RunFolder.open(tmp_path / "out", labels)


def test_a_stamp_is_valid_for_its_stage_case_and_fingerprint_only(tmp_path: Path, labels: Path) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        assert not run.is_done("prepare", "1", "abc")
        run.finish("prepare", "1", "abc")
        run.finish("fit", None, "xyz")
    with RunFolder.open(tmp_path / "out", labels) as run:
        assert run.is_done("prepare", "1", "abc")
        assert run.is_done("fit", None, "xyz")
        assert not run.is_done("prepare", "1", "abd")
        assert not run.is_done("prepare", "2", "abc")
        assert not run.is_done("refine", "1", "abc")
        assert not run.is_done("prepare", None, "abc")
        run.forget("prepare", "1")
        run.forget("prepare", "1")
        assert not run.is_done("prepare", "1", "abc")


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "{}"])
def test_a_damaged_stamp_is_ignored(tmp_path: Path, labels: Path, content: str) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        run.finish("prepare", "1", "abc")
        (tmp_path / "out" / "run" / "prepare" / "done" / "1.json").write_text(content)
        assert not run.is_done("prepare", "1", "abc")


@pytest.mark.parametrize("id", ["../1", "..", "a/b", "a\\b", "", "."])
def test_no_id_leads_out_of_the_run(tmp_path: Path, labels: Path, id: str) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        if id not in ("", ".", ".."):
            with pytest.raises(RunError, match="cannot be the name"):
                run.corrected_path(id)
            with pytest.raises(RunError, match="cannot be the name"):
                run.finish("fit", id, "abc")
        with pytest.raises(RunError, match="cannot be the name"):
            run.result_path(Case("1", Path("..")))


def test_the_records_of_a_cohort_contain_no_header_field(tmp_path: Path, labels: Path) -> None:
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    with RunFolder.open(tmp_path / "out", labels) as run:
        run.write_cohort(cohort)
        run.write_settings({"resolution": 128})
        run.write_versions()
        run.write_anatomy(cohort.anatomy)
        table = json.loads((tmp_path / "out" / "run" / "cohort.json").read_text())
        assert table["cases"] == [{"id": "1", "labels": "1.nii.gz", "image": None}]
        assert run.settings() == {"resolution": 128}
        assert run.versions() == versions()
        assert run.cohort() == cohort
        assert b"Jane" not in b"".join(p.read_bytes() for p in run.output.rglob("*") if p.is_file())


def test_a_prepared_case_is_read_as_it_was_written(tmp_path: Path, labels: Path) -> None:
    change = Change("holes", "LV", "filled", 3, 24.0, ((0.0, 0.0, 0.0), (1.0, 2.0, 3.0)), "review", "note")
    case = prepared("1", small_heart(1))
    facts = CaseFacts(
        "1", case.roi, (SliceStaircase(2, 3, 1),), (change,), {"Coronary": 1.2}, {"LV": 0.01}, ("unusual",)
    )
    with RunFolder.open(tmp_path / "out", labels) as run:
        run.write_prepared(PreparedCase(facts, case.cube, case.cleaned))
        found = run.prepared("1")
        assert found.facts.to_dict() == facts.to_dict()
        assert run.roi("1") == case.roi
        assert (found.cube == case.cube).all() and (found.cleaned == case.cleaned).all()
        assert run.prepared_ids() == ["1"]
        with pytest.raises(RunError, match=r"2\.npz: is missing"):
            run.prepared("2")
        assert found.facts.slice_staircase_mm == pytest.approx(3 * case.roi.grid.spacing_mm[2])


def test_a_damaged_record_is_an_error_and_never_misread(tmp_path: Path, labels: Path) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        _, path = run.write_prepared(prepared("1", small_heart(1)))
        table = json.loads(path.read_text())
        for key in ("roi", "changes", "vessel_radii_mm", "warnings"):
            path.write_text(json.dumps({name: value for name, value in table.items() if name != key}))
            with pytest.raises(RunError, match="its record is damaged"):
                run.facts("1")


def test_distance_maps_and_change_logs_are_read_as_they_were_written(tmp_path: Path, labels: Path) -> None:
    steps = np.arange(-4, 4, dtype=np.int8).reshape(2, 2, 2)
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    case, log = cohort["1"], ChangeLog("1", verdicts=(Verdict("LV", False, 1.5, 9.0, "too large"),))
    with RunFolder.open(tmp_path / "out", labels) as run:
        assert run.distances("1") == {}
        with pytest.raises(RunError, match="was not repaired"):
            run.changes("1")
        run.write_refined("1", {"LV": DistanceMap(steps)}, {"LV": None})
        assert (run.distances("1")["LV"].steps == steps).all()
        assert run.label_margins_mm("1") == {"LV": None}
        original = cohort.read_labels(case)
        assert not run.has_fused(case)
        run.write_fused(cohort, case, original.labels, log)
        assert run.has_fused(case) and run.fused_ids() == ["1"]
        assert run.changes("1") == log
        assert (run.repaired(cohort, case).labels == original.labels).all()


def test_a_fingerprint_changes_with_each_part_and_with_the_content_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 100)
    first = compute_fingerprint({"b": 1, "a": 2}, path)
    assert first == compute_fingerprint({"a": 2, "b": 1}, path)
    os.utime(path, (0, 0))
    assert first == compute_fingerprint({"a": 2, "b": 1}, path.rename(tmp_path / "b.bin"))
    moved = tmp_path / "b.bin"
    assert first != compute_fingerprint({"a": 2, "b": 2}, moved)
    assert compute_fingerprint("ab", "c") != compute_fingerprint("a", "bc")
    moved.write_bytes(b"x" * 99 + b"y")
    assert first != compute_fingerprint({"a": 2, "b": 1}, moved)


def test_large_files_differ_by_their_middle(tmp_path: Path) -> None:
    """Of a gzipped file only the ends are read: the checksum at its tail speaks for the rest."""
    data = bytearray(os.urandom(400_000))
    path = tmp_path / "a"
    prints = set()
    for middle in range(2):
        data[200_000] = middle
        path.write_bytes(data)
        prints.add(file_fingerprint(path))
        path.write_bytes(gzip.compress(data, 0, mtime=0))
        prints.add(file_fingerprint(path))
    assert len(prints) == 4


def test_a_killed_writer_leaves_a_complete_file(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "n = 0\nwhile True: n += 1; r.write_warnings({'1': [str(n)] * 9999})"
    for pause in (0.05, 0.11, 0.2):
        warnings = out / "run" / "warnings.json"
        warnings.unlink(missing_ok=True)
        with lock_owner(f"exec({code!r})", out, labels):
            deadline = time.monotonic() + 120
            while not warnings.exists():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            # Three moments in the middle of writing, whichever these are.
            time.sleep(pause)
        with RunFolder.open(out, labels) as run:
            assert not list(out.rglob(f"{TEMPORARY_PREFIX}*"))
            assert len(set(run.warnings().get("1", ["0"]))) == 1


def test_check_raises_what_open_would_and_writes_nothing(tmp_path: Path, labels: Path) -> None:
    RunFolder.check(tmp_path / "out", labels)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunError, match="input folder"):
        RunFolder.check(labels / "out", labels)
    with RunFolder.open(tmp_path / "out", labels):
        with pytest.raises(RunError, match="another process"):
            RunFolder.check(tmp_path / "out", labels)
        with pytest.raises(RunError, match="is the run of"):
            RunFolder.check(tmp_path / "out", tmp_path / "other")
    RunFolder.check(tmp_path / "out", labels)


def test_a_stage_is_not_done_where_a_file_of_it_is_missing_or_changed(tmp_path: Path, labels: Path) -> None:
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    case = cohort["1"]
    with RunFolder.open(tmp_path / "out", labels) as run:
        changes, result = run.write_fused(cohort, case, cohort.read_labels(case).labels, ChangeLog("1"))
        run.finish("fuse", "1", "abc", [changes, result])
        assert run.is_done("fuse", "1", "abc")
        # Corrected by hand: it stays once it is registered.
        result.write_bytes(b"corrected")
        assert not run.is_done("fuse", "1", "abc")
        run.register_correction("1", result)
        assert run.is_done("fuse", "1", "abc")
        content = changes.read_bytes()
        # One changed digit, the same size.
        for damaged in (content[:-1], content.replace(b"1", b"2", 1)):
            changes.write_bytes(damaged)
            assert not run.is_done("fuse", "1", "abc")
        changes.write_bytes(content)
        assert run.is_done("fuse", "1", "abc")
        result.unlink()
        assert not run.is_done("fuse", "1", "abc")


def test_the_digest_of_a_stage_changes_with_what_it_wrote(tmp_path: Path, labels: Path) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        assert run.digest("prepare", "1") == ""
        digests = set()
        for seed in (1, 2, 1):
            run.finish("prepare", "1", "abc", run.write_prepared(prepared("1", small_heart(seed))))
            digests.add(run.digest("prepare", "1"))
        assert len(digests) == 2


def test_results_of_removed_cases_are_withdrawn(tmp_path: Path, labels: Path) -> None:
    with RunFolder.open(tmp_path / "out", labels) as run:
        for n in ("1", "2"):
            result = run.labels / f"{n}.nii.gz"
            result.write_bytes(n.encode())
            run.finish("fuse", n, "abc", [result])
        (run.labels / "notes.txt").touch()
        root = tmp_path / "out" / "run"
        assert run.withdraw(["1"]) == [root / "withdrawn" / "2.nii.gz"]
        assert sorted(p.name for p in run.labels.iterdir()) == ["1.nii.gz", "notes.txt"]
        assert run.is_done("fuse", "1", "abc") and not run.is_done("fuse", "2", "abc")
        # A stamp that was made up moves nothing that is not a result.
        files = {"labels/../run/run.json": "x", "run/run.json": "x"}
        write_json(root / "fuse" / "done" / "3.json", {"fingerprint": "abc", "files": files})
        assert run.withdraw(["1"]) == []
        assert (root / "run.json").is_file()


def test_a_run_of_another_version_is_an_error(tmp_path: Path, labels: Path) -> None:
    RunFolder.open(tmp_path / "out", labels).close()
    marker = tmp_path / "out" / "run" / "run.json"
    table = json.loads(marker.read_text())
    marker.write_text(json.dumps({**table, "format_version": 1}))
    for opened in (lambda: RunFolder.at(tmp_path / "out"), lambda: RunFolder.open(tmp_path / "out", labels)):
        with pytest.raises(RunError, match="has format heartmend-run 1, this version reads heartmend-run 2"):
            opened()


def test_a_link_to_a_folder_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1").symlink_to("/", target_is_directory=True)
    monkeypatch.setattr(os, "walk", lambda *_: pytest.fail("the folder behind the link was walked"))
    with pytest.raises(RunError, match="1: is a link"):
        content_digest(tmp_path / "1")
