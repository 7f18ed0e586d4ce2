"""Temporary: the interface before the redesign, until every caller uses the records. To be removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heartmend.run_folder.paths import RunPaths


class Compat(RunPaths):
    """The old names."""

    @property
    def out(self) -> Path:
        return self.output

    @property
    def root(self) -> Path:
        return self._root

    def folder(self, stage: str) -> Path:
        return self._folder(stage)

    def case_path(self, stage: str, case_id: str, ending: str) -> Path:
        return self._case_path(stage, case_id, ending)

    def mark_done(
        self, stage: str, case_id: str | None, fingerprint: str, files: Iterable[Path] = (), **notes: Any
    ) -> None:
        self.finish(stage, case_id, fingerprint, files)  # type: ignore[attr-defined]
