"""Tests of the cost of commands, of its continuation after an interruption, and of what is computed from it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cluster_efficiency import efficiency
from cohort_score import score
from command_cost import Cost, measure
from thousand import Measured, RunSettings, growth, make_cohort, notes

from heartmend.metrics.case import Row

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SETTINGS = RunSettings(2, "mend", "")
# A process that starts another one, does not wait for it, and ends; that one computes for half a second.
ORPHAN = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", '''
import time
block = bytearray(80 << 20)
while time.process_time() < 0.5: pass
'''])
time.sleep(float(sys.argv[1]))
"""


def test_the_cpu_time_of_a_process_that_outlives_the_command_counts(tmp_path: Path) -> None:
    cost = measure([sys.executable, "-c", ORPHAN, "0.1"], tmp_path / "log.txt")
    assert 0.5 < cost.cpu_s < 1.5 and cost.parts == 1


def test_the_memory_of_main_process_and_worker(tmp_path: Path) -> None:
    # The worker lives long enough to be measured on a busy machine.
    script = ORPHAN.replace("while time.process_time() < 0.5: pass", "time.sleep(5)")
    cost = measure([sys.executable, "-c", script, "6"], tmp_path / "log.txt")
    assert cost.main_mib < 60 and cost.worker_mib > 80 and 80 < cost.all_mib < cost.main_mib + cost.worker_mib
    assert cost.wall_s > 5.9


def test_a_command_that_fails_ends_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"exit status 1\n(.|\n)*no such heart"):
        measure([sys.executable, "-c", "raise SystemExit('no such heart')"], tmp_path / "log.txt")


def test_costs_of_two_parts_are_added() -> None:
    whole = Cost(10, 15, 100, 50, 120).then(Cost(2, 3, 80, 70, 110))
    assert whole == Cost(12, 18, 100, 70, 120, parts=2)


def test_a_stage_continues_after_an_interruption_and_is_not_measured_twice(tmp_path: Path) -> None:
    measured = Measured(tmp_path / "measured.json", SETTINGS)
    measured.table["stages"] = {"20": {"fit": {"done": False, "cost": Cost(100, 190, 10, 0, 10).to_dict()}}}
    measured.save()
    again = Measured(tmp_path / "measured.json", SETTINGS)
    assert again.cost(20, "fit") is None
    cost = again.measure(20, "fit", [sys.executable, "-c", ""], tmp_path / "log.txt")
    assert cost.parts == 2 and 100 < cost.wall_s < 110 and 190 < cost.cpu_s < 191
    assert Measured(tmp_path / "measured.json", SETTINGS).cost(20, "fit") == cost
    with pytest.raises(SystemExit, match="measured with"):
        Measured(tmp_path / "measured.json", RunSettings(1, "mend", ""))


def test_growth_is_that_of_the_cpu_time_a_case(tmp_path: Path) -> None:
    measured = Measured(tmp_path / "measured.json", SETTINGS)
    measured.table["stages"] = {
        str(count): {stage: {"done": True, "cost": Cost(cpu_s=cpu).to_dict()} for stage, cpu in seconds.items()}
        for count, seconds in ((20, {"prepare": 900}), (100, {"prepare": 300, "fuse": 400}),
                               (200, {"prepare": 600, "fuse": 872}))
    }  # fmt: skip
    counts = [20, 100, 200]
    assert growth(measured, counts, "prepare") == pytest.approx(0)
    assert growth(measured, counts, "fuse") == pytest.approx(0.09)
    assert growth(measured, counts, "refine") is None and growth(measured, [20], "prepare") is None
    assert list(notes(measured, counts)) == []
    measured.table["stages"]["200"]["fuse"]["cost"]["cpu_s"] = 960
    assert list(notes(measured, counts)) == ["fuse: the CPU time a case grows by 20% from 100 to 200 cases"]


def test_efficiency_is_half_the_ratio_without_the_fit() -> None:
    one = {"prepare": 40.0, "fit": 70.0, "refine": 30.0, "fuse": 30.0}
    two = {"prepare": 22.0, "fit": 90.0, "refine": 14.0, "fuse": 20.0}
    assert efficiency({"1": one, "2": two}) == pytest.approx(100 / 112)


def test_hearts_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    for folder in ("labels_true", "labels_noisy"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "001.nii.gz").write_text("here")
    make_cohort(tmp_path, 2, 6.0, 1)
    assert (tmp_path / "labels_true" / "001.nii.gz").read_text() == "here"
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("002*")) == [
        "labels_noisy/002.nii.gz", "labels_true/002.nii.gz",
    ]  # fmt: skip


def rows_of(before: dict[str, list[float]], after: dict[str, list[float]]) -> list[Row]:
    return [
        Row(str(case), name, which, "reference", True, True, {"dice": dice, "nsd_1mm": 1.0})  # type: ignore[arg-type]
        for which, dices in (("a", before), ("b", after))
        for name, values in dices.items()
        for case, dice in enumerate(values)
    ]


def test_the_score_is_the_mean_over_the_structures() -> None:
    found = score(rows_of({"LA": [0.8, 0.8], "LV": [0.9, 0.7]}, {"LA": [0.9, 0.9], "LV": [0.9, 0.9]}))
    assert found.removed == {"LA": pytest.approx(0.5), "LV": pytest.approx(0.5)}
    assert found.mean == pytest.approx(0.5) and found.cases == 2
    # Resamples of one case twice: (0.5 + 0) / 2 and (0.5 + 2/3) / 2.
    assert (found.low, found.high) == (pytest.approx(0.25), pytest.approx(7 / 12))
    assert found.worse.startswith("0 of 4")


def test_the_interval_of_equal_cases_is_their_value() -> None:
    found = score(rows_of({"LA": [0.6] * 5}, {"LA": [0.7] * 5}))
    np.testing.assert_allclose([found.mean, found.low, found.high], 0.25)


@pytest.mark.slow
def test_a_killed_benchmark_continues(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(
        "prepare.resolution = 48\n[fit]\npoints = 300\n"
        "phases = [{steps = 5, code_lr = 0.01, shape_lr = 0.1, side = 24, controls = 6}]\n"
    )
    command = [
        sys.executable, str(BENCHMARKS / "thousand.py"), str(tmp_path / "cohort"), str(tmp_path / "out"),
        "--counts", "2", "--spacing-mm", "6", "--workers", "1", "--config", str(tmp_path / "small.toml"),
    ]  # fmt: skip
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    record = tmp_path / "out" / "measured.json"

    def stages() -> dict[str, dict[str, dict[str, object]]]:
        return json.loads(record.read_text())["stages"] if record.is_file() else {}

    while not stages().get("2", {}).get("prepare", {}).get("done"):
        assert first.poll() is None
        time.sleep(0.2)
    first.kill()
    first.wait()
    prepared = stages()["2"]["prepare"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert stages()["2"]["prepare"] == prepared
    assert all(stage["done"] for stages_of in stages().values() for stage in stages_of.values())
    for word in ("nothing left", "together", "Dice error removed", "Coronary", "95 % interval"):
        assert word in done.stdout
