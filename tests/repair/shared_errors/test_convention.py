"""Tests of convention files: what they contain, what is refused, and their use on another template."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from heartmend.errors import BadInputError
from heartmend.io.atomic import write_safetensors
from heartmend.models.template import TemplateShape
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.correction import SIDE, Correction

SIZE_MM = (100.0, 100.0, 100.0)


def two_balls(heads: tuple[str, ...], shift: float = 0.0, side: int = 24) -> TemplateShape:
    """A template with two balls of 22 and 16 mm, displaced by some mm along x."""
    shape = TemplateShape(heads, side)
    at = ((np.indices((side,) * 3) + 0.5) / side - 0.5) * 100
    tables = []
    for x, radius in ((-18.0, 22.0), (24.0, 16.0)):
        place = at - np.array([x + shift, 0, 0]).reshape(3, 1, 1, 1)
        tables.append(radius - np.sqrt((place**2).sum(axis=0)))
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(tables[: len(heads)], axis=-1).reshape(side**3, -1)))
    return shape


def correction(heads: tuple[str, ...] = ("LV", "RV")) -> Correction:
    """Moves the right half of the frame by 2 mm, and the coronaries by -1 mm."""
    table = np.zeros((SIDE, SIDE, SIDE, len(heads)), np.float32)
    table[SIDE // 2 :] = 2.0
    return Correction(table, heads, {"Coronary": -1.0})


def convention() -> Convention:
    return Convention.of(two_balls(("LV", "RV")), np.array(SIZE_MM), correction(), "heart")


def test_a_file_contains_the_convention(tmp_path: Path) -> None:
    convention().write(tmp_path / "c.safetensors")
    read = Convention.read(tmp_path / "c.safetensors")
    assert np.array_equal(read.template_mm, convention().template_mm)
    assert np.array_equal(read.correction.table_mm, correction().table_mm)
    assert (read.size_mm, read.anatomy) == (SIZE_MM, "heart")
    assert (read.correction.heads, read.correction.tubes_mm) == (("LV", "RV"), {"Coronary": -1.0})


def test_on_its_own_template_it_is_unchanged() -> None:
    found = convention().on_template(two_balls(("LV", "RV")), np.array(SIZE_MM))
    assert np.array_equal(found.table_mm, correction().table_mm)


def test_on_another_template_it_follows_the_anatomy() -> None:
    # The other mean heart lies 12 mm further to the right: so does the part that moves.
    found = convention().on_template(two_balls(("LV", "RV"), shift=12.0), np.array(SIZE_MM))
    along = np.array([[x / 50, 0.0, 0.0] for x in (-10.0, 4.0, 20.0, 36.0)])
    movement = found.at(along)[:, 0]
    assert movement[0] == pytest.approx(0.0, abs=0.1)
    assert movement[1] < 0.8 and movement[2] > 1.2
    assert movement[3] == pytest.approx(2.0, abs=0.1)
    assert found.tubes_mm == {"Coronary": -1.0}


def test_structures_that_the_other_data_set_lacks_are_left_out() -> None:
    found = convention().on_template(two_balls(("LV",)), np.array(SIZE_MM))
    assert found.heads == ("LV",) and found.table_mm.shape[-1] == 1


def test_without_a_common_structure_it_is_refused() -> None:
    with pytest.raises(BadInputError, match="LV, RV"):
        convention().on_template(two_balls(("LA",)), np.array(SIZE_MM))


def _header(heads: str = '"LV","RV"', side: str = "24", size_mm: str = "100.0,100.0,100.0") -> str:
    return f'{{"heads":[{heads}],"side":{side},"correction_side":40,"size_mm":[{size_mm}],"anatomy":"heart"}}'


def _written(path: Path, **change: object) -> Path:
    tensors = {"template_mm": convention().template_mm, "correction_mm": correction().table_mm.astype(np.float16)}
    header = _header()
    tensors |= {name: value for name, value in change.items() if name in tensors}  # type: ignore[misc]
    write_safetensors(path, tensors, {"convention": str(change.get("header", header))})
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"header": ""},
        {"header": "[1]"},
        {"header": _header(size_mm="0,100,100")},
        {"header": _header(heads='"../LV","RV"')},
        {"header": _header(heads='"LV"')},
        {"header": _header(side="1000000")},
        {"header": _header(size_mm="NaN,100,100")},
        {"header": _header(heads='"LV","LV"')},
        {"header": _header(size_mm="1e-9,100,100")},
        {"template_mm": np.full((24, 24, 24, 2), 1e30, np.float32)},
        {"correction_mm": np.full((SIDE, SIDE, SIDE, 2), np.nan, np.float16)},
        {"correction_mm": np.full((SIDE, SIDE, SIDE, 2), 50.0, np.float16)},
        {"correction_mm": np.zeros((2, 2, 2, 2), np.float16)},
        {"template_mm": np.zeros((24, 24, 24, 2), np.float64)},
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, change: dict[str, object]) -> None:
    path = _written(tmp_path / "c.safetensors", **change)
    with pytest.raises(BadInputError, match=r"c\.safetensors: is no convention .*heartmend convention") as found:
        Convention.read(path)
    assert len(str(found.value)) < 600


def test_a_template_without_bounds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path, count = tmp_path / "c.safetensors", 10
    info = _header(heads=",".join(f'"s{n}"' for n in range(count)), side="256")
    table: dict[str, Any] = {"__metadata__": {"convention": info}}
    end = 0
    for name, dtype, side in (("template_mm", "F32", 256), ("correction_mm", "F16", SIDE)):
        stop = end + (4 if dtype == "F32" else 2) * side**3 * count
        table[name] = {"dtype": dtype, "shape": [side] * 3 + [count], "data_offsets": [end, stop]}
        end = stop
    text = json.dumps(table).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    tracemalloc.start()
    with pytest.raises(BadInputError, match=r"c\.safetensors: .*10 structures of 256 cells"):
        Convention.read(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no convention")
    for path in (tmp_path / "text", tmp_path / "missing", tmp_path):
        with pytest.raises(BadInputError, match="is no convention"):
            Convention.read(path)
