"""Files that are either whole or not there: written beside their final name, synced, then renamed."""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as encode_tensors

from heartmend.errors import OutputError, RunError

TEMPORARY_PREFIX = ".heartmend-tmp-"
PACKED_LEVEL = 2
"""Of deflate: half the time of NumPy's level 6, for files that are a twelfth larger."""
# What NumPy and zipfile raise besides for members that claim too much, or are packed in a way that nobody knows.
_UNREADABLE = (KeyError, MemoryError, NotImplementedError, OverflowError, RuntimeError, TypeError)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; when the block ends well it becomes `path`, else it goes.

    The temporary name keeps the ending of the final one, because some writers choose the format by it. The
    folder is made when it is not there. After a kill at any moment `path` is the old file or the new one, whole.
    Raises OutputError when the system will not write it, such as on a full disk.
    """
    final = Path(path)
    try:
        yield from _written(final)
    except OSError as error:
        raise OutputError(_unwritten(final, error)) from error


def _written(final: Path) -> Iterator[Path]:
    final.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(final.suffixes[-2:])
    if len(ending) > 16:
        ending = final.suffix
    temporary = final.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{ending}"
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(final.parent)


def write_bytes(path: str | os.PathLike[str], *chunks: bytes | memoryview) -> None:
    """Write the chunks, one after the other, as one file, atomically."""
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        for chunk in chunks:
            file.write(chunk)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically, with the line ends as they are in `text`.

    Bytes of a file's name that are no UTF-8 become a backslash escape, which JSON reads as what they were.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON atomically; paths and NumPy scalars and arrays are allowed, NaN is not."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=jsonable) + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, compressed: bool = True) -> None:
    """Write named arrays as one .npz atomically; `read_npz` reads it. TypeError for arrays that would be pickled."""
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects:
        raise TypeError(f"{path}: arrays of objects would be pickled, which nothing here ever reads: {objects}")
    # In memory first: on a full disk zipfile would hide the error behind one of its own.
    packed, method = io.BytesIO(), zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", method, compresslevel=PACKED_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    write_bytes(path, packed.getbuffer())


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a file that `write_npz` wrote, all in memory. Never unpickles.

    Raises RunError when the file is missing or damaged, or holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        # A member that is no array comes as its bytes.
        if strange := [name for name, array in held.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"holds {strange[0]}, which is no array")
        return held
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, *_UNREADABLE) as error:
        raise RunError(f"{path}: {_damaged(error)}") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value of a JSON file of a run. Raises RunError when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: {_damaged(error)}") from error


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays and a table of strings as one .safetensors file, atomically."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_bytes(path, encode_tensors(contiguous, metadata=dict(metadata or {})))


def _damaged(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing; give the command again that makes it"
    return f"is damaged ({type(error).__name__}: {error}); remove it and give the command again that makes it"


def _unwritten(path: Path, error: OSError) -> str:
    advice = {
        errno.ENOSPC: "free some space", errno.EDQUOT: "free some of your quota", errno.EFBIG: "allow larger files",
        errno.EROFS: "give an --out that can be written to", errno.EACCES: "give an --out that can be written to",
    }.get(error.errno or 0, "see that the disk is there and can be written to")  # fmt: skip
    return f"{path}: cannot be written: {error.strerror or error}; {advice} and give the same command again"


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed writers left under `folder`; only for one who holds the folder's lock."""
    leftovers = [p for p in folder.rglob(f"{TEMPORARY_PREFIX}*") if p.is_file() and not p.is_symlink()]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def jsonable(value: Any) -> Any:
    """`json.dumps(default=...)`: NumPy scalars and arrays, paths, sets in order, pydantic models."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot be written as JSON: {type(value).__name__}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
