"""The log file of a run."""

import logging
import re
from pathlib import Path

import pytest

from heartmend.cli.progress import TerminalProgress
from heartmend.cli.run_log import RunLog

log = logging.getLogger("heartmend.some.module")
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING|ERROR)\s+(.*)")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path


def messages(out: Path) -> list[tuple[str, ...]]:
    lines = (out / "run" / "heartmend.log").read_text().splitlines()
    return [match.groups() for line in lines if (match := LINE.fullmatch(line))]


def test_nothing_is_written_before_the_run_folder_is_locked(tmp_path: Path) -> None:
    with RunLog(tmp_path / "out"):
        log.warning("before")
    assert not (tmp_path / "out").exists()


def test_earlier_records_are_written_when_the_first_task_starts(out: Path) -> None:
    with RunLog(out) as run_log, TerminalProgress(run_log) as progress:
        log.info("before")
        log.debug("not this")
        progress.start("prepare", 2)
        progress.advance(2, "case b")
        log.warning("a name\nof two lines")
    found = messages(out)
    assert found[0][1].startswith("heartmend ") and found[1] == ("INFO", "before")
    assert [text.split()[:2] for _, text in found[2:4]] == [["prepare", "0/2"], ["prepare", "2/2"]]
    assert found[4][0] == "WARNING" and "of two lines" in found[4][1]
    assert len(found) == 5


def test_the_file_is_appended_to_and_the_end_of_a_run_is_noted(out: Path) -> None:
    for error in (KeyboardInterrupt(), ValueError("no"), None):
        try:
            with RunLog(out) as run_log:
                run_log.open()
                if error is not None:
                    raise error
        except (KeyboardInterrupt, ValueError):
            pass
    levels = [(level, text.partition(" ")[0]) for level, text in messages(out)]
    assert levels == [
        ("INFO", "heartmend"), ("WARNING", "interrupted"), ("INFO", "heartmend"), ("ERROR", "ValueError:"),
        ("INFO", "heartmend"),
    ]  # fmt: skip


def test_a_traceback_is_written_to_the_file(out: Path) -> None:
    with RunLog(out) as run_log:
        run_log.open()
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            log.error("case 1: %s", error, exc_info=error)
    assert "Traceback" in (out / "run" / "heartmend.log").read_text()


def test_levels_and_handlers_are_restored(out: Path) -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger("heartmend").level)
    with RunLog(out):
        assert logging.getLogger("heartmend").level <= logging.INFO
    assert (logging.getLogger().handlers, logging.getLogger("heartmend").level) == before
