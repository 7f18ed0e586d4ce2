"""The driver of a pipeline: stages in order, with skipped cases, progress and errors handled once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from heartmend.errors import DamagedError, HeartmendError, OutputError, RunError
from heartmend.io.dataset import Case, Cohort
from heartmend.run_folder.admission import cannot_write
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context, Outcome, Stage

ATTEMPTS = 3
"""How often the stages are started where a file of the run is damaged while they work."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineStep:
    """A stage of a pipeline with its settings.

    Attributes:
        name: name of the stage, for progress.
        stage: the stage.
        config: settings of the stage.
        per_case: whether it yields an outcome for each case; a stage that works on the whole cohort reports its own
            progress.
        then: makes what the stages after it work with, from what it worked with and the cases that are left; None: the
            same.
    """

    name: str
    stage: Stage[Any]
    config: Any
    per_case: bool = True
    then: Callable[[Context[Any], Sequence[Case]], Context[Any]] | None = None


def run_steps(steps: Sequence[PipelineStep], context: Context[Any]) -> dict[str, str]:
    """Run stages in order; each works on the cases that no stage before it has skipped.

    A case with an error never stops the others: it is skipped from then on. A damaged file of
    the run is no error of its case: the stages are started again, and the one that wrote the file makes it again.

    Args:
        steps: the stages.
        context: what they work with; the settings are those of each step.

    Returns:
        The cases that were skipped, with the reasons.

    Raises:
        OutputError: if the output cannot be written; the cause is not a case, and all other cases would be skipped too.
        RunError: if no case is left.
        DamagedError: if a file of the run is damaged again and again.
    """
    skipped = dict(context.cohort.skipped)
    with _recorded(context.run, skipped):
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _run_once(steps, context, skipped)
                break
            except DamagedError as error:
                if attempt == ATTEMPTS:
                    raise
                log.warning("%s; the stages are started again", error)
        remaining_cases(context.cohort, skipped)
    return skipped


def _run_once(steps: Sequence[PipelineStep], context: Context[Any], skipped: dict[str, str]) -> None:
    for step in steps:
        cases = remaining_cases(context.cohort, skipped)
        if step.per_case:
            context.progress.start(step.name, len(cases))
        for done, outcome in enumerate(step.stage(replace(context, config=step.config), cases), start=1):
            if outcome.error is not None:
                _skip(outcome, skipped)
            if step.per_case:
                context.progress.advance(done, outcome.case.id if outcome.case is not None else "")
        if step.then is not None:
            context = step.then(context, remaining_cases(context.cohort, skipped))


def remaining_cases(cohort: Cohort, skipped: Mapping[str, str]) -> list[Case]:
    """List the cases that were not skipped so far.

    Args:
        cohort: all cases of the data set.
        skipped: ids of the skipped cases, with the reasons.

    Returns:
        The other cases, in the order of the cohort.

    Raises:
        RunError: if there is none.
    """
    remaining = [case for case in cohort if case.id not in skipped]
    if not remaining:
        reason = next(iter(skipped.values()))
        if len(skipped) == 1:
            raise RunError(f"the only label map could not be used: {reason}")
        raise RunError(f"none of the {len(skipped):,} label maps could be used; the first: {reason}")
    return remaining


@contextmanager
def _recorded(run: RunFolder, skipped: dict[str, str]) -> Iterator[None]:
    """Write the skipped cases at the end, also after an error that is not one of the output."""
    try:
        yield
    except OutputError:
        raise
    except HeartmendError:
        run.write_skipped(skipped)
        raise
    except OSError as error:
        raise OutputError(cannot_write(run.output, error)) from error
    in_order = dict(sorted(skipped.items()))
    skipped.clear()
    skipped.update(in_order)
    run.write_skipped(skipped)


def _skip(outcome: Outcome, skipped: dict[str, str]) -> None:
    error, case = outcome.error, outcome.case
    if isinstance(error, OutputError | DamagedError) or case is None:
        assert error is not None
        raise error
    reason = str(error) or type(error).__name__
    if not isinstance(error, HeartmendError):
        log.error("case %s: %s", case.id, error, exc_info=error)
        reason = f"unexpected {type(error).__name__}: {error}; this is an error in Heartmend: please report it"
    log.warning("case %s is skipped: %s", case.id, reason)
    skipped[case.id] = reason
