"""Header of safetensors files."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from heartmend.io.tensor_header import check_finite, check_tensors, decode_tensors, read_array, read_tensor_header

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3), "mask": np.array([True, False]), "none": np.zeros((0, 4)),
    "half": np.ones(3, np.float16), "bytes": np.arange(5, dtype=np.uint8),
}  # fmt: skip


def test_the_header_describes_what_safetensors_wrote(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "x", {"about": "a test"})
    with open(tmp_path / "x", "rb") as file:
        header = read_tensor_header(file, (tmp_path / "x").stat().st_size)
        assert header.metadata == {"about": "a test"}
        assert header.specs()["weight"] == ("F32", (2, 3))
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(read_array(file, header, header.tensors[name]), array)
    decoded = decode_tensors((tmp_path / "x").read_bytes()[header.data_start :], header)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(decoded[name], array)
        assert decoded[name].dtype == array.dtype


def test_types_and_shapes_are_compared() -> None:
    data = save(ARRAYS)
    header = read_tensor_header(io.BytesIO(data), len(data))
    specs = header.specs()
    check_tensors(header, {**specs, "weight": ("F32", (None, 3))})
    for wrong, message in (
        (("F32", (3, 2)), r"'weight' is F32 \(2, 3\), expected F32 \(3, 2\)"),
        (("F32", (2,)), "expected"), (("F16", (2, 3)), "expected F16"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            check_tensors(header, {**specs, "weight": wrong})
    with pytest.raises(ValueError, match="no tensor 'bias'"):
        check_tensors(header, {**specs, "bias": ("F32", (2,))})
    del specs["mask"]
    with pytest.raises(ValueError, match="unknown tensor 'mask'"):
        check_tensors(header, specs)


def test_nan_and_infinity_are_errors() -> None:
    for number in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="'x' contains NaN or infinity"):
            check_finite("x", np.array([0, number], np.float16))
    check_finite("x", np.zeros(0))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, {"dtype": "X", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}, {"dtype": "F32", "shape": [1]}, 5, None,
        {"dtype": "U8", "shape": [2**39, 2**39], "data_offsets": [0, 4]},
        {"dtype": "U8", "shape": [2**50], "data_offsets": [0, 2**50]},
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_the_file_is_an_error(entry: object) -> None:
    text = json.dumps({"x": entry}).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(4)
    with pytest.raises(ValueError, match=r"tensor|the tensors need"):
        read_tensor_header(io.BytesIO(data), len(data))
