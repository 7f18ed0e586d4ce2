"""Preparation of the cases of a run while others are reviewed already, the most urgent first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from heartmend.errors import HeartmendError
from heartmend.io.dataset import Case
from heartmend.review.case_cache import by_urgency, prepare_each
from heartmend.run_folder.finished import NOT_REPAIRED, FinishedRun

RESCAN_SECONDS = 10.0
"""Time between two looks for cases that a run in progress has repaired."""
log = logging.getLogger(__name__)


class Intake:
    """Thread that prepares the cases of a run for review and hands each over as soon as its files are written.

    The first case is prepared in this process, since worker processes need seconds to start. Cases that a run in
    progress repairs later are found within `RESCAN_SECONDS`.

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
        self._stopping = threading.Event()
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

    def _run(self) -> None:
        while not self._stopping.is_set():
            new = by_urgency(self._finished, [case for case in self._finished if case.id not in self._seen])
            self._waiting = len(new)
            failed = self._prepare(new[:1], 1) + self._prepare(new[1:], self._workers)
            # Once more: a run that is being continued removes temporary files, also those of this process.
            failed = self._prepare([case for case, _ in failed], self._workers)
            self.failed |= {case.id: error for case, error in failed}
            self._waiting = 0
            if NOT_REPAIRED not in self._finished.left_out.values():
                return
            self._stopping.wait(RESCAN_SECONDS)
            self._rescan()

    def _prepare(self, cases: Iterable[Case], workers: int) -> list[tuple[Case, str]]:
        """Prepare cases and hand them over; returns the error message of each that failed."""
        failed = []
        for case, error in prepare_each(self._finished, cases, workers):
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

    def _rescan(self) -> None:
        try:
            self._finished = self._finished.reopened()
        except HeartmendError as error:
            # A run that is just being continued writes its records again.
            log.debug("the run cannot be read at the moment: %s", error)
