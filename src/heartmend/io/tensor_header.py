"""Header of a safetensors file, checked before any tensor is read: names, types, shapes and positions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from typing import IO

import numpy as np

from heartmend.io.strict_json import parse_json

MAX_HEADER_BYTES = 2**22
"""Largest header: it contains the ids of a cohort."""
MAX_TENSORS = 10_000
_MAX_AXES, _MAX_LENGTH = 8, 2**40
_MAX_TEXTS = 16
_DTYPES = {
    "BOOL": "?", "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4",
    "F32": "<f4", "I64": "<i8", "U64": "<u8", "F64": "<f8",
}  # fmt: skip

TensorSpec = tuple[str, tuple[int | None, ...]]
"""Type of a tensor as safetensors writes it, and its shape; None: any length."""


@dataclass(frozen=True)
class TensorInfo:
    """Position of a tensor in a file.

    Attributes:
        dtype: its type as safetensors writes it, such as "F32".
        shape: its shape.
        start: its first byte, counted from the end of the header.
        stop: the byte after its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class TensorHeader:
    """Header of a safetensors file.

    Attributes:
        tensors: the tensors by name.
        data_start: first byte of the tensors in the file.
        metadata: texts by name.
    """

    tensors: Mapping[str, TensorInfo]
    data_start: int
    metadata: Mapping[str, str] = field(default_factory=dict)

    def specs(self) -> dict[str, TensorSpec]:
        """Return type and shape of each tensor.

        Returns:
            Type and shape by name of the tensor.
        """
        return {name: (tensor.dtype, tensor.shape) for name, tensor in self.tensors.items()}


def read_tensor_header(file: IO[bytes], size: int) -> TensorHeader:
    """Read and check the header of a safetensors file.

    Args:
        file: the file, at its start.
        size: its size in bytes.

    Returns:
        The header. Its tensors fill the file without gaps and do not overlap.

    Raises:
        ValueError: if the header is damaged, too large, or does not fit the size of the file.
    """
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
        limit = max(min(size - 8, MAX_HEADER_BYTES), 0)
        raise ValueError(f"the header has {length} bytes, at most {limit} are possible")
    table = parse_json(file.read(length))
    if not isinstance(table, dict):
        raise ValueError("the header is no table")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("the header has no table of texts as __metadata__")
    if len(table) > MAX_TENSORS or len(metadata) > _MAX_TEXTS:
        raise ValueError(f"it contains {len(table)} tensors, the limit is {MAX_TENSORS}")
    tensors = {name: _tensor(name, entry) for name, entry in table.items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            raise ValueError(f"tensor {name[:60]!r} starts at byte {tensor.start}, expected {end}")
        end = tensor.stop
    if end != size - 8 - length:
        raise ValueError(f"the tensors need {end} bytes, the file contains {size - 8 - length}")
    return TensorHeader(tensors, 8 + length, metadata)


def _tensor(name: str, entry: object) -> TensorInfo:
    label = f"tensor {name[:60]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{label} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ValueError(f"{label} has an unknown type")
    if not _are_counts(shape) or len(shape) > _MAX_AXES or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{label} has a shape or a position that is not possible")
    needed = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise ValueError(f"{label} has {offsets[1] - offsets[0]} bytes, its shape needs {needed}")
    return TensorInfo(dtype, tuple(shape), offsets[0], offsets[1])


def _are_counts(values: object) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n <= _MAX_LENGTH for n in values)


def check_tensors(header: TensorHeader, expected: Mapping[str, TensorSpec]) -> None:
    """Check names, types and shapes of all tensors of a file.

    Args:
        header: the header.
        expected: type and shape of every tensor by name.

    Raises:
        ValueError: if a tensor is missing, unknown, or has another type or shape.
    """
    if missing := [name for name in expected if name not in header.tensors]:
        raise ValueError(f"it has no tensor {missing[0]!r}")
    if unknown := [name for name in header.tensors if name not in expected]:
        raise ValueError(f"it has an unknown tensor {unknown[0][:60]!r}")
    for name, (dtype, shape) in expected.items():
        found = header.tensors[name]
        fits = len(found.shape) == len(shape) and all(
            wanted in (None, n) for n, wanted in zip(found.shape, shape, strict=True)
        )
        if found.dtype != dtype or not fits:
            wanted = tuple("any" if n is None else n for n in shape)
            raise ValueError(f"tensor {name!r} is {found.dtype} {found.shape}, expected {dtype} {wanted}")


def decode_tensors(data: bytes | bytearray, header: TensorHeader) -> dict[str, np.ndarray]:
    """Return the tensors of a file that is in memory, as views of its bytes.

    Args:
        data: the file without its header.
        header: its header.

    Returns:
        The tensors by name.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    arrays = {}
    for name, tensor in header.tensors.items():
        count = math.prod(tensor.shape)
        flat = np.frombuffer(data, _DTYPES[tensor.dtype], count, tensor.start)
        arrays[name] = flat.reshape(tensor.shape)
        check_finite(name, arrays[name])
    return arrays


def read_array(file: BufferedReader, header: TensorHeader, tensor: TensorInfo) -> np.ndarray:
    """Read one tensor of an open file.

    Args:
        file: the file.
        header: its header.
        tensor: position of the tensor.

    Returns:
        The tensor.

    Raises:
        ValueError: if the file ends before it.
        OSError: if it cannot be read.
    """
    array = np.empty(tensor.shape, _DTYPES[tensor.dtype])
    file.seek(header.data_start + tensor.start)
    if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
        raise ValueError("the file ends within a tensor")
    return array


def check_finite(name: str, values: np.ndarray) -> None:
    """Check that no number of a tensor is NaN or infinite.

    Args:
        name: name of the tensor, for the message.
        values: the tensor.

    Raises:
        ValueError: if a number is NaN or infinite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"tensor {name!r} contains NaN or infinity")
