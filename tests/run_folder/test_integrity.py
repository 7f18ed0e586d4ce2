"""Tests of damaged files: every kind of file of a small run, damaged in every way, then the same command again."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from heartmend.compute.progress import NoProgress, Progress
from heartmend.errors import DamagedError, HeartmendError, RunError
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.review.case_cache import make_ready, prepare_surfaces
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from support.cohorts import write_cohort

TIME_LIMIT_S = 300
# What a run writes for people alone, or anew each time, or with the time: nothing reads it for a result.
UNCHECKED = (
    "run/heartmend.log", "run/lock", "run/fit/tensorboard", "run/withdrawn", "run/history.json",
    "run/records/done/history.json",
)  # fmt: skip


def truncate(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x11
    path.write_bytes(content)


def change_a_digit(path: Path, other: Path) -> None:
    """The last digit of a text, or the last byte of a binary file that looks like one; the size stays."""
    content = bytearray(path.read_bytes())
    digits = [at for at, byte in enumerate(content) if chr(byte).isascii() and chr(byte).isdigit()]
    at = digits[-1] if digits else len(content) - 1
    content[at] = ord("1") if content[at] != ord("1") else ord("2")
    path.write_bytes(content)


def swap(path: Path, other: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def link(path: Path, other: Path) -> None:
    elsewhere = path.parent.parent.parent / "elsewhere"
    elsewhere.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(elsewhere)


def pipe(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = (truncate, empty, flip_a_byte, change_a_digit, swap, link, pipe)
Damage = Callable[[Path, Path], None]


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """A process that waits at a pipe is ended by an error."""

    def expired(*_: object) -> None:
        raise TimeoutError(f"more than {TIME_LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TIME_LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort that was repaired into out/; not to be changed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cohort(folder)
    repair(folder, folder / "out")
    return folder


@pytest.fixture
def out(undisturbed: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    shutil.copytree(undisturbed / "out", tmp_path / "out")
    return tmp_path / "out"


def repair(
    cohort: Path, out: Path, progress: Progress | None = None, stop_after: Literal["fuse", "unify"] = "unify"
) -> None:
    request = Request(cohort / "labels", out, device="cpu", workers=1, stop_after=stop_after)
    assert run(request, load_config("mend", cohort / "small.toml"), progress).skipped == {}


def results(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "labels").iterdir()}


def checked_files(out: Path) -> list[str]:
    """One file of every kind, of the first case where it belongs to one."""
    names = [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]
    names = [name for name in names if not name.startswith(UNCHECKED)]
    return [name for name in names if not Path(name).name.startswith(("2.", "3."))]


def other_file(path: Path) -> Path:
    """The file of another case, or any other file of the folder."""
    if path.name.startswith("1."):
        return path.with_name(path.name.replace("1.", "2.", 1))
    beside = [p for p in sorted(path.parent.iterdir()) if p != path and p.is_file()]
    return next((p for p in beside if p.suffix == path.suffix), beside[0])


# In the groups of the fits, each file is a fit of its own.
GROUPS: list[Any] = ["labels", "run", "records", "prepare", "refine", "fuse"]
GROUPS += [pytest.param(name, marks=pytest.mark.slow) for name in ("fit", "unify")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("group", GROUPS)
def test_damage_to_any_file_is_repaired_or_an_error(
    undisturbed: Path, out: Path, damage: Damage, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = results(undisturbed / "out")
    names = [name for name in checked_files(out) if group_of(name) == group]
    assert names
    for name in names:
        check_one(undisturbed, out, name, damage, expected, caplog)


def check_one(
    undisturbed: Path, out: Path, name: str, damage: Damage, expected: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    shutil.rmtree(out)
    shutil.copytree(undisturbed / "out", out)
    caplog.clear()
    path = out / name
    damage(path, other_file(path))
    try:
        repair(undisturbed, out)
    except HeartmendError as error:
        # The marker of a run that names another input is that of another run.
        named = path.name in str(error) or (path.name == "run.json" and "is the run of" in str(error))
        assert named, f"{name}: {error}"  # noqa: PT017  (an error is one of two results)
        return
    assert results(out) == expected, name
    was_told = any(path.name in record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    original = undisturbed / "out" / name
    assert was_told or (path.is_file() and not path.is_symlink() and same(path, original)), name


def same(path: Path, original: Path) -> bool:
    # The log of a fit contains times, and its stamp the digest of the log.
    if path.parent.name == "fit" and path.name in ("log.csv", "done.json"):
        return path.stat().st_size == pytest.approx(original.stat().st_size, rel=0.1)
    return path.read_bytes() == original.read_bytes()


def group_of(name: str) -> str:
    return name.split("/")[1] if name.startswith("run/") and name.count("/") > 1 else name.split("/")[0]


class Intruder(NoProgress):
    """Does something once when a task has reported so many steps."""

    def __init__(self, task: str, step: int, act: Callable[[], None]) -> None:
        self._wanted, self._act, self._now = (task, step), act, ""
        self.acted = False

    def start(self, task: str, total: int) -> None:
        self._now = task
        self.advance(0)

    def advance(self, done: int, note: str = "") -> None:
        if (self._now, done) == self._wanted and not self.acted:
            self.acted = True
            self._act()


def flip_many_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 64):
        content[at] ^= 0x21
    path.write_bytes(content)


def test_a_damaged_model_is_fitted_again(undisturbed: Path, out: Path) -> None:
    model = out / "run" / "fit" / "model.safetensors"
    flip_many_bytes(model)
    with pytest.raises(DamagedError, match=r"fit/model\.safetensors: is damaged: .* repeat `heartmend fit`"):
        RunFolder.at(out).fitted()
    repair(undisturbed, out)
    assert results(out) == results(undisturbed / "out")
    assert same(model, undisturbed / "out" / "run" / "fit" / "model.safetensors")


@pytest.mark.parametrize(
    ("task", "name"), [("refine", "prepare/1.npz"), ("fuse", "refine/2.npz"), ("fuse", "prepare/1.json")]
)
def test_a_file_that_is_damaged_while_the_stages_work_is_made_again(
    undisturbed: Path, out: Path, task: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(out / "run" / "refine")
    shutil.rmtree(out / "run" / "fuse")
    intruder = Intruder(task, 0, lambda: change_a_digit(out / "run" / name, out))
    repair(undisturbed, out, intruder)
    assert intruder.acted
    assert results(out) == results(undisturbed / "out")
    assert f"{name}: is damaged" in caplog.text and "started again" in caplog.text


@pytest.mark.parametrize(
    "damage", [flip_a_byte, *(pytest.param(one, marks=pytest.mark.slow) for one in (truncate, empty, link, pipe))]
)
def test_a_damaged_checkpoint_starts_the_fit_again(
    undisturbed: Path, tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "new" / "out"

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(undisturbed, out, Intruder("fit", 30, interrupt), "fuse")
    checkpoint = out / "run" / "fit" / "last.safetensors"
    damage(checkpoint, checkpoint)
    repair(undisturbed, out, stop_after="fuse")
    assert results(out) == results(undisturbed / "out")
    assert ("the checkpoint is damaged" in caplog.text) == (damage not in (link, pipe))


def test_an_unknown_result_is_moved_aside_with_a_warning(
    undisturbed: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = results(undisturbed / "out")
    for number in (1, 2):
        (out / "labels" / "1.nii.gz").write_bytes(f"by hand {number}".encode())
        with pytest.raises(DamagedError, match="heartmend import"):
            RunFolder.at(out).check_intact("fuse", "1", out / "labels" / "1.nii.gz")
        caplog.clear()
        repair(undisturbed, out)
        assert "1.nii.gz was damaged or changed" in caplog.text and "heartmend import" in caplog.text
        assert results(out) == expected
    moved = out / "run" / "withdrawn"
    assert [(moved / name).read_bytes() for name in ("1.nii.gz", "2-1.nii.gz")] == [b"by hand 1", b"by hand 2"]


def test_a_result_without_a_stamp_is_compared_with_the_new_one(
    undisturbed: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for stamp in (out / "run" / "fuse" / "done").iterdir():
        stamp.unlink()
    (out / "labels" / "2.nii.gz").write_bytes(b"by hand")
    repair(undisturbed, out)
    assert results(out) == results(undisturbed / "out")
    assert [path.name for path in (out / "run" / "withdrawn").iterdir()] == ["2.nii.gz"]
    assert "2.nii.gz was damaged or changed" in caplog.text and "1.nii.gz" not in caplog.text


def test_a_registered_correction_stays(undisturbed: Path, out: Path) -> None:
    result = out / "labels" / "1.nii.gz"
    result.write_bytes((out / "labels" / "2.nii.gz").read_bytes())
    with RunFolder.open(out, undisturbed / "labels") as run_folder:
        mark = run_folder.stamped("fuse", "1")
        assert not run_folder.is_done("fuse", "1", mark)
        run_folder.register_correction("1", result)
        assert run_folder.is_done("fuse", "1", mark)
        run_folder.check_intact("fuse", "1", result)
        # It is registered for this case alone.
        (out / "labels" / "3.nii.gz").write_bytes(result.read_bytes())
        assert not run_folder.is_done("fuse", "3", run_folder.stamped("fuse", "3"))


READERS: dict[str, Callable[[RunFolder], object]] = {
    "prepare/1.npz": lambda r: r.prepared("1"),
    "prepare/1.json": lambda r: r.facts("1"),
    "refine/1.npz": lambda r: r.distances("1"),
    "refine/1.json": lambda r: r.label_margins_mm("1"),
    "fuse/1.json": lambda r: r.changes("1"),
    "fit/model.safetensors": lambda r: r.fitted(),
    "fit/validation.json": lambda r: r.validation("fit"),
    "fit/log.csv": lambda r: r.training_log(),
    "unify/model.zip": lambda r: r.model(),
    "unify/validation.json": lambda r: r.validation("unify"),
    "anatomy.json": lambda r: r.anatomy(),
    "cohort.json": lambda r: r.cohort(),
    "settings.json": lambda r: r.settings(),
    "versions.json": lambda r: r.versions(),
    "skipped.json": lambda r: r.skipped(),
    "warnings.json": lambda r: r.warnings(),
    "run.json": lambda r: r.labels_dir(),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_names_the_damaged_file_and_what_makes_it_again(out: Path, name: str) -> None:
    path, run_folder = out / "run" / name, RunFolder.at(out)
    READERS[name](run_folder)
    content = path.read_bytes()
    for damage in (truncate, empty, flip_a_byte, change_a_digit):
        damage(path, path)
        with pytest.raises(DamagedError, match=rf"{path.name}: is damaged.* repeat `heartmend (\w+)`"):
            READERS[name](run_folder)
        path.write_bytes(content)
    for damage in (link, pipe):
        damage(path, path)
        with pytest.raises(RunError, match=rf"{path.name}: is a (link|pipe), not a file"):
            READERS[name](run_folder)
        path.unlink()
        path.write_bytes(content)
    READERS[name](run_folder)


def test_a_file_is_digested_once_as_long_as_it_does_not_change(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from heartmend.run_folder import stamp

    path, count = out / "run" / "prepare" / "1.npz", 0
    os.utime(path, (0, 0))
    monkeypatch.setattr(stamp, "_SETTLED_NS", -1)
    digest = stamp.content_digest(path)

    def no_digest(*_: object) -> None:
        nonlocal count
        count += 1
        raise OSError("digested again")

    monkeypatch.setattr(stamp.hashlib, "file_digest", no_digest)
    assert stamp.content_digest(path) == digest
    path.write_bytes(path.read_bytes())
    with pytest.raises(OSError, match="digested again"):
        stamp.content_digest(path)
    assert count == 1


def test_a_link_to_a_folder_is_an_error(undisturbed: Path, out: Path) -> None:
    for name in ("prepare", "refine", "fuse", "fit", "unify", "records"):
        folder = out / "run" / name
        shutil.move(folder, out.parent / "moved")
        folder.symlink_to(out.parent / "moved")
        with pytest.raises(RunError, match="is a link"):
            repair(undisturbed, out)
        folder.unlink()
        shutil.move(out.parent / "moved", folder)
    repair(undisturbed, out)


def test_damaged_review_files_are_made_again(undisturbed: Path, out: Path) -> None:
    finished = FinishedRun.open(out)

    def make_all() -> None:
        assert make_ready(finished, workers=1) == {}
        for case in finished:
            prepare_surfaces(finished, case)

    make_all()
    run_folder = finished.run
    readers: dict[str, Callable[[], object]] = {
        "1.maps.gz": lambda: run_folder.read_review_volume("1", "maps"),
        "1.surfaces.gz": lambda: run_folder.read_review_volume("1", "surfaces"),
        "1.json": lambda: run_folder.review_summary("1"),
    }
    for name, read in readers.items():
        path = out / "run" / "review" / name
        content = path.read_bytes()
        for damage in DAMAGES:
            damage(path, path.with_name(f"2{name[1:]}"))
            with pytest.raises(RunError, match=name):
                read()
            make_all()
            assert path.read_bytes() == content
        path.unlink()
        path.symlink_to("/etc/passwd")
        with pytest.raises(RunError, match="is a link"):
            read()
        make_all()


def test_a_damaged_database_of_decisions_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run" / "review" / "decisions.sqlite"
    requests = [DecisionRequest("1", name, "accept", "", "stamp", 0) for name in ("LV", "RV", "LA")]
    Decisions(path).write(requests, "Jane")
    content = path.read_bytes()
    at = content.index(b"accept")
    for damaged in (
        content[: len(content) // 2], content[:at] + b"bccept" + content[at + 6 :], b"SQLite format 3\0" + b"\1" * 5000,
    ):  # fmt: skip
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"decisions\.sqlite"):
            Decisions(path)
    for damage in (link, pipe):
        path.write_bytes(content)
        damage(path, path)
        with pytest.raises(RunError, match=r"is a (link|pipe)"):
            Decisions(path)
        path.unlink()
    path.write_bytes(content)
    assert len(Decisions(path).current()) == 3


def test_the_log_of_a_run_is_never_a_link_or_a_pipe(out: Path) -> None:
    path = out / "run" / "heartmend.log"
    path.unlink(missing_ok=True)
    with RunFolder.at(out).open_log() as file:
        file.write("a line\n")
    assert path.read_text() == "a line\n"
    for damage in (link, pipe):
        damage(path, path)
        with pytest.raises(RunError, match=r"is a (link|pipe)"):
            RunFolder.at(out).open_log()
        path.unlink()
        path.write_text("")
