"""The OUT folder of a run: results, one folder for each verb, and what is done already.

OUT/labels/            the mended label maps, under the names of the input
OUT/run/run.json       whose run this is
OUT/run/config.json    the settings as resolved; versions.json, cohort.json likewise
OUT/run/<verb>/        what a verb leaves; <verb>/done/<case>.json say what of it is finished
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heartmend.errors import OutputError, RunError
from heartmend.io.atomic import read_json, sweep_temporaries, write_json
from heartmend.io.dataset import Cohort
from heartmend.run_folder.admission import cannot_write, mark_of, refuse_foreign, refuse_out
from heartmend.run_folder.lock import FolderLock
from heartmend.run_folder.versions import versions


class Run:
    """An OUT folder that this process holds locked. Use it in a `with` block, or `close` it.

    Attributes: `out`; `labels`, the folder of the results; `root`, the folder of all else.
    """

    def __init__(self, out: Path, lock: FolderLock | None = None) -> None:
        self.out = out
        self.labels = out / "labels"
        self.root = out / "run"
        self._lock = lock

    @classmethod
    def open(cls, out: str | Path, labels_dir: str | Path, images_dir: str | Path | None = None) -> Self:
        """Begin a run in OUT, or go on with the one that is there.

        Raises RunError when OUT lies in an input folder or an input folder in OUT, when it holds something that is
        no run or the run of another input, and when another process is working on it. What a killed process left
        half-written is removed.
        """
        folder, source = Path(out).resolve(), Path(labels_dir).resolve()
        refuse_out(folder, source, images_dir)
        marker = folder / "run" / "run.json"
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(marker.parent / "lock")
        except OSError as error:
            raise OutputError(cannot_write(folder, error)) from error
        try:
            if not marker.exists():
                write_json(marker, mark_of(source))
            # Another process may have been first.
            refuse_foreign(marker, source)
            sweep_temporaries(folder)
            run = cls(folder, lock)
            run.labels.mkdir(exist_ok=True)
        except OSError as error:
            lock.release()
            raise OutputError(cannot_write(folder, error)) from error
        except BaseException:
            lock.release()
            raise
        return run

    @staticmethod
    def check(out: str | Path, labels_dir: str | Path, images_dir: str | Path | None = None) -> None:
        """Raise what `open` would raise, without making or changing anything."""
        folder, source = Path(out).resolve(), Path(labels_dir).resolve()
        refuse_out(folder, source, images_dir)
        marker = folder / "run" / "run.json"
        if marker.exists():
            refuse_foreign(marker, source)
        if (lock := marker.parent / "lock").is_file():
            FolderLock(lock).release()
        there = next(parent for parent in (marker.parent, *marker.parents) if parent.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(f"{folder}: cannot be written to: {there} is read-only; give another --out")

    @classmethod
    def at(cls, out: str | Path) -> Self:
        """A run that is there, to read from, or to write to for the process that holds it locked.

        Raises RunError when there is none.
        """
        folder = Path(out).resolve()
        if not (folder / "run" / "run.json").is_file():
            raise RunError(f"{folder}: is no run of Heartmend; begin one with `heartmend run LABELS --out {out}`")
        return cls(folder)

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def folder(self, verb: str) -> Path:
        """The folder of a verb, made when it is not there."""
        folder = _inside(self.root, verb)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def case_path(self, verb: str, case_id: str, ending: str) -> Path:
        """Where a verb keeps its file (`ending` such as ".npz") for a case. Never outside the verb's folder."""
        return _inside(self.folder(verb), f"{case_id}{ending}")

    def result_path(self, input_path: Path) -> Path:
        """Where the mended label map of an input file goes: under the same name in OUT/labels."""
        return _inside(self.labels, input_path.name)

    def is_done(self, verb: str, case_id: str | None, fingerprint: str) -> bool:
        """Whether the verb finished this case (None: the whole cohort) with just this fingerprint.

        Not when one of the files that it left is gone, or in OUT/run has another size.
        """
        try:
            stamp = read_json(self._stamp(verb, case_id))
            files = stamp.get("files", {}).items()
            return bool(stamp["fingerprint"] == fingerprint) and all(self._is_there(name, n) for name, n in files)
        except (RunError, KeyError, TypeError, AttributeError):
            return False

    def mark_done(
        self, verb: str, case_id: str | None, fingerprint: str, files: Iterable[Path] = (), **notes: Any
    ) -> None:
        """Stamp a case (None: the whole cohort) as finished, after all of its files are in place."""
        sizes = {path.relative_to(self.out).as_posix(): path.stat().st_size for path in files}
        write_json(self._stamp(verb, case_id), {"fingerprint": fingerprint, "files": sizes, **notes})

    def forget(self, verb: str, case_id: str | None = None) -> None:
        """Take a stamp away, before the verb's files are changed."""
        self._stamp(verb, case_id).unlink(missing_ok=True)

    def withdraw(self, verb: str, kept: Iterable[str]) -> list[Path]:
        """Take the results of all cases but those `kept` out of OUT/labels, into OUT/run/withdrawn; where they are now.

        `verb` is the one that wrote them. A case that is skipped now, or gone, may have been mended by an earlier run;
        its old result among the new ones would look like one of them.
        """
        kept, moved = set(kept), list[Path]()
        for stamp in sorted((_inside(self.root, verb) / "done").glob("*.json")):
            if stamp.stem in kept:
                continue
            for name in _files_of(stamp):
                result = _inside(self.labels, Path(name).name)
                if name == f"labels/{result.name}" and result.is_file():
                    away = _inside(self.folder("withdrawn"), result.name)
                    result.replace(away)
                    moved.append(away)
            stamp.unlink(missing_ok=True)
        return moved

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Keep the settings as resolved, defaults and all."""
        write_json(self.root / "config.json", config)

    def write_versions(self) -> None:
        """Keep what the result may depend on besides input and settings."""
        write_json(self.root / "versions.json", versions())

    def write_cohort(self, cohort: Cohort) -> None:
        """Keep which files were which case. Of the files' headers nothing is kept: they can hold patients' names."""
        cases = [
            {"id": c.id, "labels": c.labels_path.name, "image": None if c.image_path is None else c.image_path.name}
            for c in cohort
        ]
        ids = None if cohort.file_ids is None else {str(k): v for k, v in cohort.file_ids.items()}
        table = {
            "anatomy": cohort.anatomy.name,
            "unknown_labels": cohort.unknown_labels,
            "file_ids": ids,
            "cases": cases,
        }
        write_json(self.root / "cohort.json", table)

    def _is_there(self, name: str, size: int) -> bool:
        """Whether a file is as it was left; a result may have been changed by hand since, and then stays."""
        path = self.out / name
        return path.is_file() and (path.parent == self.labels or path.stat().st_size == size)

    def _stamp(self, verb: str, case_id: str | None) -> Path:
        # A case's stamp has a folder of its own, so that no case id can be taken for the cohort's.
        if case_id is None:
            return _inside(self.root, verb) / "done.json"
        return _inside(_inside(self.root, verb) / "done", f"{case_id}.json")


def _files_of(stamp: Path) -> dict[str, int]:
    """The files that a stamp speaks of, with their sizes; none when it cannot be read."""
    try:
        return dict(read_json(stamp)["files"])
    except (RunError, KeyError, TypeError, ValueError):
        return {}


def _inside(folder: Path, name: str) -> Path:
    """`folder / name`, where the name is that of one file and leads nowhere else."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"{name!r} cannot be the name of a file in {folder}")
    if folder.is_symlink():
        raise RunError(f"{folder}: is a link, which could lead anywhere; put a folder in its place")
    return folder / name
