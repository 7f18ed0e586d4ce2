"""Model files that are damaged or hostile: a valid small model with one change."""

from __future__ import annotations

import copy
import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from heartmend.models.model_file import CARD, TABLE, TENSORS, save_heart_model
from support.models import two_balls

Table = dict[str, Any]
Arrays = dict[str, np.ndarray]


@cache
def valid_parts() -> dict[str, bytes]:
    """Return the members of a valid model file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        save_heart_model(path, two_balls())
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


def pack(parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack members into a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return buffer.getvalue()


def with_json(text: bytes) -> bytes:
    """Make a model with another model.json."""
    return pack({**valid_parts(), TABLE: text})


def with_table(change: Callable[[Table], object]) -> bytes:
    """Make a model whose model.json is changed."""
    table = json.loads(valid_parts()[TABLE])
    change(table)
    return with_json(json.dumps(table).encode())


def with_value(path: str, value: object) -> bytes:
    """Make a model in which one value of model.json is replaced; the path has dots."""

    def change(table: Table) -> None:
        *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        inner: Any = table
        for key in parents:
            inner = inner[key]
        inner[last] = value

    return with_table(change)


def without_value(path: str) -> bytes:
    """Make a model in which one value of model.json is missing."""

    def change(table: Table) -> None:
        *parents, last = path.split(".")
        inner: Any = table
        for key in parents:
            inner = inner[key]
        del inner[last]

    return with_table(change)


def with_arrays(change: Callable[[Arrays], object]) -> bytes:
    """Make a model whose tensors are changed."""
    arrays = {name: array.copy() for name, array in load(valid_parts()[TENSORS]).items()}
    change(arrays)
    return pack({**valid_parts(), TENSORS: save(arrays)})


def with_array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Make a model in which one tensor is replaced."""
    return with_arrays(lambda arrays: arrays.update({name: np.ascontiguousarray(change(arrays[name]))}))


