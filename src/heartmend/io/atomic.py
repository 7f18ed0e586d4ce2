"""Atomic writing: a file is complete or absent. It is written under a temporary name, synced, then renamed."""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as encode_tensors

from heartmend.errors import OutputError, RunError
from heartmend.io.regular import open_to_read, read_regular

TEMPORARY_PREFIX = ".heartmend-tmp-"
COMPRESSION_LEVEL = 2
"""Level of deflate: half the time of NumPy's level 6, for files that are a twelfth larger."""
# Also raised by NumPy and zipfile, for members with a wrong size or an unknown compression.
_UNREADABLE = (KeyError, MemoryError, NotImplementedError, OverflowError, RuntimeError, TypeError)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Provide a temporary path that replaces `path` when the block ends without an error.

    After a kill at any moment `path` is the complete old file or the complete new one. The folder is created if
    needed. The temporary name has the ending of the final one, because some writers choose the format by it.

    Args:
        path: the file to write.

    Yields:
        The temporary path, in the same folder. It is removed when the block ends with an error.

    Raises:
        OutputError: if the system cannot write it, for example on a full disk.
    """
    final = Path(path)
    try:
        yield from _write_then_rename(final)
    except OSError as error:
        raise OutputError(_write_error(final, error)) from error


def _write_then_rename(final: Path) -> Iterator[Path]:
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


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Provide a temporary folder that replaces the folder `path` when the block ends without an error.

    After a kill at any moment `path` is the complete old folder, the complete new one, or absent.

    Args:
        path: the folder to write.

    Yields:
        The temporary folder, beside it. It is removed when the block ends with an error.

    Raises:
        OutputError: if the system cannot write it.
    """
    final = Path(path)
    temporary, old = (final.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}" for _ in range(2))
    try:
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for written in [p for p in temporary.rglob("*") if p.is_file()]:
                _sync(written)
            if os.path.lexists(final):
                final.rename(old)
            temporary.rename(final)
            _sync(final.parent)
        finally:
            for leftover in (temporary, old):
                shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise OutputError(_write_error(final, error)) from error


def write_bytes(path: str | os.PathLike[str], *chunks: bytes | memoryview) -> None:
    """Write bytes atomically.

    Args:
        path: the file.
        chunks: parts of its content, in order.

    Raises:
        OutputError: if the system cannot write it.
    """
    with atomic_write(path) as temporary, open(temporary, "xb") as file:
        for chunk in chunks:
            file.write(chunk)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text atomically, as UTF-8, with unchanged line ends.

    Args:
        path: the file.
        text: its content; surrogates (from file names that are not UTF-8) become escape sequences, which JSON restores.

    Raises:
        OutputError: if the system cannot write it.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value atomically as indented JSON.

    Args:
        path: the file.
        value: any value of JSON; also paths, sets, NumPy scalars and arrays, and pydantic models.

    Raises:
        OutputError: if the system cannot write it.
        ValueError: if the value contains NaN or infinity.
    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=jsonable) + "\n")


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, compressed: bool = True) -> None:
    """Write named arrays atomically as one .npz file.

    Args:
        path: the file.
        arrays: the arrays by name.
        compressed: whether to compress them (deflate).

    Raises:
        OutputError: if the system cannot write it.
        TypeError: for arrays of objects, which NumPy would pickle.
    """
    objects = [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]
    if objects:
        raise TypeError(f"{path}: arrays of objects would be pickled, and pickles are never read: {objects}")
    # In memory first: on a full disk zipfile replaces the error by one of its own.
    buffer, method = io.BytesIO(), zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method, compresslevel=COMPRESSION_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    write_bytes(path, buffer.getbuffer())


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file. Nothing is unpickled.

    Args:
        path: a file written by `write_npz`.

    Returns:
        The arrays by name.

    Raises:
        RunError: if the file is missing, damaged or not regular, or contains pickled objects.
    """
    try:
        with open_to_read(Path(path)) as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        # NumPy returns a member that is no array as bytes.
        if others := [name for name, array in content.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"its member {others[0]} is not an array")
        return content
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, *_UNREADABLE) as error:
        raise RunError(f"{path}: {_damaged(error)}") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file of a run folder.

    Args:
        path: a file written by `write_json`.

    Returns:
        Its value.

    Raises:
        RunError: if the file is missing, damaged or not regular.
    """
    try:
        return json.loads(read_regular(Path(path)).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: {_damaged(error)}") from error


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays atomically as one .safetensors file.

    Args:
        path: the file.
        tensors: the arrays by name.
        metadata: texts that are stored in its header.

    Raises:
        OutputError: if the system cannot write it.
    """
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_bytes(path, encode_tensors(contiguous, metadata=dict(metadata or {})))


def _damaged(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is missing; repeat the command that writes it"
    return f"is damaged ({type(error).__name__}: {error}); remove it and repeat the command that writes it"


def _write_error(path: Path, error: OSError) -> str:
    advice = {
        errno.ENOSPC: "free some space", errno.EDQUOT: "free some of your quota", errno.EFBIG: "allow larger files",
        errno.EROFS: "give an --output that is writable", errno.EACCES: "give an --output that is writable",
    }.get(error.errno or 0, "check that the disk is available and writable")  # fmt: skip
    return f"{path}: cannot be written: {error.strerror or error}; {advice} and repeat the command"


def remove_temporaries(folder: Path) -> int:
    """Remove the temporary files and folders of killed processes. Only the process with the folder's lock may do so.

    Args:
        folder: the folder, with all its subfolders.

    Returns:
        The number of removed files and folders.
    """
    leftovers = [p for p in folder.rglob(f"{TEMPORARY_PREFIX}*") if not p.is_symlink()]
    for leftover in leftovers:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return len(leftovers)


def jsonable(value: Any) -> Any:
    """Convert a value for `json.dumps(default=jsonable)`.

    Args:
        value: a path, a set, a NumPy scalar or array, or a pydantic model.

    Returns:
        A value of JSON; sets are sorted.

    Raises:
        TypeError: for any other value.

    Example:
        >>> import numpy as np
        >>> json.dumps({"ids": {3, 1}, "mm": np.float32(0.5)}, default=jsonable)
        '{"ids": [1, 3], "mm": 0.5}'
    """
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
