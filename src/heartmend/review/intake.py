"""Preparation of the cases of a run while others are reviewed already, the most urgent first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from heartmend.errors import HeartmendError
from heartmend.io.dataset import Case
from heartmend.review.case_cache import by_urgency, is_ready, prepare_each, prepare_each_surfaces
from heartmend.run_folder.finished import NOT_REPAIRED, FinishedRun

RESCAN_SECONDS = 10.0
"""Time between two looks for cases that a run in progress has repaired."""
HEAD_START_SECONDS = 5.0
"""Longest time that the worker processes wait until the page has fetched the first case, which they would delay."""
log = logging.getLogger(__name__)


class Intake:
    """Thread that prepares the cases of a run for review and hands each over as soon as its files are written.

    The first case is prepared in this process, since worker processes need seconds to start; those that were prepared
    before are handed over at once. The surfaces follow when all cases are ready. Cases that a run in progress repairs
    later are found within `RESCAN_SECONDS`.

    Attributes:
        failed: error message of each case that could not be prepared, by case id.
    """

    def __init__(self, finished: FinishedRun, on_ready: Callable[[FinishedRun, Case], None], workers: int = 0) -> None:
        """Create the thread; `start` starts it.

        Args:
            finished: the run.
            on_ready: called in the thread with the run and each case that is ready.
            workers: number of worker processes; 0 for one per CPU core.
        """
        self.failed: dict[str, str] = {}
        self._finished, self._on_ready, self._workers = finished, on_ready, workers
        self._seen: set[str] = set()
        self._waiting = len(finished.cohort)
        self._stopping, self._fetched = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def waiting(self) -> int:
        """Number of cases that are not prepared yet, those included that a run in progress has not repaired yet."""
        return self._waiting + sum(reason == NOT_REPAIRED for reason in self._finished.left_out.values())

    def start(self) -> None:
        """Start to prepare the cases."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the current cases."""
        self._stopping.set()
        self._fetched.set()

    def case_was_fetched(self) -> None:
        """Note that a page has fetched a case: now the processors are free for the others."""
        self._fetched.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            new = by_urgency(self._finished, [case for case in self._finished if case.id not in self._seen])
            self._waiting = len(new)
            failed = self._hand_over(prepare_each(self._finished, new[:1], 1))
            known = [case for case in new[1:] if is_ready(self._finished, case)]
            failed += self._hand_over((case, "") for case in known)
            if rest := [case for case in new if case.id not in self._seen]:
                self._fetched.wait(HEAD_START_SECONDS)
                failed += self._hand_over(prepare_each(self._finished, rest, self._workers))
            # Once more: a run that is being continued removes temporary files, also those of this process.
            failed = self._hand_over(prepare_each(self._finished, [case for case, _ in failed], self._workers))
            self.failed |= {case.id: error for case, error in failed}
            self._waiting = 0
            if NOT_REPAIRED not in self._finished.left_out.values():
                self._prepare_surfaces()
                return
            self._stopping.wait(RESCAN_SECONDS)
            self._rescan()

    def _hand_over(self, prepared: Iterable[tuple[Case, str]]) -> list[tuple[Case, str]]:
        """Hand over cases as they are prepared; returns the error message of each that failed."""
        failed = []
        for case, error in prepared:
            if self._stopping.is_set():
                break
            self._seen.add(case.id)
            try:
                if error:
                    raise HeartmendError(error)
                self._on_ready(self._finished, case)
                self._waiting -= 1
            except HeartmendError as failure:
                failed.append((case, str(failure)))
                log.warning("case %s cannot be reviewed: %s", case.id, failure)
        return failed

    def _prepare_surfaces(self) -> None:
        cases = by_urgency(self._finished, [case for case in self._finished if case.id not in self.failed])
        for case, error in prepare_each_surfaces(self._finished, cases, self._workers):
            if self._stopping.is_set():
                break
            if error:
                # The page asks for them again, and shows the reason.
                log.warning("case %s: its surfaces cannot be made: %s", case.id, error)

    def _rescan(self) -> None:
        try:
            self._finished = self._finished.reopened()
        except HeartmendError as error:
            # A run that is just being continued writes its records again.
            log.debug("the run cannot be read at the moment: %s", error)
