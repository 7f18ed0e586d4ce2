"""Digests of files and settings."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from heartmend.io.atomic import jsonable
from heartmend.io.forms.files import files_of
from heartmend.io.gzipped import GZIP_MAGIC
from heartmend.io.reading import readable_file

_HEAD_AND_TAIL_BYTES = 1 << 16


def compute_fingerprint(*parts: Any) -> str:
    """Compute the digest of several values.

    Args:
        parts: values of JSON, pydantic models, or a `Path`, of which the content counts and not the name or the time.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> compute_fingerprint({"a": 1}, "b") == compute_fingerprint({"a": 1}, "b")
        True
        >>> compute_fingerprint(1) == compute_fingerprint(2)
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        value = file_fingerprint(part) if isinstance(part, Path) else part
        digest.update(json.dumps(value, sort_keys=True, default=jsonable).encode() + b"\0")
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Compute the digest of the content of a file, of a header with its file of voxels, or of all files of a folder.

    Of a gzipped file only the size, the first and the last 64 KiB are read: its end contains a checksum of all data.

    Args:
        path: the file or the folder.

    Returns:
        32 hexadecimal digits.

    Raises:
        BadInputError: if it cannot be read.
    """
    files = files_of(path)
    if files != [path]:
        listed = [(os.path.relpath(file, path.parent), _single_fingerprint(file)) for file in files]
        return hashlib.blake2b(json.dumps(listed).encode(), digest_size=16).hexdigest()
    return _single_fingerprint(path)


def _single_fingerprint(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with readable_file(path), open(path, "rb") as file:
        head = file.read(_HEAD_AND_TAIL_BYTES)
        digest.update(head)
        if head.startswith(GZIP_MAGIC):
            size = file.seek(0, 2)
            file.seek(max(len(head), size - _HEAD_AND_TAIL_BYTES))
            digest.update(file.read() + size.to_bytes(8, "little"))
        else:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
