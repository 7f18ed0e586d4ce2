"""The label map that each case is fitted to: the prepared one, or one that a person has completed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from heartmend.io.dataset import Cohort
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import PREPARE
from heartmend.run_folder.records import PreparedCase


@dataclass(frozen=True, eq=False)
class FitMaps:
    """Reads the label maps that a fit learns from.

    Attributes:
        output: OUT.
        trusted: label maps that are taken for true; None where there are none.
    """

    output: Path
    trusted: Cohort | None = None

    def read(self, case_id: str) -> PreparedCase:
        """Read the label map that a case is fitted to.

        Args:
            case_id: id of a prepared case.

        Returns:
            The prepared case; of a trusted one with the trusted label map as it is, in the same region of interest.

        Raises:
            RunError, BadInputError: if a file of it is missing or damaged.
        """
        prepared = RunFolder.at(self.output).prepared(case_id)
        if self.trusted is None or case_id not in self._ids:
            return prepared
        roi = prepared.roi
        labels = roi.zero_outside(self.trusted.read_labels(self.trusted[case_id]).on_grid(roi.grid).labels)
        return replace(
            prepared, cube=roi.resample_labels(labels, prepared.cube.shape[0]),
            cleaned=np.ascontiguousarray(labels[roi.source_box()]),
        )  # fmt: skip

    def digests(self, case_ids: Iterable[str]) -> list[Any]:
        """List what changes with the label maps.

        Args:
            case_ids: ids of prepared cases.

        Returns:
            Values for `compute_fingerprint`: of each case the digest of `prepare`, then the files of trusted cases.
        """
        ids, run = list(case_ids), RunFolder.at(self.output)
        trusted = [self.trusted[id].labels_path for id in ids if id in self._ids] if self.trusted is not None else []
        return [[run.digest(PREPARE, id) for id in ids], *trusted]

    @property
    def _ids(self) -> set[str]:
        return set() if self.trusted is None else {case.id for case in self.trusted}
