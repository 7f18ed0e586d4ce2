"""What `run`, the stages and `embed` share: a request from the options, a run with its progress, and its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from heartmend.cli.options import Preset, Stage, Unknown, split_names
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.run_log import RunLog
from heartmend.cli.terminal import (
    SOME_SKIPPED,
    is_quiet,
    list_cases,
    plural,
    print_message,
    print_skipped,
    print_summary,
)

if TYPE_CHECKING:
    from heartmend.pipelines.result import Result

DONE = {"prepare": "prepared", "fit": "fitted", "refine": "refined", "fuse": "repaired", "unify": "repaired"}
"""What was done with the cases of a run, by the stage after which it stopped."""


def run_stages(
    labels: Path, output: Path, images: Path | None, anatomy: str, structures: str, unknown_labels: Unknown,
    device: str, devices: int, workers: int, scheduler: str, preset: Preset, config: Path | None, stop_after: Stage,
    resume: bool, then: Callable[[], None] | None = None, ids: Path | None = None, preset_ids: str = "",
) -> None:  # fmt: skip
    """Run the stages up to `stop_after`, with the options of `heartmend.cli.options`, and print the result.

    Args:
        then: called after the run, before the exit code.

    Raises:
        typer.Exit: with `SOME_SKIPPED` if cases were skipped.
    """
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.run import Request

    request = Request(
        labels=labels, output=output, images=images, anatomy=anatomy, structures=split_names(structures),
        unknown_labels=unknown_labels, device=device, devices=devices, workers=workers, scheduler=scheduler,
        stop_after=stop_after, resume=resume, ids=ids, preset_ids=preset_ids,
    )  # fmt: skip
    settings = load_config(preset, config)

    def pipeline(progress: TerminalProgress) -> Result:
        from heartmend.pipelines.run import run

        return run(request, settings, progress)

    result = run_with_progress(pipeline, output, DONE[stop_after])
    if then is not None and result.is_main:
        then()
    exit_with(result)


def run_with_progress(pipeline: Callable[[TerminalProgress], Result], output: Path, done: str = "repaired") -> Result:
    """Run a pipeline with progress on the terminal and in the log file, and print its result.

    Args:
        pipeline: does the work and reports its progress to its argument.
        output: folder of the run.
        done: what was done with the cases, such as "repaired".

    Returns:
        The result of the pipeline.
    """
    with RunLog(output) as run_log:
        with TerminalProgress(run_log) as progress:
            result = pipeline(progress)
        if result.is_main:
            run_log.write(summary_line(result, done))
    print_result(result, done)
    return result


def print_result(result: Result, done: str = "repaired") -> None:
    """Print the result of a run: warnings and skipped cases on stderr, a summary on stdout.

    Args:
        result: the result.
        done: what was done with the cases.
    """
    if not result.is_main:
        return
    cases: dict[str, list[str]] = {}
    for case, warnings in result.warnings.items() if not is_quiet() else ():
        for warning in warnings:
            cases.setdefault(warning, []).append(case)
    for warning, ids in cases.items():
        print_message("warning", f"{list_cases(ids)}: {warning}")
    print_skipped(result.skipped)
    print_summary(summary_line(result, done))


def summary_line(result: Result, done: str) -> str:
    """Return how many cases were done and skipped, and where the result is."""
    return f"{plural(len(result.cases), 'case')} {done}, {len(result.skipped)} skipped: {result.output}"


def exit_with(result: Result) -> None:
    """Exit with `SOME_SKIPPED` if cases were skipped."""
    if result.skipped:
        raise typer.Exit(SOME_SKIPPED)
