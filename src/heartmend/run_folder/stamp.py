"""The stamp of a stage: what its result was made from, and the digests of the files that it wrote."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from heartmend.errors import RunError
from heartmend.io.atomic import read_json, write_json
from heartmend.io.forms.files import files_of
from heartmend.io.regular import check_regular, open_to_read

_SETTLED_NS = 1_000_000_000
"""A file is digested again as long as it is younger: two changes in the same tick of the clock look like one."""
_DIGESTS: dict[Path, tuple[tuple[int, ...], str]] = {}
"""Identity and digest of the files that this process has read, by path."""


@dataclass(frozen=True)
class Stamp:
    """The record that a stage has finished a case, or the whole cohort.

    Attributes:
        fingerprint: of the settings and inputs that the result depends on.
        files: digest of the content of each file that the stage wrote, by its path relative to OUT.
        reports: the same for files that no stage reads, such as the log of a fit; damage to one is no reason to repeat
            the stage.
    """

    fingerprint: str
    files: dict[str, str]
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short text that changes with the content of any of the files, but not of the reports."""
        listed = "\n".join(f"{name} {digest}" for name, digest in sorted(self.files.items()))
        return hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()

    @classmethod
    def of_files(cls, fingerprint: str, files: Iterable[Path], output: Path, reports: Iterable[Path] = ()) -> Stamp:
        """Make the stamp of files below `output`.

        Args:
            fingerprint: fingerprint of what the files depend on.
            files: files that later stages read.
            output: OUT, which the paths are relative to.
            reports: files that no stage reads.

        Returns:
            The stamp.
        """
        of_files, of_reports = (
            {path.relative_to(output).as_posix(): content_digest(path) for path in paths} for paths in (files, reports)
        )
        return cls(fingerprint, of_files, of_reports)

    def write(self, path: Path) -> None:
        """Write the stamp as JSON.

        Args:
            path: path of the stamp.
        """
        reports = {"reports": self.reports} if self.reports else {}
        write_json(path, {"fingerprint": self.fingerprint, "files": self.files, **reports})

    @classmethod
    def read(cls, path: Path) -> Stamp | None:
        """Read a stamp.

        Args:
            path: path of the stamp.

        Returns:
            The stamp; None where there is none, or it cannot be read.
        """
        try:
            table = read_json(path)
            files, reports = (
                {str(name): str(digest) for name, digest in listed.items()}
                for listed in (table["files"], table.get("reports", {}))
            )
            return cls(str(table["fingerprint"]), files, reports)
        except (RunError, KeyError, TypeError, AttributeError):
            return None


def content_digest(path: Path) -> str:
    """Compute the digest of the whole content of regular files; once in a process as long as they do not change.

    Args:
        path: a file; of a label map also a header with its file of voxels, or a folder (`files_of`).

    Returns:
        32 hexadecimal digits (BLAKE2b).

    Raises:
        RunError: if there is a link, a pipe or a device in its place.
        OSError: if it is missing or cannot be read.
    """
    if path.is_symlink():
        # Not followed: it could lead to a folder of any size.
        check_regular(path)
    files = files_of(path)
    if files == [path]:
        return _file_digest(path)
    listed = "\n".join(f"{os.path.relpath(file, path.parent)} {_file_digest(file)}" for file in files)
    return hashlib.blake2b(listed.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _file_digest(path: Path) -> str:
    with open_to_read(path) as file:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if (known := _DIGESTS.get(path)) is not None and known[0] == identity:
            return known[1]
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED_NS:
        _DIGESTS[path] = identity, digest
    return digest
