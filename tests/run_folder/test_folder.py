import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX, write_json
from heartmend.io.dataset import discover_cohort
from heartmend.io.digests import file_fingerprint, fingerprint
from heartmend.run_folder.folder import Run
from heartmend.run_folder.versions import versions
from support.volumes import save_nifti, some_labels

HOLD = "import sys, time; from heartmend.io import Run; r = Run.open(*sys.argv[1:]); print('held', flush=True); "


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    save_nifti(folder / "1.nii.gz", some_labels())
    return folder


def hold(code: str, *arguments: Path) -> subprocess.Popen[str]:
    """Another process that opens a run and goes on with `code`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD + code, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_run_is_begun_and_gone_on_with(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "deep" / "out"
    with Run.open(out, labels) as run:
        write_json(run.case_path("fit", "1", ".json"), {})
    with Run.open(out, labels) as run:
        assert run.case_path("fit", "1", ".json").exists()
        assert run.result_path(labels / "1.nii.gz") == out / "labels" / "1.nii.gz"
        assert sorted(p.name for p in out.iterdir()) == ["labels", "run"]


@pytest.mark.parametrize("where", ["labels", "labels/out", "."])
def test_out_and_input_never_overlap(tmp_path: Path, labels: Path, where: str) -> None:
    with pytest.raises(RunError, match="input folder"):
        Run.open(tmp_path / where, labels)
    with pytest.raises(RunError, match="input folder"):
        Run.open(tmp_path / where, tmp_path.parent / "elsewhere", images_dir=labels)
    assert [p.name for p in labels.iterdir()] == ["1.nii.gz"]


def test_nor_through_a_link(tmp_path: Path, labels: Path) -> None:
    (tmp_path / "link").symlink_to(labels)
    with pytest.raises(RunError, match="input folder"):
        Run.open(tmp_path / "link" / "out", labels)


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"not a run of Heartmend \(it holds thesis.tex\)"):
        Run.open(out, labels)
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file"):
        Run.open(tmp_path / "file", labels)


def test_a_run_killed_in_its_first_moment_is_begun_again(tmp_path: Path, labels: Path) -> None:
    begun = tmp_path / "out" / "run"
    begun.mkdir(parents=True)
    (begun / "lock").touch()
    (begun / f"{TEMPORARY_PREFIX}12.json").write_text("{")
    with Run.open(tmp_path / "out", labels) as run:
        assert not list(run.out.rglob(f"{TEMPORARY_PREFIX}*"))


def test_the_run_of_another_input_is_refused(tmp_path: Path, labels: Path) -> None:
    other = tmp_path / "unknown_labels"
    other.mkdir()
    Run.open(tmp_path / "out", labels).close()
    with pytest.raises(RunError, match=r"is the run of .*labels, not of .*other"):
        Run.open(tmp_path / "out", other)
    Run.open(tmp_path / "out", labels).close()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"format": "heartmend-run", "format_version": 99, "labels_dir": ""}']
)
def test_a_mark_that_cannot_be_read_is_told(tmp_path: Path, labels: Path, content: str) -> None:
    Run.open(tmp_path / "out", labels).close()
    (tmp_path / "out" / "run" / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"run\.json"):
        Run.open(tmp_path / "out", labels)


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    first = hold("time.sleep(60)", out, labels)
    with pytest.raises(RunError, match=rf"another process \(id {first.pid}\)"):
        Run.open(out, labels)
    first.send_signal(signal.SIGKILL)
    first.wait()
    Run.open(out, labels).close()


def test_an_orphaned_worker_does_not_keep_the_lock(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "import os; worker = os.fork(); print(worker, flush=True) if worker else None; time.sleep(60)"
    first = hold(code, out, labels)
    assert first.stdout is not None
    worker = int(first.stdout.readline())
    try:
        first.kill()
        first.wait()
        Run.open(out, labels).close()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_forked_worker_does_not_let_go_for_its_parent(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "import os; w = os.fork(); w or os._exit(0); os.waitpid(w, 0); print('gone', flush=True); time.sleep(60)"
    first = hold(code, out, labels)
    assert first.stdout is not None
    first.stdout.readline()
    with pytest.raises(RunError, match="another process"):
        Run.open(out, labels)
    first.kill()
    first.wait()


def test_a_second_run_in_this_process_is_refused_too(tmp_path: Path, labels: Path) -> None:
    with Run.open(tmp_path / "out", labels), pytest.raises(RunError, match=f"id {os.getpid()}"):
        Run.open(tmp_path / "out", labels)


def test_a_stamp_holds_for_its_verb_case_and_fingerprint_only(tmp_path: Path, labels: Path) -> None:
    with Run.open(tmp_path / "out", labels) as run:
        assert not run.is_done("prepare", "1", "abc")
        run.mark_done("prepare", "1", "abc", seconds=1.5)
        run.mark_done("fit", None, "xyz")
    with Run.open(tmp_path / "out", labels) as run:
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
def test_a_stamp_that_cannot_be_read_is_none(tmp_path: Path, labels: Path, content: str) -> None:
    with Run.open(tmp_path / "out", labels) as run:
        run.mark_done("prepare", "1", "abc")
        (run.root / "prepare" / "done" / "1.json").write_text(content)
        assert not run.is_done("prepare", "1", "abc")


@pytest.mark.parametrize("id", ["../1", "..", "a/b", "a\\b", "", "."])
def test_no_id_leads_out_of_the_run(tmp_path: Path, labels: Path, id: str) -> None:
    with Run.open(tmp_path / "out", labels) as run:
        with pytest.raises(RunError, match="cannot be the name"):
            run.case_path("fit", id, "")
        if id not in ("", ".", ".."):
            with pytest.raises(RunError, match="cannot be the name"):
                run.mark_done("fit", id, "abc")


def test_what_a_run_keeps_of_its_cohort_holds_no_header_field(tmp_path: Path, labels: Path) -> None:
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    with Run.open(tmp_path / "out", labels) as run:
        run.write_cohort(cohort)
        run.write_config({"resolution": 128})
        run.write_versions()
        assert json.loads((run.root / "cohort.json").read_text())["cases"] == [
            {"id": "1", "labels": "1.nii.gz", "image": None}
        ]
        assert json.loads((run.root / "config.json").read_text()) == {"resolution": 128}
        assert json.loads((run.root / "versions.json").read_text()) == versions()
        assert b"Jane" not in b"".join(p.read_bytes() for p in run.out.rglob("*") if p.is_file())


def test_a_fingerprint_changes_with_each_part_and_with_the_content_of_files(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 100)
    first = fingerprint({"b": 1, "a": 2}, path)
    assert first == fingerprint({"a": 2, "b": 1}, path)
    os.utime(path, (0, 0))
    assert first == fingerprint({"a": 2, "b": 1}, path.rename(tmp_path / "b.bin"))
    moved = tmp_path / "b.bin"
    assert first != fingerprint({"a": 2, "b": 2}, moved)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    moved.write_bytes(b"x" * 99 + b"y")
    assert first != fingerprint({"a": 2, "b": 1}, moved)


def test_a_large_file_is_told_apart_by_its_middle(tmp_path: Path) -> None:
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


def test_a_killed_writer_leaves_the_old_file_whole(tmp_path: Path, labels: Path) -> None:
    out = tmp_path / "out"
    code = "from heartmend.io import write_json\nn = 0\nwhile True: n += 1; write_json(r.root / 'x.json', [n] * 9999)"
    for pause in (0.05, 0.11, 0.2):
        process = hold(f"exec({code!r})", out, labels)
        time.sleep(pause)
        process.kill()
        process.wait()
        with Run.open(out, labels) as run:
            assert not list(out.rglob(f"{TEMPORARY_PREFIX}*"))
            written = run.root / "x.json"
            assert not written.exists() or len(set(json.loads(written.read_text()))) == 1


def test_check_says_what_open_would_and_makes_nothing(tmp_path: Path, labels: Path) -> None:
    Run.check(tmp_path / "out", labels)
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunError, match="input folder"):
        Run.check(labels / "out", labels)
    with Run.open(tmp_path / "out", labels):
        with pytest.raises(RunError, match="another process"):
            Run.check(tmp_path / "out", labels)
        with pytest.raises(RunError, match="is the run of"):
            Run.check(tmp_path / "out", tmp_path / "unknown_labels")
    Run.check(tmp_path / "out", labels)


def test_what_is_done_is_not_when_a_file_of_it_is_gone_or_cut(tmp_path: Path, labels: Path) -> None:
    with Run.open(tmp_path / "out", labels) as run:
        path, result = run.case_path("fuse", "1", ".json"), run.result_path(labels / "1.nii.gz")
        write_json(path, [1, 2, 3])
        result.write_bytes(b"mended")
        run.mark_done("fuse", "1", "abc", [path, result])
        assert run.is_done("fuse", "1", "abc")
        # Corrected by hand: it stays.
        result.write_bytes(b"corrected")
        assert run.is_done("fuse", "1", "abc")
        path.write_bytes(path.read_bytes()[:-1])
        assert not run.is_done("fuse", "1", "abc")
        write_json(path, [1, 2, 3])
        result.unlink()
        assert not run.is_done("fuse", "1", "abc")


def test_results_of_cases_that_are_gone_are_set_aside(tmp_path: Path, labels: Path) -> None:
    with Run.open(tmp_path / "out", labels) as run:
        for n in ("1", "2"):
            result = run.labels / f"{n}.nii.gz"
            result.write_bytes(n.encode())
            run.mark_done("fuse", n, "abc", [result])
        (run.labels / "notes.txt").touch()
        assert run.withdraw("fuse", ["1"]) == [run.root / "withdrawn" / "2.nii.gz"]
        assert sorted(p.name for p in run.labels.iterdir()) == ["1.nii.gz", "notes.txt"]
        assert run.is_done("fuse", "1", "abc") and not run.is_done("fuse", "2", "abc")
        # A stamp that someone made up moves nothing that is not a result.
        write_json(run.root / "fuse" / "done" / "3.json", {"files": {"labels/../run/run.json": 1, "run/run.json": 1}})
        assert run.withdraw("fuse", ["1"]) == []
        assert (run.root / "run.json").is_file()
