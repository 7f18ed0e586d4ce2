"""Corrections by hand on the page: the server applies what was drawn, and the page shows the result.

The page sends all operations of a correction each time. So an undo is a shorter list, a restart of the server loses
nothing, and the label map that is saved is the one that was shown.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from heartmend.errors import ConflictError
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.repair.editing.session import EditedCase, Operation, apply_operation
from heartmend.review.compose import compose_run_case
from heartmend.review.corrections import corrected_structures, plan_for_correction, save_correction
from heartmend.review.page_data import Crop
from heartmend.review.plan import CasePlan
from heartmend.run_folder.decision_records import Decision
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels


@dataclass(eq=False)
class _OpenCase:
    """The case that is corrected now, with its label maps after each operation that is still in use.

    Attributes:
        plan: the case as it is decided.
        composed: its label map on the whole grid.
        grid: the whole grid.
        crop: the displayed part.
        shown: the repaired label map on it, which the page has.
        edited: the case on it.
        operations: operations that were applied.
        labels: the label map after the last one.
    """

    plan: CasePlan
    composed: Labels
    grid: Grid
    crop: Crop
    shown: Labels
    edited: EditedCase
    operations: list[Operation] = field(default_factory=list)
    labels: Labels | None = None


class Editor:
    """Corrections of the cases of a run. One case is kept in memory; others wait."""

    def __init__(self, finished: FinishedRun, decisions: Decisions) -> None:
        """Create an editor.

        Args:
            finished: the run.
            decisions: database of its decisions.
        """
        self.finished, self.decisions = finished, decisions
        self._open: tuple[tuple[str, str, int], _OpenCase] | None = None
        self._lock = threading.Lock()

    def preview(self, case: Case, operations: Sequence[Operation]) -> bytes:
        """Apply operations, and describe the result for the page.

        Args:
            case: a case whose review files exist.
            operations: all operations of the correction.

        Returns:
            A 4-byte length (little endian); a JSON table of this length with `box`, the first and the last voxel + 1 on
            each axis of the displayed part where the result differs from the repaired map, and `structures`, added and
            removed ml of each structure against the decided map; then the ids in the box, x fastest.

        Raises:
            BadInputError: if an operation cannot be applied.
            RunError: if a label map is missing or damaged.
        """
        with self._lock:
            opened = self._case(case)
            labels = self._apply(opened, operations)
            box = bounding_box(labels != opened.shown) or (slice(0, 0),) * 3
            voxel_ml = opened.grid.voxel_mm3 / 1000
            before = opened.edited.labels
            changed = {}
            for s in self.finished.anatomy.structures:
                added, removed = (
                    round(int(np.count_nonzero(mask)) * voxel_ml, 4)
                    for mask in ((labels == s.id) & (before != s.id), (labels != s.id) & (before == s.id))
                )
                if added or removed:
                    changed[s.name] = [added, removed]
            table = {"box": [[side.start, side.stop] for side in box], "structures": changed}
            body = labels[box].ravel(order="F").tobytes()
        head = json.dumps(table).encode()
        head += b" " * (-len(head) % 4)
        return struct.pack("<I", len(head)) + head + body

    def save(self, case: Case, operations: Sequence[Operation], reviewer: str, since: int) -> list[Decision]:
        """Save a correction as the corrected label map of its case, and decide that its structures are corrected.

        Args:
            case: a case whose review files exist.
            operations: all operations of the correction.
            reviewer: name of the person.
            since: number of the newest decision about the case that the page knew.

        Returns:
            The decisions as written.

        Raises:
            BadInputError: if nothing is corrected.
            ConflictError: if another reviewer decided about the case in the meantime.
        """
        with self._lock:
            newer = [d for d in self.decisions.current(since) if d.case == case.id]
            if newer:
                # The correction starts from an earlier map; its operations stay on the page.
                raise ConflictError(newer)
            opened = self._case(case)
            labels = opened.composed.copy()
            part = opened.crop.apply(labels)
            part[...] = self._apply(opened, operations)
            structures = corrected_structures(self.finished, opened.plan, opened.composed, labels)
            return save_correction(
                self.finished, self.decisions, opened.plan, labels, structures, reviewer, (opened.grid, None)
            )

    def _case(self, case: Case) -> _OpenCase:
        decisions = [d for d in self.decisions.current() if d.case == case.id]
        key = case.id, self.finished.stamp(case), max((d.number for d in decisions), default=0)
        if self._open is None or self._open[0] != key:
            # Before the next one is read: one case takes enough memory.
            self._open = None
            self._open = key, self._read(case, decisions)
        return self._open[1]

    def _read(self, case: Case, decisions: Sequence[Decision]) -> _OpenCase:
        plan = plan_for_correction(self.finished, case, decisions)
        composed, original = compose_run_case(self.finished, plan)
        grid = original.grid
        crop = Crop.from_grid(plan.summary.grid, grid)
        image = self.finished.image(case, grid)
        values = None if image is None else np.ascontiguousarray(crop.apply(image.values))
        labels = np.ascontiguousarray(crop.apply(composed)).astype(np.uint8)
        shown = np.ascontiguousarray(crop.apply(self.finished.after(case).labels)).astype(np.uint8)
        return _OpenCase(plan, composed, grid, crop, shown, EditedCase(labels, crop.grid, values))

    def _apply(self, opened: _OpenCase, operations: Sequence[Operation]) -> Labels:
        """Apply operations; those that were applied before are not applied again."""
        done = len(opened.operations)
        is_longer = len(operations) >= done and all(map(_is_same, operations, opened.operations))
        if opened.labels is None or not is_longer:
            opened.operations, opened.labels = [], opened.edited.labels
        for operation in operations[len(opened.operations) :]:
            opened.labels = apply_operation(opened.edited, opened.labels, operation, opened.operations)
            opened.operations.append(operation)
        return opened.labels


def _is_same(a: Operation, b: Operation) -> bool:
    return (a.tool, a.id, a.radius_mm, a.axis) == (b.tool, b.id, b.radius_mm, b.axis) and np.array_equal(
        a.points_mm, b.points_mm
    )
