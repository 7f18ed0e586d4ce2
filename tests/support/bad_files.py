"""Bad input files of every kind, and the expected parts of their error messages."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from support.volumes import save_nifti, some_labels

SPACING = np.diag([2.0, 2.0, 2.0, 1.0])


@dataclass(frozen=True)
class Bad:
    """A kind of bad input.

    Attributes:
        make: creates it at a path that ends with .nii.gz.
        message: the fault and the remedy in the error.
    """

    make: Callable[[Path], object]
    message: tuple[str, str]


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _values(change: Callable[[np.ndarray], np.ndarray], dtype: object = np.uint8) -> Callable[[Path], object]:
    return lambda path: save_nifti(path, change(some_labels((12, 12, 12)).astype(np.float64)), dtype, SPACING)


def _set(value: float, dtype: object) -> Callable[[Path], object]:
    def change(values: np.ndarray) -> np.ndarray:
        values[3, 4, 5] = value
        return values

    return _values(change, dtype)


def _affine(rows: list[list[float]]) -> Callable[[Path], object]:
    return lambda path: nib.save(nib.Nifti1Image(some_labels((12, 12, 12)), np.array([*rows, [0, 0, 0, 1.0]])), path)


def header_changed(path: Path, **fields: object) -> Path:
    """A valid label map with changed header fields; `pixdim` may be a list."""
    image = nib.Nifti1Image(some_labels((12, 12, 12)), SPACING)
    image.header.set_qform(SPACING, code=1)
    raw = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + bytes(raw[348:])))
    return path


def _header(**fields: object) -> Callable[[Path], object]:
    return lambda path: header_changed(path, **fields)


def truncated(path: Path) -> None:
    save_nifti(path, some_labels((12, 12, 12)), affine=SPACING)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _longer(path: Path) -> None:
    header_changed(path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(5000)))


BAD = {
    "truncated gzip": Bad(truncated, ("truncated", "copy or export it again")),
    "damaged gzip": Bad(_bytes(b"\x1f\x8b\x08\0" + b"\7" * 400), ("cannot be decompressed", "export it again")),
    "text": Bad(_bytes(b"patient: Jane Doe\n" * 40), ("not NIfTI: it is text", "export it as NIfTI")),
    "DICOM": Bad(_bytes(bytes(128) + b"DICM" + bytes(400)), ("looks like DICOM", "(convert the series to NIfTI)")),
    "a pickle": Bad(_bytes(pickle.dumps({"a": list(range(200))})), ("looks like a Python pickle", "export it as")),
    "Git LFS": Bad(_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 9), ("Git LFS pointer", "fetch the file")),
    "zero bytes": Bad(_bytes(b""), ("is empty (0 bytes)", "copy or export it again")),
    "zeros": Bad(_bytes(bytes(4000)), ("not NIfTI: it starts with zeros", "export it")),
    "a folder": Bad(lambda path: path.mkdir(), ("is a folder", "remove it")),
    "a dead link": Bad(lambda path: path.symlink_to("nowhere"), ("link to a missing file", "remove it")),
    "a pipe": Bad(lambda path: os.mkfifo(path), ("a pipe", "remove it")),
    "2D": Bad(lambda path: save_nifti(path, some_labels((12, 12))), ("has 2 axes", "give the full volume")),
    "4D": Bad(lambda path: save_nifti(path, np.zeros((4, 5, 6, 3))), ("has 4 axes", "one frame")),
    "one-hot": Bad(lambda path: save_nifti(path, np.eye(4)[some_labels() % 4]), ("has 4 axes", "argmax")),
    "5D": Bad(lambda path: save_nifti(path, np.zeros((4, 5, 6, 1, 3))), ("has 5 axes", "give a volume of three axes")),
    "halves": Bad(_set(2.5, np.float32), ("not whole, such as 2.5", "give the map of ids")),
    "NaN": Bad(_set(np.nan, np.float32), ("NaN or infinity in 1 voxel", "set each to 0")),
    "infinity": Bad(_set(np.inf, np.float64), ("NaN or infinity", "set each to 0")),
    "a negative id": Bad(_set(-1, np.int16), ("negative ids, down to -1", "give these voxels their label")),
    "a CT": Bad(_values(lambda v: v * 300 - 1000, np.int16), ("negative ids", "give the label map")),
    "an unknown id": Bad(_set(11, np.uint8), ("does not have: 11 (1 voxel)", "--unknown-labels keep")),
    "an id above 255": Bad(_set(300, np.int16), ("300 (1 voxel)", "--unknown-labels keep")),
    "an id above 65535": Bad(_set(70000, np.int32), ("ids up to 70000, above 65535", "give the label map")),
    "empty": Bad(_values(np.zeros_like), ("it is empty", "give the map with the labels")),
    "spacing zero": Bad(_header(pixdim=[1, 2, 0, 2, 0, 0, 0, 0], sform_code=0), ("2 x 0 x 2", "set the true one")),
    "spacing negative": Bad(
        _header(pixdim=[1, -2, 2, 2, 0, 0, 0, 0], sform_code=0, qform_code=0), ("-2 x 2 x 2 mm", "set the true one")
    ),
    "spacing far off": Bad(
        _header(pixdim=[1, 2, 2, 2000, 0, 0, 0, 0], sform_code=0), ("outside 0.005 to 100.0 mm", "correct the header")
    ),
    "singular": Bad(_affine([[2, 2, 0, 0], [2, 2, 0, 0], [0, 0, 2, 0]]), ("singular affine", "correct the header")),
    "sheared": Bad(_affine([[2, 0.2, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]]), ("5.7 degrees off", "right angles")),
    "two spacings": Bad(_header(pixdim=[1, 2, 2, 3, 0, 0, 0, 0]), ("sform and qform disagree: voxels of 2 x 2 x 2 mm "
        "in the sform, 2 x 2 x 3 mm", "set both to it")),
    "two handednesses": Bad(_header(pixdim=[-1, 2, 2, 2, 0, 0, 0, 0]), ("to RAI in the qform", "set both to it")),
    "a shape too small": Bad(_longer, ("has more than the 1728 bytes", "its header is wrong")),
    "a shape too large": Bad(_header(dim=[3, 3000, 3000, 3000, 1, 1, 1, 1]), ("(3000, 3000, 3000)", "export it again")),
    "complex numbers": Bad(
        _header(datatype=32, bitpix=64), ("values of type complex64", "export it with whole or real numbers")
    ),
}  # fmt: skip
