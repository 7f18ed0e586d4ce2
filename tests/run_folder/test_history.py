"""Tests of the history of a run."""

from pathlib import Path

import pytest

from heartmend.errors import RunError
from heartmend.run_folder.folder import RunFolder
from heartmend.version import __version__


def test_every_start_is_appended(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.history() == []
    run.note_start(("heartmend", "run", "a"))
    run.note_start(["heartmend", "run", "b"])
    first, second = run.history()
    assert (first.command, second.command) == (("heartmend", "run", "a"), ("heartmend", "run", "b"))
    assert (
        first.heartmend == __version__ and first.started_at.endswith("+00:00") and first.started_at <= second.started_at
    )


def test_a_damaged_history_is_an_error_but_does_not_stop_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = RunFolder(tmp_path)
    run.note_start(("heartmend", "run", "a"))
    (tmp_path / "run" / "history.json").write_text("{")
    with pytest.raises(RunError):
        run.history()
    run.note_start(("heartmend", "run", "b"))
    assert [start.command[2] for start in run.history()] == ["b"]
    assert "history.json" in caplog.text and "starts again" in caplog.text
