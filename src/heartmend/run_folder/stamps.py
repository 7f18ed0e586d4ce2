"""Stamps: what a stage has finished, from what, and the digests of the files that it wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from heartmend.errors import RunError
from heartmend.io.atomic import read_json, write_json
from heartmend.run_folder.paths import FUSE, RunPaths, inside


@dataclass(frozen=True)
class Stamp:
    """The record that a stage has finished a case, or the whole cohort.

    Attributes:
        fingerprint: of the settings and inputs that the result depends on.
        files: digest of the content of each file that the stage wrote, by its path relative to OUT.
    """

    fingerprint: str
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """A short text that changes with the content of any of the files."""
        listed = "\n".join(f"{name} {digest}" for name, digest in sorted(self.files.items()))
        return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()

    @classmethod
    def of_files(cls, fingerprint: str, files: Iterable[Path], output: Path) -> Stamp:
        """Make the stamp of files below `output`."""
        return cls(fingerprint, {path.relative_to(output).as_posix(): content_digest(path) for path in files})

    def write(self, path: Path) -> None:
        """Write the stamp as JSON."""
        write_json(path, {"fingerprint": self.fingerprint, "files": self.files})

    @classmethod
    def read(cls, path: Path) -> Stamp | None:
        """Read a stamp; None where there is none, or it cannot be read."""
        try:
            table = read_json(path)
            return cls(str(table["fingerprint"]), {str(name): str(digest) for name, digest in table["files"].items()})
        except (RunError, KeyError, TypeError, AttributeError):
            return None


def content_digest(path: Path) -> str:
    """Compute the digest of the whole content of a file.

    Args:
        path: the file.

    Returns:
        32 hexadecimal digits (BLAKE2b).
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class StampedStages(RunPaths):
    """Stamps of the stages of a run."""

    def is_done(self, stage: str, case_id: str | None, fingerprint: str) -> bool:
        """Check whether a stage has finished a case (None: the whole cohort) with this fingerprint.

        It has not where one of its files is missing or was changed. A repaired label map may have been corrected by
        hand since; it is left as it is.
        """
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        if stamp is None or stamp.fingerprint != fingerprint:
            return False
        return all(self._is_intact(name, digest, stamp) for name, digest in stamp.files.items())

    def finish(self, stage: str, case_id: str | None, fingerprint: str, files: Iterable[Path] = ()) -> None:
        """Stamp a case (None: the whole cohort) as finished, after all files of it are in place."""
        Stamp.of_files(fingerprint, files, self.output).write(self._stamp_path(stage, case_id))

    def forget(self, stage: str, case_id: str | None = None) -> None:
        """Remove a stamp, before the files of the stage are changed."""
        self._stamp_path(stage, case_id).unlink(missing_ok=True)

    def digest(self, stage: str, case_id: str | None = None) -> str:
        """Return a short text that changes with what a stage wrote for a case; empty where it has not finished it."""
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        return "" if stamp is None else stamp.digest

    def stamped(self, stage: str, case_id: str | None = None) -> str:
        """Return the fingerprint with which a stage has finished a case; empty where it has not finished it."""
        stamp = Stamp.read(self._stamp_path(stage, case_id))
        return "" if stamp is None else stamp.fingerprint

    def withdraw(self, kept: Iterable[str]) -> list[Path]:
        """Move the results of all cases but those `kept` from OUT/labels to OUT/run/withdrawn.

        A case that is skipped now, or has been removed, may have been repaired by an earlier run; its old result among
        the new ones would look like one of them.

        Returns:
            The files, where they are now.
        """
        kept, moved = set(kept), list[Path]()
        for path in sorted((inside(self._root, FUSE) / "done").glob("*.json")):
            if path.stem in kept:
                continue
            stamp = Stamp.read(path)
            for name in stamp.files if stamp is not None else ():
                result = inside(self.labels, Path(name).name)
                if name == f"labels/{result.name}" and result.is_file():
                    target = inside(self._folder("withdrawn"), result.name)
                    result.replace(target)
                    moved.append(target)
            path.unlink(missing_ok=True)
        return moved

    def _stamp_path(self, stage: str, case_id: str | None) -> Path:
        # The stamps of cases have a folder of their own, so no case id can be taken for the cohort's.
        if case_id is None:
            return inside(self._root, stage) / "done.json"
        return inside(inside(self._root, stage) / "done", f"{case_id}.json")

    def _is_intact(self, name: str, digest: str, stamp: Stamp) -> bool:
        path = self.output / name
        if path.parent == self.labels:
            return path.is_file()
        try:
            return Stamp.of_files(stamp.fingerprint, [path], self.output).files[name] == digest
        except (OSError, ValueError, KeyError):
            return False
