"""Tests of the driver: bad cases are skipped, errors of the output end the run, progress is reported."""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.progress import CallbackProgress
from heartmend.errors import BadInputError, OutputError, RunError
from heartmend.io.dataset import Case, Cohort
from heartmend.pipelines.driver import PipelineStep, run_steps
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context, Outcome
from support.stages import named_cases

Calls = list[tuple[str, list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        yield run


def step(name: str, calls: Calls, errors: dict[str, Exception] | None = None, per_case: bool = True) -> PipelineStep:
    """A step that records its cases, and whose outcomes have these errors."""

    def stage(context: Context[Any], cases: Sequence[Case]) -> Iterator[Outcome]:
        calls.append((f"{name} {context.config}", [case.id for case in cases]))
        if per_case:
            yield from (Outcome(case, (errors or {}).get(case.id)) for case in cases)
        else:
            yield Outcome(None, next(iter((errors or {}).values()), None))

    return PipelineStep(name, stage, f"config of {name}", per_case)


def context(run: RunFolder, ids: str = "abc", **skipped: str) -> Context[Any]:
    cohort = Cohort(tuple(named_cases(ids)), load_anatomy("heart"), skipped=skipped)
    return Context(run, cohort, None)


def skipped_file(run: RunFolder) -> dict[str, str]:
    return dict(json.loads((run.output / "run" / "skipped.json").read_text()))


def test_a_case_that_fails_is_skipped_by_the_stages_after(run: RunFolder) -> None:
    calls: Calls = []
    steps = [step("one", calls, {"b": BadInputError("b.nii.gz: bad")}), step("two", calls), step("three", calls)]
    assert run_steps(steps, context(run)) == {"b": "b.nii.gz: bad"}
    assert calls == [
        ("one config of one", ["a", "b", "c"]),
        ("two config of two", ["a", "c"]),
        ("three config of three", ["a", "c"]),
    ]
    assert run.skipped() == {"b": "b.nii.gz: bad"}


def test_files_that_were_skipped_before_stay_skipped_in_the_order_of_ids(run: RunFolder) -> None:
    skipped = run_steps([step("one", [], {"a": BadInputError("bad")})], context(run, "ac", b="no case id"))
    assert list(skipped.items()) == [("a", "bad"), ("b", "no case id")]
    assert list(skipped_file(run).items()) == list(skipped.items())


def test_an_unexpected_error_skips_its_case_and_is_logged(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        skipped = run_steps([step("one", [], {"a": ZeroDivisionError("x / 0")})], context(run))
    assert "unexpected ZeroDivisionError: x / 0; this is an error in Heartmend" in skipped["a"]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("per_case", [True, False])
def test_an_error_of_the_output_ends_the_run_and_skips_no_case(run: RunFolder, per_case: bool) -> None:
    calls: Calls = []
    steps = [step("one", calls, {"a": OutputError("disk full")}, per_case), step("two", calls)]
    with pytest.raises(OutputError, match="disk full"):
        run_steps(steps, context(run))
    assert [name for name, _ in calls] == ["one config of one"]
    assert run.skipped() == {}


def test_an_error_of_the_whole_cohort_ends_the_run(run: RunFolder) -> None:
    with pytest.raises(RunError, match="no fit"):
        run_steps([step("fit", [], {"a": RunError("no fit")}, per_case=False)], context(run))


def test_an_operating_system_error_in_a_stage_is_an_error_of_the_output(run: RunFolder) -> None:
    def failing(context: Context[Any], cases: Sequence[Case]) -> Iterator[Outcome]:
        raise OSError(28, "No space left on device")
        yield

    with pytest.raises(OutputError, match="No space left on device"):
        run_steps([PipelineStep("one", failing, None)], context(run))


def test_when_no_case_is_left_it_is_an_error_and_the_reasons_are_recorded(run: RunFolder) -> None:
    calls: Calls = []
    errors: dict[str, Exception] = {"a": BadInputError("first"), "b": BadInputError("second")}
    with pytest.raises(RunError, match="none of the 2 label maps could be used; the first: first"):
        run_steps([step("one", calls, errors), step("two", calls)], context(run, "ab"))
    assert len(calls) == 1
    assert run.skipped() == {"a": "first", "b": "second"}


def test_progress_is_started_for_each_stage_and_advanced_for_each_case(run: RunFolder) -> None:
    reports: list[tuple[str, int, int, str]] = []
    progress = CallbackProgress(lambda *report: reports.append(report))
    steps = [step("one", [], {"b": BadInputError("bad")}), step("fit", [], per_case=False), step("two", [])]
    run_steps(steps, Context(run, context(run).cohort, None, progress=progress))
    assert reports == [
        ("one", 0, 3, ""), ("one", 1, 3, "a"), ("one", 2, 3, "b"), ("one", 3, 3, "c"),
        ("two", 0, 2, ""), ("two", 1, 2, "a"), ("two", 2, 2, "c"),
    ]  # fmt: skip
