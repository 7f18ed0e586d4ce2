"""Ctrl-C in a terminal, which reaches the program and its worker processes."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.cohorts import write_cohort


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_ctrl_c_prints_one_line_and_the_same_command_continues(tmp_path: Path) -> None:
    labels, log = write_cohort(tmp_path, count=24), tmp_path / "out" / "run" / "heartmend.log"
    words = ["prepare", labels, "-o", tmp_path / "out", "--config", tmp_path / "small.toml", "--workers", "2"]
    command = [sys.executable, "-m", "heartmend", *map(str, words)]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (log.is_file() and "0/24" in log.read_text()):
        assert program.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=120)
    assert program.returncode == 130, err
    lines = [line for line in err.splitlines() if not re.match(r"\d\d:\d\d:\d\d  prepare ", line)]
    assert lines[0].startswith("24 cases, 10 structures + 2 optional") and lines[1].startswith(
        "about 30 s up to prepare; "
    )
    assert lines[2:] == ["Interrupted. The same command continues where it stopped."] and out == ""
    assert "WARNING interrupted" in log.read_text()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0 and again.stdout.startswith("24 cases prepared, 0 skipped: "), again.stderr
