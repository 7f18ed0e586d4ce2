"""Messages, results and errors in the terminal."""

import errno
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import typer

from heartmend.cli import terminal
from heartmend.cli.terminal import (
    FAILED,
    INTERRUPTED,
    configure_logging,
    print_json,
    print_message,
    print_skipped,
    print_summary,
    report_errors,
    set_verbosity,
)
from heartmend.errors import BadInputError


@pytest.fixture(autouse=True)
def normal_verbosity() -> object:
    set_verbosity(logging.WARNING)
    yield
    set_verbosity(logging.WARNING)


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit, report_errors():
        raise BadInputError("x.nii.gz: cut off\nand [red]more[/red]")
    out, err = capsys.readouterr()
    assert exit.value.exit_code == FAILED and out == ""
    assert err.startswith("error: x.nii.gz: cut off") and len(err.splitlines()) == 1 and "[red]more[/red]" in err


def test_an_error_of_the_system_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), report_errors():
        (tmp_path / "none" / "x").write_text("")
    assert capsys.readouterr().err == f"error: {tmp_path}/none/x: No such file or directory\n"


@pytest.mark.parametrize(
    ("continues", "line"),
    [(True, "Interrupted. The same command continues where it stopped.\n"), (False, "Interrupted.\n")],
)
def test_ctrl_c_prints_one_line(continues: bool, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit, report_errors(continues):
        raise KeyboardInterrupt
    assert exit.value.exit_code == INTERRUPTED
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "error: not enough memory; close other programs, or give fewer --workers."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "error: not enough memory; close other programs"),
        (RuntimeError("can't start new thread"), "error: not enough memory"),
        (OSError(errno.EMFILE, "Too many open files"), "error: Too many open files."),
    ],
)
def test_a_lack_of_memory_or_files_is_one_line(error: Exception, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit, report_errors(True):
        raise error
    err = capsys.readouterr().err
    assert exit.value.exit_code == FAILED and err.startswith(line) and err.endswith("continues where it stopped.\n")


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), report_errors():
        1 / 0  # noqa: B018


def test_quiet_prints_errors_and_results_only(capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity(logging.ERROR)
    print_summary("20 cases repaired")
    print_skipped({"1": "cut off"})
    print_message("error", "no")
    print_json({"a": 1})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1} and err == "error: no\n"


@pytest.mark.parametrize(
    ("level", "shown"),
    [(logging.ERROR, ["error"]), (logging.WARNING, ["warning", "error"]), (logging.INFO, ["info", "warning", "error"])],
)
def test_the_level_of_the_messages(level: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    set_verbosity(level)
    configure_logging()
    configure_logging()
    log = logging.getLogger("heartmend.some.module")
    for name in ("info", "warning", "error"):
        getattr(log, name)("%s message", name)
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == shown


def test_a_skipped_case_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger("heartmend.pipelines.driver").warning("case 1 is skipped: cut off")
    print_skipped({"1": "cut off"})
    assert capsys.readouterr().err == "skipped: case 1: cut off\n"


def test_json_is_plain_ascii_and_takes_paths_and_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a/ü"), "values": np.arange(3), "value": np.float32(0.5)})
    text = capsys.readouterr().out
    assert text.isascii() and json.loads(text) == {"path": "a/ü", "values": [0, 1, 2], "value": 0.5}


def test_no_colour_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(terminal.typer, "echo", lambda text, err: shown.append(text))
    print_message("error", "no")
    monkeypatch.setenv("NO_COLOR", "1")
    print_message("error", "no")
    assert "\x1b[" in shown[0] and shown[1] == "error: no"
