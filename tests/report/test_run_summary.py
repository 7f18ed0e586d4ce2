"""Tests of the summary of a run: training log, stages and changes by rule."""

from pathlib import Path

import pytest

from heartmend.io.atomic import write_json
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.report.run_summary import FitLog, read_fit_log, rule_rows, stage_summaries
from heartmend.run_folder.folder import RunFolder

HEAD = "step,phase,loss,training_dice,whole_volume_dice,peak_memory_mb,dice_LV"
ROWS = ["10,1,0.5,0.7,,800,0.7", "20,1,0.4,0.8,,900,0.8", "30,2,0.3,0.9,0.85,900,0.9", "40,2,0.2,0.9,0.85,900,0.9"]


def log_of(folder: Path, *lines: str) -> FitLog | None:
    (folder / "run" / "fit").mkdir(parents=True, exist_ok=True)
    (folder / "run" / "fit" / "log.csv").write_text("\n".join(lines) + "\n")
    return read_fit_log(RunFolder(folder))


def test_columns_and_times_of_the_training_log(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEAD + ",seconds", *(f"{row},{n}" for n, row in enumerate(ROWS, start=1)))
    assert log is not None
    assert log.step == (10, 20, 30, 40) and log.phase == (1, 1, 2, 2)
    assert log.seconds == (1, 3, 6, 10)
    # Measured once, at the end of the first phase, and repeated from the next row on.
    assert log.whole_volume_dice == ((20.0, 0.85),)


def test_the_last_whole_volume_dice_is_the_mean_over_all_cases_after_the_fit(tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "fit" / "validation.json", {"1": {"LA": 0.8, "LV": 0.9}, "2": {"LA": 0.9, "LV": 1.0}})
    log = log_of(tmp_path, HEAD, *ROWS)
    assert log is not None and log.whole_volume_dice == ((20.0, 0.85), (40.0, pytest.approx(0.9)))


def test_a_training_log_without_times(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEAD, *ROWS)
    assert log is not None and log.seconds == ()


def test_the_later_row_of_a_repeated_step_is_used(tmp_path: Path) -> None:
    log = log_of(tmp_path, HEAD, ROWS[0], ROWS[1], "20,1,0.1,0.8,,900,0.8", ROWS[2], "3")
    assert log is not None and log.loss == (0.5, 0.1, 0.3)


@pytest.mark.parametrize("lines", [(HEAD,), ("",)])
def test_an_empty_training_log_is_none(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert log_of(tmp_path, *lines) is None


def test_only_finished_stages_are_described(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_settings({"fuse": {"mode": "priority"}})
    assert [stage for stage, _ in stage_summaries(run, None)] == ["prepare", "fuse"]
    for images, is_named in ((None, False), ("CTs", True)):
        run.write_settings({"fuse": {"mode": "evidence", "image_edges": True}, "request": {"images": images}})
        assert ("CT" in stage_summaries(run, None)[-1][1]) is is_named
    run.write_validation("unify", {"1": {"LA": 0.97}, "2": {"LA": 0.99}})
    stage, text = stage_summaries(run, None)[-1]
    assert stage == "unify" and "2 hearts, Dice 0.980" in text


def test_changes_are_counted_by_rule_over_the_cohort() -> None:
    here = ((0.0,) * 3, (1.0,) * 3)
    change = Change("holes", "LV", "filled", 3, 1500.0, here, "review")  # type: ignore[arg-type]
    change_logs = [
        ChangeLog("1", (change, change), (Verdict("LV", True, 1.0, 0.1),)),
        ChangeLog("2", (change,), (Verdict("LV", False, 2.0, 9.0, "too far"),)),
    ]
    first, last = rule_rows(change_logs)
    assert (first.n_cases, first.n_changes, first.volume_ml, first.n_review) == (2, 3, 4.5, 3)
    assert (last.rule, last.structure, last.n_cases, last.n_warning) == ("acceptance", "LV", 1, 1)
