"""The output folder of a run. All paths and file formats below OUT/run are defined in this package.

OUT/labels/                repaired label maps, under the names of the input
OUT/run/run.json           which input this run belongs to, and the version of the format
OUT/run/settings.json      the settings as resolved; beside it versions, cohort, anatomy, skipped cases and warnings
OUT/run/heartmend.log      the log of every command that worked on the run
OUT/run/<stage>/           files of a stage; <stage>/done/<case>.json are the stamps of what it has finished
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import OutputError, RunError
from heartmend.io.atomic import remove_temporaries, write_json
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.file_names import real_path
from heartmend.io.label_maps import UnknownLabels
from heartmend.io.label_tables import GivenIds
from heartmend.io.regular import check_regular, is_regular, open_to_append
from heartmend.run_folder.admission import (
    LOG_NAME,
    cannot_write,
    check_format_version,
    check_output,
    check_same_input,
    run_marker,
)
from heartmend.run_folder.case_records import CaseRecords
from heartmend.run_folder.correction_records import CorrectionRecords
from heartmend.run_folder.history import HistoryRecords
from heartmend.run_folder.lock import FolderLock
from heartmend.run_folder.model_records import ModelRecords
from heartmend.run_folder.paths import EMBED, FIT, FUSE, PREPARE, RECORDS, REFINE, UNIFY, inside, read_table
from heartmend.run_folder.review_records import ReviewRecords


class RunFolder(HistoryRecords, CaseRecords, CorrectionRecords, ModelRecords, ReviewRecords):
    """The output folder of a run, which this process has locked when it was opened with `open`.

    Use it in a `with` block, or `close` it.

    Attributes:
        output: OUT, the folder itself.
        labels: OUT/labels, the folder of the repaired label maps.
    """

    def __init__(self, output: Path, lock: FolderLock | None = None) -> None:
        """Create the object without reading or writing; use `open` or `at`.

        Args:
            output: OUT.
            lock: the lock of the run, if this process has it.
        """
        super().__init__(output)
        self._lock = lock

    @classmethod
    def open(cls, output: str | Path, labels_dir: str | Path, images_dir: str | Path | None = None) -> Self:
        """Start a run in a folder, or continue the one that is there.

        Files that a killed process left half-written are removed.

        Args:
            output: the folder, made where there is none.
            labels_dir: input folder of label maps.
            images_dir: input folder of CTs.

        Returns:
            The folder, locked by this process.

        Raises:
            RunError: if the folder overlaps an input folder, contains something that is no run or the run of another
                input, or another process is working on it.
            OutputError: if it cannot be written to.
        """
        folder, source = real_path(Path(output)), real_path(Path(labels_dir))
        check_output(folder, source, images_dir)
        marker = folder / "run" / "run.json"
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(marker.parent / "lock")
        except OSError as error:
            raise OutputError(cannot_write(folder, error)) from error
        try:
            if not os.path.lexists(marker):
                write_json(marker, run_marker(source))
            # Another process may have been first.
            check_same_input(marker, source)
            remove_temporaries(folder)
            run = cls(folder, lock)
            run.finish(RECORDS, "run", "", [marker])
            run.labels.mkdir(exist_ok=True)
        except OSError as error:
            lock.release()
            raise OutputError(cannot_write(folder, error)) from error
        except BaseException:
            lock.release()
            raise
        return run

    @staticmethod
    def check(output: str | Path, labels_dir: str | Path, images_dir: str | Path | None = None) -> None:
        """Check what `open` would check, without writing anything.

        Args:
            output: OUT.
            labels_dir: the input folder of label maps.
            images_dir: the input folder of CTs; None where there is none.

        Raises:
            RunError, OutputError: as `open`.
        """
        folder, source = real_path(Path(output)), real_path(Path(labels_dir))
        check_output(folder, source, images_dir)
        marker = folder / "run" / "run.json"
        if os.path.lexists(marker):
            check_same_input(marker, source)
        if os.path.lexists(lock := marker.parent / "lock"):
            FolderLock(lock).release()
        existing = next(parent for parent in (marker.parent, *marker.parents) if parent.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"{folder}: cannot be written to: {existing} is read-only; give another --output")

    @classmethod
    def at(cls, output: str | Path) -> Self:
        """Return the run in a folder, to read from, or to write to for the process that has locked it.

        Args:
            output: OUT.

        Returns:
            The run.

        Raises:
            RunError: if there is none, or it was written by another version of Heartmend.
        """
        folder = real_path(Path(output))
        marker = folder / "run" / "run.json"
        check_regular(marker)
        if not is_regular(marker):
            raise RunError(f"{folder}: is no run of Heartmend; start one with `heartmend run LABELS --output {output}`")
        table = read_table(marker)
        check_format_version(marker, table.get("format"), table.get("format_version"))
        run = cls(folder)
        run.check_intact(RECORDS, "run", inside(marker.parent, marker.name))
        return run

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open_log(self) -> TextIO:
        """Open the log of every command that worked on the run, to append to it.

        Returns:
            The open file; to be closed by the caller.

        Raises:
            RunError: if there is a link, a pipe or a device in its place.
            OSError: if it cannot be written.
        """
        return open_to_append(inside(self._root, LOG_NAME))

    @property
    def is_started(self) -> bool:
        """Whether any stage has left files."""
        return any((self._root / stage).exists() for stage in (PREPARE, FIT, REFINE, FUSE, UNIFY, EMBED))


def model_file(path: Path) -> Path:
    """Return the file of a model: the path itself, or the model of the run in this folder.

    Args:
        path: file of a model, or OUT of a run.

    Returns:
        The file of the model.

    Raises:
        RunError: if the folder is no run, or has no model.
    """
    return RunFolder.at(path).model_path() if path.is_dir() else path


def is_run(folder: Path) -> bool:
    """Return whether a folder is OUT of a run.

    Args:
        folder: a folder.

    Returns:
        True if it contains a run.
    """
    return is_regular(folder / "run" / "run.json")


def labels_folder(folder: Path) -> Path:
    """Return the folder of label maps: the folder itself, or of a run its OUT/labels.

    Args:
        folder: a folder of label maps, or OUT of a run.

    Returns:
        The folder of label maps.
    """
    return folder / "labels" if is_run(folder) else folder


def open_labels(
    folder: Path, anatomy: Anatomy, unknown_labels: UnknownLabels = "error", ids: GivenIds | None = None,
    preset_ids: str = "",
) -> Cohort:  # fmt: skip
    """Find the label maps of a folder, an nnU-Net v2 data set, or a run.

    Args:
        folder: the folder; of a run its output folder OUT or OUT/labels.
        anatomy: the structures.
        unknown_labels: what to do with ids that the anatomy does not have.
        ids: value -> name of a structure, or a file with such a table; not used for a run, which has its own.
        preset_ids: name of a public data set whose values the label maps have; not used for a run.

    Returns:
        The cases. The values of a run's maps mean what they mean in the data set that the run repaired.

    Raises:
        BadInputError: if there is no case.
    """
    folder = labels_folder(folder)
    if not is_run(folder.parent):
        return discover_cohort(folder, anatomy=anatomy, unknown_labels=unknown_labels, ids=ids, preset_ids=preset_ids)
    cohort = discover_cohort(folder, anatomy=anatomy, unknown_labels=unknown_labels)
    run = RunFolder.at(folder.parent)
    return cohort.with_tables(run.label_tables()).with_series_of(run.labels_dir())
