"""The contract of a stage: `stage(context, cases) -> iterator of outcomes`.

A stage reads the records of the stages before it from the run folder, and writes its own records there. It yields an
outcome for every case, or one for the whole cohort, and skips what is done already. Stages never import each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.resources import Compute
from heartmend.io.dataset import Case, Cohort
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.records import CohortStatistics
from heartmend.training.loop import Step
from heartmend.training.schedule import Phase

S = TypeVar("S")
DONE_BEFORE = "done before"
"""Note of a fit that an earlier run has finished."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: the case; None for the whole cohort.
        error: why it failed; None where it did not.
    """

    case: Case | None = None
    error: Exception | None = None


def _no_phases(cases: int) -> tuple[Phase, ...]:
    return ()


@dataclass(frozen=True)
class RunPlan:
    """What crosses the stages, resolved once when the settings meet the anatomy.

    Attributes:
        structures: names of the structures to repair; empty: all of them.
        shaped: name -> id of the structures that the shared shape contains.
        classified: name -> id of the structures that are repaired by a voxel classifier.
        classifier_images: whether voxel classifiers read the CTs.
        coarse_phases: number of cases -> phases with which `unify` starts a template of its own.
        statistics: of the cohort, where they are known from other cases than those of the run.
        model: file of the model with which new cases are embedded.
        prior: files of models of other hearts, one of which is the template in place of a fitted one; empty: none.
        seed: of all random draws.
        trusted: label maps of a few cases that are taken for true; None where there are none.
        convention: file of a correction that is applied; None where there is none.
        kept: ids of cases whose results stay as they are, because a person has decided about them.
        learns_from_trusted: whether the trusted cases are fitted to their trusted label maps in place of their own.
    """

    structures: tuple[str, ...] = ()
    shaped: Mapping[str, int] = field(default_factory=dict)
    classified: Mapping[str, int] = field(default_factory=dict)
    classifier_images: bool = False
    coarse_phases: Callable[[int], tuple[Phase, ...]] = _no_phases
    statistics: CohortStatistics | None = None
    model: Path | None = None
    prior: tuple[Path, ...] = ()
    seed: int = 0
    trusted: Cohort | None = None
    convention: Path | None = None
    kept: frozenset[str] = frozenset()
    learns_from_trusted: bool = False

    @property
    def trusted_cases(self) -> dict[str, Case]:
        """The trusted cases, by id."""
        return {} if self.trusted is None else {case.id: case for case in self.trusted}

    @property
    def refined(self) -> dict[str, int]:
        """Name -> id of all structures that are refined."""
        return {**self.shaped, **self.classified}


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a stage works with.

    Attributes:
        run: the run folder.
        cohort: the data set.
        config: the settings of the stage.
        plan: what crosses the stages.
        compute: worker processes and the process group.
        progress: receiver of progress reports, of a stage that works on the whole cohort.
    """

    run: RunFolder
    cohort: Cohort
    config: S
    plan: RunPlan = RunPlan()
    compute: Compute = field(default_factory=Compute)
    progress: Progress = field(default_factory=NoProgress)

    def statistics(self, cases: Sequence[Case]) -> CohortStatistics:
        """Return the statistics of the plan, or measure those of the prepared cases.

        Args:
            cases: the prepared cases.

        Returns:
            The statistics of the cohort.
        """
        return self.plan.statistics or self.run.statistics(case.id for case in cases)


class Stage(Protocol[S]):
    """A stage of a run."""

    def __call__(self, context: Context[S], cases: Sequence[Case]) -> Iterator[Outcome]:
        """Do the work that is not done yet.

        Args:
            context: run, settings and resources.
            cases: the cases.

        Yields:
            An outcome for each case, or one for the whole cohort.
        """


def start_steps(progress: Progress, task: str, steps: int, *, done: bool) -> None:
    """Start the progress of a fit; one that was done before is reported as finished.

    Args:
        progress: receiver of the progress.
        task: name of the fit.
        steps: its number of steps.
        done: whether the fit was done before.
    """
    progress.start(task, steps)
    if done:
        progress.advance(steps, DONE_BEFORE)


def report_steps(progress: Progress) -> Callable[[Step, float | None], None]:
    """Make a function that passes the steps of a fit on as progress, with loss and Dice as the note.

    Args:
        progress: receiver of the progress.

    Returns:
        The function, to be called with each reported step and its whole-volume Dice.
    """

    def report(step: Step, whole_volume_dice: float | None) -> None:
        whole = "" if whole_volume_dice is None else f", whole volumes {whole_volume_dice:.3f}"
        dice, memory_gib = float(step.dice.mean()), step.peak_memory_bytes / 2**30
        progress.advance(step.number, f"loss {step.loss:.3f}, Dice {dice:.3f}{whole}, {memory_gib:.1f} GiB")

    return report
