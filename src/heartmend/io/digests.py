"""Digests of files, arrays and settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from heartmend.io.atomic import jsonable
from heartmend.io.gzipped import GZIP_MAGIC
from heartmend.io.reading import readable_file

_HEAD_AND_TAIL_BYTES = 1 << 16


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
    of a hundred megabytes costs nothing. BadInputError when it cannot be read.
    """
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
