"""Tests of the server of worker processes: what its workers print."""

import sys

import pytest

from heartmend.compute import fork_server


def test_a_worker_that_starts_while_the_main_process_ends_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for error, is_printed in (
        (FileNotFoundError(2, "No such file or directory"), False),
        (FileNotFoundError(2, "No such file or directory", "1.nii.gz"), True),
        (ValueError("no number"), True),
    ):
        fork_server.print_exception(type(error), error, None)
        assert (type(error).__name__ in capsys.readouterr().err) is is_printed


def test_an_import_elsewhere_has_no_effect() -> None:
    assert sys.excepthook is not fork_server.print_exception
