"""The hostile test: a short selection of its attacks, and its definition of a refusal."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from attack import COLUMNS, KINDS, read_results, show
from attacks.commands import Ended

ATTACK = Path(__file__).parents[2] / "benchmarks" / "attack.py"
REFUSED = Ended(1, "note: x\nerror: /a/model.zip: is not a heart model\n", 0.2, 300.0, 0.1)


def attack(folder: Path, *options: str) -> list[dict[str, str]]:
    words = [sys.executable, ATTACK, "--keep", folder, "--count-scale", "0.01", *options]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return [row for kind in KINDS for row in read_results(folder, kind)]


@pytest.fixture(scope="module")
def selection(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Outcomes of a short selection of attacks, in one process."""
    kinds = ("models", "readers", "forms", "given", "server", "kills")
    options = [word for kind in kinds for word in ("--kind", kind)]
    return attack(tmp_path_factory.mktemp("attack"), *options, "--jobs", "1")


def test_a_short_selection_of_attacks_is_held(selection: list[dict[str, str]]) -> None:
    assert len(selection) >= 50 and all(row["held"] == "1" for row in selection)


def test_killed_runs_continue_to_the_same_bytes(selection: list[dict[str, str]]) -> None:
    kills = [row for row in selection if row["attack"].startswith("SIG")]
    assert len(kills) == 2 and all(row["held"] == "1" for row in kills)


@pytest.mark.slow
def test_some_attacks_of_every_kind_are_held(tmp_path: Path) -> None:
    rows = attack(tmp_path)
    assert {path.stem.rsplit("-", 1)[0] for path in (tmp_path / "results").iterdir()} == set(KINDS)
    assert all(row["held"] == "1" for row in rows)


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (REFUSED, ""),
        (replace(REFUSED, status=0), "exit status 0"),
        (replace(REFUSED, status=None), "no end"),
        (replace(REFUSED, status=-9), "exit status -9"),
        (replace(REFUSED, cpu_s=6.0, seconds=6.5), "refused after 6.5 s"),
        (replace(REFUSED, peak_mb=600.0), "600 MB"),
        (replace(REFUSED, text="error: damaged\n"), "no message names model.zip"),
        (replace(REFUSED, text=REFUSED.text + "  more\n"), "a message of 2 lines"),
        (replace(REFUSED, text="Traceback (most recent call last):\n  x\nValueError: y\n"), "traceback: ValueError: y"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_file_in_bounded_time_and_memory(ended: Ended, reason: str) -> None:
    found = ended.not_refused("model.zip")
    assert reason in found and bool(reason) == bool(found)


def test_the_table_counts_the_attacks_that_are_not_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    with open(tmp_path / "results" / "models-0.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        for job, (problem, skipped) in enumerate((("", ""), ("accepted", ""), ("", "no browser"))):
            row = {"job": job, "attack": "mesh: x", "held": int(not problem), "seconds": 1, "peak_mb": 2}
            writer.writerow(row | {"problem": problem, "skipped": skipped})
    found = {"models": read_results(tmp_path, "models")}
    assert show(found, 1.0, tmp_path / "table.md", tmp_path / "rows.csv") == 1
    assert "not held: models 1: mesh: x: accepted" in capsys.readouterr().out
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 4
    text = (tmp_path / "table.md").read_text()
    assert "| models | mesh | 2 | 1 | 1 | 1.0 | 2 |\n| all |  | 2 | 1 |  |  |  |\n" in text
    assert "skipped: no browser\nnot held: models 1: mesh: x: accepted\n" in text


def test_all_processes_end_with_the_one_that_was_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, ATTACK, "--keep", tmp_path, "--kind", "kills", "--count-scale", "0.02", "--jobs", "2"]
    )
    log = tmp_path / "base" / "log.txt"
    # A run of the cohort is working.
    while process.poll() is None and not (log.exists() and "fit" in log.read_text()):
        time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("fit" in log.read_text() for _ in children) and process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert psutil.wait_procs(children, timeout=60)[1] == []