def with_number(name: str, number: float) -> bytes:
    """Make a model in which the first number of a tensor is replaced."""

    def change(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[0] = number
        return array

    return with_array(name, change)


def with_header(change: Callable[[Table], object]) -> bytes:
    """Make a model whose safetensors header is changed, while its numbers stay."""
    data = valid_parts()[TENSORS]
    length = struct.unpack("<Q", data[:8])[0]
    header = copy.deepcopy(json.loads(data[8 : 8 + length]))
    change(header)
    return with_header_text(json.dumps(header).encode())


def with_header_text(text: bytes, length: int | None = None) -> bytes:
    """Make a model with another safetensors header, and another length of it."""
    data = valid_parts()[TENSORS]
    old = struct.unpack("<Q", data[:8])[0]
    start = struct.pack("<Q", len(text) if length is None else length)
    return pack({**valid_parts(), TENSORS: start + text + data[8 + old :]})


def bomb(member: str, mebibytes: int) -> bytes:
    """Make a model with a member that is a few kilobytes of packed zeros."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in valid_parts().items():
            with archive.open(name, "w", force_zip64=False) as file:
                if name == member:
                    for _ in range(mebibytes):
                        file.write(bytes(2**20))
                else:
                    file.write(part)
    return buffer.getvalue()


def patched_directory(member: str, offset: int, content: bytes) -> bytes:
    """Make a model with other bytes in the directory's entry of a member."""
    data = bytearray(pack(valid_parts()))
    at = -1
    while (at := data.index(b"PK\x01\x02", at + 1)) >= 0:
        length = struct.unpack("<H", data[at + 28 : at + 30])[0]
        if data[at + 46 : at + 46 + length] == member.encode():
            data[at + offset : at + offset + len(content)] = content
            return bytes(data)
    raise AssertionError


def big_model(side: int, heads: int) -> bytes:
    """Make a consistent model of zeros with a large template."""
    table = json.loads(valid_parts()[TABLE])
    names = [f"S{number}" for number in range(heads)]
    table["shape"] |= {"heads": names, "template": {"heads": names, "side": side, "controls": 5}}
    table["anatomy"] |= {
        "structures": [
            {"id": n + 1, "name": name, "colour": [1, 2, 3], "kind": "wall"} for n, name in enumerate(names)
        ],
        "priority": names, "rules": [],
    }  # fmt: skip
    table |= {"thresholds": {}, "absent": {}, "calibres": {}, "lowest_surface_noise_mm2": {}, "metadata": {}}
    arrays = load(valid_parts()[TENSORS])
    arrays["template.level"] = np.zeros((heads, side**3), np.int8)
    arrays["net.0.weight"] = np.zeros((4, 2 + heads + 9), np.float16)
    arrays["net.4.weight"], arrays["net.4.bias"] = np.zeros((heads, 4), np.float16), np.zeros(heads, np.float16)
    return pack({**valid_parts(), TABLE: json.dumps(table).encode(), TENSORS: save(arrays)})


def _twice(table: Table) -> None:
    table["ids"].append(table["ids"][0])


def _add_id(id: str) -> Callable[[Table], None]:
    def change(table: Table) -> None:
        table["ids"][0] = id
        table["frames"][id] = table["frames"].pop("a")

    return change


def _offset(name: str, start: int, stop: int) -> Callable[[Table], None]:
    def change(header: Table) -> None:
        offsets = header[name]["data_offsets"]
        header[name]["data_offsets"] = [offsets[0] + start, offsets[1] + stop]

    return change


NAN_JSON = {
    "NaN": b"NaN", "Infinity": b"Infinity", "-Infinity": b"-Infinity", "1e999": b"1e999", "5,000 digits": b"9" * 5000,
}  # fmt: skip
_WRONG = {
    "text": "x", "negative": -1, "zero": 0, "half": 0.5, "true": True, "null": None, "list": [], "table": {},
    "64 bits": 2**63 - 1, "a million": 10**6,
}  # fmt: skip
_IDS = (
    "../../X", "/tmp/X", "..", ".", "", " ", ".hidden", "a/b", "a\\b", "a\0b", "a\nb", "\u202ea", "a" * 300, "\x1b[31m",
)  # fmt: skip

HOSTILE: dict[str, Callable[[], bytes]] = {
    **{f"shape.{key} is {name}": (lambda k=key, v=value: with_value(f"shape.{k}", v))
       for key in ("side", "width", "channels") for name, value in _WRONG.items()},
    **{f"shape.template.{key} is {name}": (lambda k=key, v=value: with_value(f"shape.template.{k}", v))
       for key in ("side", "controls") for name, value in _WRONG.items()},
    "width is 40,000": lambda: with_value("shape.width", 40_000),
    "controls is 3": lambda: with_value("shape.template.controls", 3),
    **{f"id {id[:10]!a}": (lambda id=id: with_table(_add_id(id))) for id in _IDS},
    "an id is half a character": lambda: with_json(valid_parts()[TABLE].replace(b'"a"', b'"\\ud800"')),
    "an id is a number": lambda: with_value("ids.0", 1),
    "ids is a table": lambda: with_value("ids", {"a": 1}),
    "ids is empty": lambda: with_value("ids", []),
    "ids repeats one": lambda: with_table(_twice),
    "ids is too long": lambda: with_value("ids", [str(n) for n in range(200_000)]),
    "frames lacks a case": lambda: without_value("frames.a"),
    "frames has a case too many": lambda: with_table(lambda t: t["frames"].update(z=t["frames"]["a"])),
    **{f"threshold is {value}": (lambda v=value: with_value("thresholds.LV", v))
       for value in (0, 1, -0.5, 2, 1e308, "0.5", None, True)},
    "thresholds names no structure": lambda: with_value("thresholds.Liver", 0.5),
    "absent names no head": lambda: with_value("absent", {"a": ["PV"]}),
    "absent names no case": lambda: with_value("absent", {"z": ["LV"]}),
    "absent names one twice": lambda: with_value("absent", {"a": ["LV", "LV"]}),
    "absent is a list": lambda: with_value("absent", ["LV"]),
    "calibre of no structure": lambda: with_value("calibres", {"Liver": {"mean_mm": 1, "spread_mm": 1}}),
    "calibre is negative": lambda: with_value("calibres", {"Coronary": {"mean_mm": -1, "spread_mm": 1}}),
    "calibre without spread": lambda: with_value("calibres", {"Coronary": {"mean_mm": 1}}),
    "noise is negative": lambda: with_value("lowest_surface_noise_mm2", {"LV": -1}),
    "noise is a text": lambda: with_value("lowest_surface_noise_mm2", "x"),
    "Dice is a text": lambda: with_value("metadata", {"dice": {"LV": "x"}}),
    "Dice is a number": lambda: with_value("metadata", {"dice": 5}),
    "metadata is a list": lambda: with_value("metadata", []),
    "steps are others": lambda: with_value("steps", {"codes.field": 1.0, "codes.detail": 1.0}),
    "an unknown key": lambda: with_value("script", "x"),
    "an unknown key of the shape": lambda: with_value("shape.script", "x"),
    **{f"{key} is missing": (lambda k=key: without_value(k))
       for key in ("format", "format_version", "ids", "shape", "anatomy", "thresholds", "frames", "absent", "calibres",
                   "lowest_surface_noise_mm2", "metadata", "steps", "shape.heads", "shape.template", "shape.width")},
    **{f"format_version is {value!r}": (lambda v=value: with_value("format_version", v))
       for value in (1, 99, 2.0, "2", True, None, [2], 10**18)},
    "format is another": lambda: with_value("format", "zip"),
    "heads is empty": lambda: with_value("shape.heads", []),
    "heads repeats one": lambda: with_value("shape.heads", ["LV", "LV", "RV"]),
    "heads names no structure": lambda: with_value("shape.heads", ["LV", "RV", "Liver"]),
    "heads is a text": lambda: with_value("shape.heads", "LV"),
    "heads has 100,000": lambda: with_value("shape.heads", [f"S{n}" for n in range(100_000)]),
    "template names no head": lambda: with_value("shape.template.heads", ["LV", "Aorta"]),
    "a frame is empty": lambda: with_value("frames.a.stop", [0, 0, 0]),
    "a frame is turned around": lambda: with_value("frames.a.stop", [-5, 32, 32]),
    "a frame is a kilometre long": lambda: with_value("frames.a.stop", [32, 32, 90_000]),
    "a frame has two axes": lambda: with_value("frames.a.start", [0, 0]),
    "a frame has halves": lambda: with_value("frames.a.start", [0.5, 0, 0]),
    "a grid has 10^15 voxels": lambda: with_value("frames.a.grid.shape", [10**5] * 3),
    "a grid has no voxel": lambda: with_value("frames.a.grid.shape", [0, 1, 1]),
    "a grid is singular": lambda: with_value("frames.a.grid.affine.0", [0, 0, 0, 0]),
    "a grid has another last row": lambda: with_value("frames.a.grid.affine.3", [0, 0, 0, 2]),
    "a grid has three rows": lambda: with_value("frames.a.grid.affine", [[1, 0, 0, 0]] * 3),
    "a grid has texts": lambda: with_value("frames.a.grid.affine.0", ["1", 0, 0, 0]),
    "a grid is sheared": lambda: with_value("frames.a.grid.affine.0", [2, 1, 0, 0]),
    "an anatomy without structures": lambda: with_value("anatomy.structures", []),
    "an anatomy of another type": lambda: with_value("anatomy", 5),
    "an anatomy with one id twice": lambda: with_value("anatomy.structures.1.id", 1),
    "an anatomy with a path as a name": lambda: with_value("anatomy.name", "../x"),
    "an anatomy with a path as a structure": lambda: with_value("anatomy.structures.0.name", "../../x"),
    "an anatomy with 20,000 structures": lambda: with_table(
        lambda t: t["anatomy"].update(structures=t["anatomy"]["structures"][:1] * 20_000)),
    **{f"JSON with {name}": (lambda text=text: with_json(valid_parts()[TABLE].replace(b'"LV": 0.5', b'"LV": ' + text)))
       for name, text in NAN_JSON.items()},
    "JSON with a key twice": lambda: with_json(valid_parts()[TABLE].replace(b'"ids":', b'"ids": ["a"], "ids":')),
    "JSON 100,000 deep": lambda: with_json(b"[" * 100_000 + b"]" * 100_000),
    "JSON tables 100,000 deep": lambda: with_json(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "metadata 500 deep": lambda: with_json(
        valid_parts()[TABLE].replace(b'"metadata": {}', b'"metadata": {"a": ' + b"[" * 500 + b"]" * 500 + b"}")),
    "JSON of 20 MB": lambda: with_json(b"[" + b"[]," * 7_000_000 + b"[]]"),
    "JSON of two million lists": lambda: with_json(b"[" + b"[]," * 2_000_000 + b"[]]"),
    "JSON is a list": lambda: with_json(b"[1, 2]"),
    "JSON is a text": lambda: with_json(b'"model"'),
    "JSON is empty": lambda: with_json(b""),
    "JSON is cut off": lambda: with_json(valid_parts()[TABLE][:-20]),
    "JSON is not UTF-8": lambda: with_json(b"\xff\xfe{}"),
    "JSON is a pickle": lambda: with_json(b"\x80\x04N."),
    **{f"{name} contains {number}": (lambda n=name, v=number: with_number(n, v))
       for name in ("net.0.weight", "net.4.bias", "codes.affine", "template.levels_mm")
       for number in (float("nan"), float("inf"))},
    "an affine map is huge": lambda: with_number("codes.affine", 1e30),
    "a level does not exist": lambda: with_number("template.level", 100),
    "a level is -128": lambda: with_number("template.level", -128),
    "levels do not increase": lambda: with_array("template.levels_mm", lambda a: a[::-1]),
    "levels are missing": lambda: with_array("template.levels_mm", lambda a: a[:0]),
    "levels have two axes": lambda: with_array("template.levels_mm", lambda a: a[None]),
    "more nodes are open than there are values": lambda: with_number("codes.detail.open", 255),
    "a value is missing": lambda: with_array("codes.detail.values", lambda a: a[:-1]),
    "values have more channels": lambda: with_array("codes.detail.values", lambda a: np.repeat(a, 2, axis=1)),
    "a case is missing": lambda: with_array("codes.affine", lambda a: a[:-1]),
    "a field is finer": lambda: with_array("codes.field.low", lambda a: np.repeat(a, 2, axis=-1)),
    "weights have another type": lambda: with_array("net.0.weight", lambda a: a.astype(np.float32)),
    "weights are integers": lambda: with_array("net.0.weight", lambda a: a.view(np.int16)),
    "weights have another shape": lambda: with_array("net.0.weight", lambda a: a.T),
    "a bias has one number": lambda: with_array("net.0.bias", lambda a: a[:1]),
    "a tensor is missing": lambda: with_arrays(lambda a: a.pop("net.0.bias")),
    "a tensor is unknown": lambda: with_arrays(lambda a: a.update(extra=np.zeros(3, np.float32))),
    "the table is that of a finer template": lambda: with_value("shape.template.side", 64),
    "the header is empty": lambda: with_header_text(b"{}"),
    "the header is a list": lambda: with_header_text(b"[]"),
    "the header is cut off": lambda: with_header_text(b'{"a":'),
    "the header is nested": lambda: with_header_text(b'{"a":' * 10_000),
    "the header has a key twice": lambda: with_header_text(b'{"a": 1, "a": 2}'),
    "the header has 2^63 bytes": lambda: with_header_text(b"{}", 2**63),
    "the header has no bytes": lambda: with_header_text(b"{}", 0),
    "the header is longer than the file": lambda: with_header_text(b"{}", 10**9),
    "a shape is negative": lambda: with_header(lambda h: h["net.0.bias"].update(shape=[-4])),
    "a shape is huge": lambda: with_header(lambda h: h["net.0.bias"].update(shape=[10**12, 10**12])),
    "a shape is a text": lambda: with_header(lambda h: h["net.0.bias"].update(shape="4")),
    "a shape is halves": lambda: with_header(lambda h: h["net.0.bias"].update(shape=[4.5])),
    "a shape has 1,000 axes": lambda: with_header(lambda h: h["net.0.bias"].update(shape=[1] * 1000)),
    "a type is unknown": lambda: with_header(lambda h: h["net.0.bias"].update(dtype="F4096")),
    "a type is a list": lambda: with_header(lambda h: h["net.0.bias"].update(dtype=["F16"])),
    "a tensor is a number": lambda: with_header(lambda h: h.update({"net.0.bias": 5})),
    "a tensor lacks its type": lambda: with_header(lambda h: h["net.0.bias"].pop("dtype")),
    "a tensor overlaps": lambda: with_header(_offset("net.2.bias", -2, -2)),
    "a tensor has a gap": lambda: with_header(_offset("net.2.bias", 2, 2)),
    "a tensor ends before its start": lambda: with_header(lambda h: h["net.2.bias"].update(data_offsets=[8, 0])),
    "an offset is negative": lambda: with_header(lambda h: h["net.2.bias"].update(data_offsets=[-8, 0])),
    "an offset is beyond the file": lambda: with_header(
        lambda h: h["net.2.bias"].update(data_offsets=[2**39, 2**39 + 8])),
    "30,000 tensors": lambda: with_header(lambda h: h.update(
        {f"t{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(30_000)})),
    "metadata of numbers": lambda: with_header(lambda h: h.update(__metadata__={"a": 1})),
    "tensors are empty": lambda: pack({**valid_parts(), TENSORS: b""}),
    "tensors are a pickle": lambda: pack({**valid_parts(), TENSORS: b"\x80\x04N."}),
    "tensors have a byte too many": lambda: pack({**valid_parts(), TENSORS: valid_parts()[TENSORS] + b"\0"}),
    "tensors are cut off": lambda: pack({**valid_parts(), TENSORS: valid_parts()[TENSORS][:-1]}),
    "a bomb as tensors": lambda: bomb(TENSORS, 200),
    "a bomb as JSON": lambda: bomb(TABLE, 100),
    "a bomb as the card": lambda: bomb(CARD, 100),
    "a template of 160 MB zeros": lambda: big_model(128, 80),
    "a member is missing": lambda: pack({TABLE: valid_parts()[TABLE], TENSORS: valid_parts()[TENSORS]}),
    "a member too many": lambda: pack({**valid_parts(), "run.sh": b"x"}),
    "a member leads out": lambda: pack({**valid_parts(), "../../x": b"x"}),
    "3,000 members": lambda: pack({**valid_parts(), **{f"{n}": b"" for n in range(3000)}}),
    "a member is encrypted": lambda: patched_directory(TABLE, 8, b"\x01\x00"),
    "a member is packed by bzip2": lambda: pack(valid_parts(), zipfile.ZIP_BZIP2),
    "a member is packed by LZMA": lambda: pack(valid_parts(), zipfile.ZIP_LZMA),
    "a member is packed by an unknown method": lambda: patched_directory(TABLE, 10, b"\x63\x00"),
    "a directory with a smaller size": lambda: patched_directory(TENSORS, 24, struct.pack("<I", 100)),
    "a directory with a larger size": lambda: patched_directory(TENSORS, 24, struct.pack("<I", 10**6)),
    "a directory with 4 GB": lambda: patched_directory(TENSORS, 24, struct.pack("<I", 2**32 - 2)),
    "a directory with a small packed size": lambda: patched_directory(TENSORS, 20, struct.pack("<I", 10)),
    "a directory with a large packed size": lambda: patched_directory(TENSORS, 20, struct.pack("<I", 2**31)),
    "a directory with another checksum": lambda: patched_directory(TENSORS, 16, b"abcd"),
    "a directory with another name": lambda: patched_directory(TENSORS, 46, b"x"),
    "a directory with another position": lambda: patched_directory(TENSORS, 42, struct.pack("<I", 10**6)),
    "no file": lambda: b"",
    "zeros": lambda: bytes(1000),
    "text": lambda: b"a model",
    "a bare directory": lambda: b"PK\x05\x06" + bytes(18),
    "a directory of 4 GB": lambda: b"PK\x05\x06" + bytes(8) + b"\xff" * 8 + bytes(2),
    "a zip64 archive": lambda: b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + b"\xff" * 16 + bytes(2),
    "an archive that is cut off": lambda: pack(valid_parts())[:-30],
    "an archive with a comment": lambda: pack(valid_parts())[:-2] + b"\x05\x00hello",
    "an archive with bytes after it": lambda: pack(valid_parts()) + b"x" * 100,
    "a pickle": lambda: b"\x80\x04cos\nsystem\n(S'x'\ntR.",
}  # fmt: skip
"""Model files by what is wrong with them."""
