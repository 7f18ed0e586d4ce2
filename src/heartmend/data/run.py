"""The OUT folder of a run: results, one folder for each verb, and what is done already.

OUT/labels/            the mended label maps, under the names of the input
OUT/run/run.json       whose run this is
OUT/run/config.json    the settings as resolved; versions.json, cohort.json likewise
OUT/run/<verb>/        what a verb leaves; <verb>/done/<case>.json say what of it is finished
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from heartmend import __version__
from heartmend.data.cohort import Cohort
from heartmend.data.gzipped import MAGIC
from heartmend.data.lock import FolderLock
from heartmend.errors import RunError
from heartmend.files import TEMPORARY_PREFIX, jsonable, sweep_temporaries, write_json

FORMAT = "heartmend-run"
FORMAT_VERSION = 1
_HEAD_AND_TAIL_BYTES = 1 << 16
_PACKAGES = (
    "torch", "numpy", "scipy", "nibabel", "SimpleITK", "connected-components-3d", "edt", "fill-voids", "scikit-image",
    "networkx", "safetensors", "pydantic", "isal",
)  # fmt: skip


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
        for given in (source, *([] if images_dir is None else [Path(images_dir).resolve()])):
            _refuse_overlap(folder, given)
        if folder.exists() and not folder.is_dir():
            raise RunError(f"{folder}: is a file; give another --out")
        marker = folder / "run" / "run.json"
        if not marker.exists() and (strange := _strangers(folder)):
            held = ", ".join(strange[:3])
            raise RunError(f"{folder}: not empty and not a run of Heartmend (it holds {held}); give another --out")
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(marker.parent / "lock")
        except OSError as error:
            raise RunError(f"{folder}: cannot be written to: {error.strerror}") from error
        try:
            _claim(marker, source)
            sweep_temporaries(folder)
            run = cls(folder, lock)
            run.labels.mkdir(exist_ok=True)
        except BaseException:
            lock.release()
            raise
        return run

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
        """Whether the verb finished this case (None: the whole cohort) with just this fingerprint."""
        stamp = self._stamp(verb, case_id)
        try:
            return bool(json.loads(stamp.read_text(encoding="utf-8"))["fingerprint"] == fingerprint)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def mark_done(self, verb: str, case_id: str | None, fingerprint: str, **notes: Any) -> None:
        """Stamp a case (None: the whole cohort) as finished, after all of its files are in place."""
        write_json(self._stamp(verb, case_id), {"fingerprint": fingerprint, **notes})

    def forget(self, verb: str, case_id: str | None = None) -> None:
        """Take a stamp away, before the verb's files are changed."""
        self._stamp(verb, case_id).unlink(missing_ok=True)

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
        table = {"anatomy": cohort.anatomy.name, "other": cohort.other, "file_ids": ids, "cases": cases}
        write_json(self.root / "cohort.json", table)

    def _stamp(self, verb: str, case_id: str | None) -> Path:
        # A case's stamp has a folder of its own, so that no case id can be taken for the cohort's.
        if case_id is None:
            return _inside(self.root, verb) / "done.json"
        return _inside(_inside(self.root, verb) / "done", f"{case_id}.json")


def fingerprint(*parts: Any) -> str:
    """A short text that changes when any of the parts does: tables, numbers, texts, models, `Path`s of files.

    Of a path the content counts, not the name nor the time.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        told = file_fingerprint(part) if isinstance(part, Path) else part
        digest.update(json.dumps(told, sort_keys=True, default=jsonable).encode() + b"\0")
    return digest.hexdigest()


def array_digest(array: np.ndarray) -> str:
    """A short text that changes with an array's values or shape."""
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """A short text that changes with the content of a file.

    Of a gzipped file its size, head and tail are enough, because the tail holds a checksum of all of it; so a CT
    of a hundred megabytes costs nothing.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        head = file.read(_HEAD_AND_TAIL_BYTES)
        digest.update(head)
        if head.startswith(MAGIC):
            size = file.seek(0, 2)
            file.seek(max(len(head), size - _HEAD_AND_TAIL_BYTES))
            digest.update(file.read() + size.to_bytes(8, "little"))
        else:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions of Heartmend, Python, the platform and the packages that the result may depend on."""
    found = {"heartmend": __version__, "python": platform.python_version(), "platform": platform.platform(),
             "byte order": sys.byteorder}  # fmt: skip
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _refuse_overlap(out: Path, given: Path) -> None:
    if out == given or out.is_relative_to(given):
        raise RunError(f"{out}: lies in the input folder {given}, which is never written to; give another --out")
    if given.is_relative_to(out):
        raise RunError(f"{out}: holds the input folder {given}; give another --out")


def _strangers(folder: Path) -> list[str]:
    """What is in a folder that a run killed in its first moment cannot have left there."""
    if not folder.exists():
        return []
    own = {"lock"}
    begun = folder / "run"
    inside = [p.name for p in begun.iterdir()] if begun.is_dir() and not begun.is_symlink() else []
    strange = [n for n in inside if n not in own and not n.startswith(TEMPORARY_PREFIX)]
    return sorted(strange + [p.name for p in folder.iterdir() if p != begun or not begun.is_dir()])


def _claim(marker: Path, source: Path) -> None:
    """Write whose run this is, or check it."""
    if not marker.exists():
        table = {"format": FORMAT, "format_version": FORMAT_VERSION, "labels_dir": str(source)}
        return write_json(marker, table)
    try:
        table = json.loads(marker.read_text(encoding="utf-8"))
        found = (table["format"], table["format_version"], Path(table["labels_dir"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{marker}: cannot be read as the mark of a run; give another --out") from error
    if found[:2] != (FORMAT, FORMAT_VERSION):
        raise RunError(f"{marker}: is of {found[0]} {found[1]}, this version reads {FORMAT} {FORMAT_VERSION}")
    if found[2] != source:
        raise RunError(f"{marker.parent.parent}: is the run of {found[2]}, not of {source}; give another --out")
    return None


def _inside(folder: Path, name: str) -> Path:
    """`folder / name`, where the name is that of one file and leads nowhere else."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"{name!r} cannot be the name of a file in {folder}")
    return folder / name
