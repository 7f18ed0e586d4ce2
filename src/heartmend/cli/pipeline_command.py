"""What `run`, the stages and `embed` share: a request from the options, a run with its progress, and its result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from heartmend.cli.announce import announce
from heartmend.cli.options import Preset
from heartmend.cli.progress import TerminalProgress
from heartmend.cli.run_log import RunLog
from heartmend.cli.terminal import (
    SOME_SKIPPED,
    is_quiet,
    print_message,
    print_skipped,
    print_summary,
)
from heartmend.wording import cases_named, plural

if TYPE_CHECKING:
    from heartmend.pipelines.result import Result
    from heartmend.pipelines.run import Request

DONE = {
    "prepare": "prepared",
    "fit": "fitted",
    "refine": "refined",
    "correct": "corrected",
    "fuse": "repaired",
    "unify": "repaired",
}
"""What was done with the cases of a run, by the stage after which it stopped."""


def run_stages(
    request: Request, preset: Preset, config: Path | None, then: Callable[[], None] | None = None, *,
    keep_far_components: bool = False, uncertainty: bool = False, segments: bool = False,
) -> None:  # fmt: skip
    """Run the stages that a command asks for, and print the result.

    Args:
        request: the data set and the options.
        preset: name of the preset.
        config: file that changes the preset.
        then: called after the run, before the exit code.
        keep_far_components: whether components far from the heart stay, whatever the preset and the file.
        uncertainty: whether the probability of an error of each voxel is written, whatever the preset and the file.
        segments: whether the segments of the coronary arteries are written, whatever the preset and the file.

    Raises:
        typer.Exit: with `SOME_SKIPPED` if cases were skipped.
    """
    from heartmend.pipelines.config import load_config
    from heartmend.pipelines.run import run

    settings = load_config(preset, config)
    if keep_far_components:
        prepare = settings.prepare.model_copy(update={"keep_far_components": True})
        settings = settings.model_copy(update={"prepare": prepare})
    if written := {name: True for name, wanted in (("uncertainty", uncertainty), ("segments", segments)) if wanted}:
        settings = settings.model_copy(update={"fuse": settings.fuse.model_copy(update=written)})
    result = run_with_progress(
        lambda progress: run(request, settings, progress, lambda estimate: announce(estimate, request.output)),
        request.output,
        DONE[request.stop_after],
    )
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
        print_message("warning", f"{cases_named(ids)}: {warning}")
    print_skipped(result.skipped)
    if result.prior and not is_quiet():
        print_message("template", f"{result.prior} (--prior)")
    print_summary(summary_line(result, done))


def summary_line(result: Result, done: str) -> str:
    """Return how many cases were done and skipped, and where the result is.

    Args:
        result: result of the pipeline.
        done: what was done with the cases, as a participle.

    Returns:
        The line.
    """
    return f"{plural(len(result.cases), 'case')} {done}, {len(result.skipped)} skipped: {result.output}"


def exit_with(result: Result) -> None:
    """Exit with `SOME_SKIPPED` if cases were skipped.

    Args:
        result: result of the pipeline.
    """
    if result.skipped:
        raise typer.Exit(SOME_SKIPPED)
