"""Hostile model files, given to `render`, `mesh`, `population`, `embed`, and `repair_segments` (3D Slicer)."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.commands import Ended, preload, run_command, run_function
from attacks.lab import Lab, Outcome

COUNT = 300
ACCEPTED_S, ACCEPTED_MB = 120.0, 2000.0
"""Limits of a changed model that is valid, which is evaluated."""
COMMANDS = ("render", "mesh", "population", "embed", "repair_segments")
TENSORS, TABLE, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
VALUES: tuple[Any, ...] = (
    -1, 0, 10**6, 10**12, 2**63, -(2**63), 1e308, -1e308, 1e-308, float("nan"), float("inf"), None, True, "", "x",
    "x" * 10_000, [], {}, [[]], "../../X", "/tmp/X", "\u0000", "<b>", 0.5, [1] * 5000,
)  # fmt: skip
IDS = (
    "../../X", "/tmp/X", "a/b", "", ".", "..", "a\0b", "a\nb", "a\x1b[2Jb", "x" * 300, "..\\X", "\ud800", " ",
    ".hidden", "a" * 250, "con/../../y",
)  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """Members of a valid model file, and the folder of label maps for `embed`."""

    tensors: bytes
    table: dict[str, Any]
    card: bytes
    labels: Path


@dataclass(frozen=True)
class Hostile:
    """A hostile model: its case, and whether reading it must be an error."""

    case: str
    must_refuse: bool


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), len(COMMANDS))


@contextmanager
def opened(lab: Lab) -> Iterator[Parts]:
    """Provide the members of the model of the undisturbed run."""
    modules = ("heartmend.pipelines.repair_segments", "nibabel", "heartmend.models.model_file",
               "heartmend.models.surfaces", "heartmend.figures.population",
               "heartmend.pipelines.embed", "heartmend.stages.embed", "heartmend.pipelines.render")  # fmt: skip
    preload(*modules, *(f"heartmend.cli.{name}" for name in COMMANDS[:4]))
    with lab.scratch() as folder, zipfile.ZipFile(lab.undisturbed / "run" / "unify" / "model.zip") as archive:
        first = min(lab.labels.iterdir())
        shutil.copy(first, folder / first.name)
        yield Parts(archive.read(TENSORS), json.loads(archive.read(TABLE)), archive.read(CARD), folder)


def attack(lab: Lab, parts: Parts, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Write one hostile model and give it to one command."""
    command, make = COMMANDS[job % len(COMMANDS)], MAKERS[job // len(COMMANDS) % len(MAKERS)]
    with lab.scratch() as folder:
        inner = folder / "a" / "b" / "work"
        inner.mkdir(parents=True)
        model = inner / "hostile.zip"
        hostile = make(parts, model, rng)
        words: dict[str, list[object]] = {
            "render": ["render", model, hostile.case, "-o", inner / "out.nii.gz", "--resolution", 16],
            "mesh": ["mesh", model, hostile.case, "-o", inner / "out", "--spacing-mm", 4],
            "population": ["population", model, "-o", inner / "out", "--modes", 1],
            "embed": ["embed", model, parts.labels, "-o", inner / "out", "--workers", 1],
        }
        if command in words:
            ended = run_command(words[command], folder / "log.txt", limit_s=2 * ACCEPTED_S, cwd=inner)
        else:
            ended = run_function(lambda: _repair(parts, model, inner / "out"), folder / "log.txt", 2 * ACCEPTED_S)
        problem = _problem(ended, hostile, inner, folder)
        yield Outcome.of(f"{command}: {make.__name__.strip('_').replace('_', ' ')}", ended, problem)


def _repair(parts: Parts, model: Path, output: Path) -> None:
    """Repair segments as the extension of 3D Slicer."""
    import nibabel as nib
    import numpy as np

    from heartmend.pipelines.repair_segments import repair_segments

    image = nib.load(min(parts.labels.iterdir()))
    values = np.asarray(image.dataobj)
    masks = {name: values == value for name, value in (("LV", 3), ("Myocardium", 1), ("LA", 2), ("spleen", 99))}
    output.write_text(repair_segments(masks, image.affine, model).summary)


def _problem(ended: Ended, hostile: Hostile, inner: Path, folder: Path) -> str:
    """A hostile model is refused, or, where it is valid, a result is written; nothing is written elsewhere."""
    outside = [p for p in folder.rglob("*") if p.is_file() and not p.is_relative_to(inner) and p.name != "log.txt"]
    if outside or Path("/tmp/X").exists():
        return f"files outside of --output: {[*map(str, outside)] or '/tmp/X'}"
    if fault := ended.fault():
        return fault
    if ended.status == 0:
        written = [p for p in inner.rglob("out*") if p.is_file() or (p.is_dir() and any(p.iterdir()))]
        if hostile.must_refuse:
            return "accepted"
        if not written:
            return "exit status 0, but nothing is written"
        if ended.seconds > ACCEPTED_S or ended.peak_mb > ACCEPTED_MB:
            return f"accepted, with {ended.seconds:.0f} s and {ended.peak_mb:.0f} MB"
        return ""
    if ended.status == 3 and not hostile.must_refuse:
        # A valid model that repairs nothing well: `embed` skips the case.
        return ""
    return ended.not_refused("hostile.zip", "--output", "case")


def _write(path: Path, parts: Parts, table: dict[str, Any] | bytes | None = None, tensors: bytes | None = None) -> None:
    text = table if isinstance(table, bytes) else json.dumps(parts.table if table is None else table).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(TENSORS, parts.tensors if tensors is None else tensors)
        archive.writestr(TABLE, text)
        archive.writestr(CARD, parts.card)


def _first(parts: Parts) -> str:
    return str(parts.table["ids"][0])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values of a table; lists by their first three entries."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from _places(inner, (*path, key))


def _changed(table: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(table))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def _value_of_model_json(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    table = parts.table
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places(table))
        table = _changed(table, rng.choice(places), rng.choice(VALUES))
    _write(path, parts, table)
    return Hostile(_first(parts), must_refuse=False)


def _shape_without_bounds(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    places = [p for p in _places(parts.table["shape"]) if isinstance(_at(parts.table["shape"], p), int | float)]
    value = rng.choice((40_000, 10**6, 10**9, 2**40, -1, 0, 10**30))
    _write(path, parts, _changed(parts.table, ("shape", *rng.choice(places)), value))
    return Hostile(_first(parts), must_refuse=False)


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _id_that_is_a_path(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    old, new = _first(parts), rng.choice(IDS)
    table = json.loads(json.dumps(parts.table))
    table["ids"] = [new if id == old else id for id in table["ids"]]
    for name in ("frames", "absent"):
        table[name] = {new if id == old else id: entry for id, entry in table[name].items()}
    _write(path, parts, table)
    # The command line cannot contain these characters.
    return Hostile(new if new.isprintable() and not new.isspace() and new else old, must_refuse=new != " ")


def _too_many_cases(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    count = rng.choice((5001, 20_000, 100_000))
    ids = [str(n) for n in range(count)]
    frame = next(iter(parts.table["frames"].values()))
    table = parts.table | {"ids": ids}
    if rng.random() < 0.3:
        table |= {"frames": dict.fromkeys(ids, frame)}
    _write(path, parts, table)
    return Hostile("0", must_refuse=True)


def _broken_json(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    text = json.dumps(parts.table)
    wholes = (
        b"", b"[]", b"null", b"{", b"[" * 200_000, b'{"a":' * 100_000, b"9" * 5000, b'"' + b"x" * 7_000_000 + b'"',
        text.encode("utf-16"), b"\xff" + text.encode(), text.replace(": ", ": " + "9" * 5000, 1).encode(),
        (text[:-1] + ', "ids": []}').encode(), (text + text).encode(), text.replace("1", "1e999", 1).encode(),
        (text[:-1] + ', "more": 1}').encode(), b"[" + b"0," * 3_000_000 + b"0]", text.replace("1", "NaN", 1).encode(),
    )  # fmt: skip
    _write(path, parts, rng.choice(wholes))
    return Hostile(_first(parts), must_refuse=True)


def _tensor_header(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    length = int.from_bytes(parts.tensors[:8], "little")
    header, data = json.loads(parts.tensors[8 : 8 + length]), parts.tensors[8 + length :]
    name = rng.choice([n for n in header if n != "__metadata__"])
    entry = header[name]
    match rng.randrange(10):
        case 0:
            entry["shape"] = [2**40, 2**20]
        case 1:
            entry["data_offsets"] = [0, 2**60]
        case 2:
            entry["dtype"] = rng.choice(("F64", "BF16", "X", 7, None))
        case 3:
            entry["shape"] = [-1, *entry["shape"]]
        case 4:
            entry["data_offsets"] = entry["data_offsets"][::-1]
        case 5:
            del header[name]
        case 6:
            header["more"] = entry
        case 7:
            entry["shape"] = [True, *entry["shape"]]
        case 8:
            header["__metadata__"] = {"a": {"b": 1}}
        case _:
            header[name] = rng.choice(VALUES[:9])
    text = json.dumps(header).encode()
    size = rng.choice((len(text),) * 6 + (2**62, 0, len(text) + 1, 2**64 - 1))
    _write(path, parts, tensors=struct.pack("<Q", size) + text + data)
    return Hostile(_first(parts), must_refuse=True)


def _numbers_that_are_not_finite(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    length = int.from_bytes(parts.tensors[:8], "little")
    header, raw = json.loads(parts.tensors[8 : 8 + length]), bytearray(parts.tensors)
    names = [n for n, e in header.items() if n != "__metadata__" and e["dtype"] in ("F16", "F32")]
    start, stop = header[name := rng.choice(names)]["data_offsets"]
    size = 2 if header[name]["dtype"] == "F16" else 4
    bad = {2: (b"\0\x7e", b"\0\x7c", b"\0\xfc"), 4: (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff")}[size]
    at = 8 + length + rng.randrange(start, stop, size)
    raw[at : at + size] = rng.choice(bad)
    _write(path, parts, tensors=bytes(raw))
    return Hostile(_first(parts), must_refuse=True)


def _random_tensors(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    raw = bytearray(parts.tensors)
    for _ in range(rng.choice((1, 10, 1000))):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    _write(path, parts, tensors=bytes(raw))
    return Hostile(_first(parts), must_refuse=False)


def _zip_bomb(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    """A member of a few megabytes that inflates to almost 4 GiB, honestly declared or not."""
    member = rng.choice((TENSORS, TABLE, CARD))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    times = rng.choice((300, 3900))
    bomb, size = block * times + b"\x03\x00", times << 20
    declared = size if rng.random() < 0.5 else 1000
    _write_raw(path, {
        TENSORS: _packed(parts.tensors), TABLE: _packed(json.dumps(parts.table).encode()), CARD: _packed(parts.card),
        member: (bomb, declared, 0),
    })  # fmt: skip
    # The card is for people: a false size of it is met by no command, because none reads it.
    return Hostile(_first(parts), must_refuse=member != CARD or declared == size)


def _packed(data: bytes) -> tuple[bytes, int, int]:
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(), len(data), zlib.crc32(data)


def _write_raw(path: Path, members: dict[str, tuple[bytes, int, int]]) -> None:
    """Write a zip archive of members that are packed already: data, declared size, checksum."""
    directory, at = b"", 0
    with open(path, "wb") as file:
        for name, (data, size, crc) in members.items():
            fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(data), size, len(name), 0)
            local = b"PK\x03\x04" + fields + name.encode()
            file.write(local + data)
            directory += (
                b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + name.encode()
            )
            at += len(local) + len(data)
        count = len(members)
        file.write(directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), at, 0))


def _archive(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    """Archives of other members, in other ways."""
    text = json.dumps(parts.table).encode()
    members = [(TENSORS, parts.tensors), (TABLE, text), (CARD, parts.card)]
    choice, method = rng.randrange(8), zipfile.ZIP_DEFLATED
    if choice == 0:
        members.pop(rng.randrange(2))
    elif choice == 1:
        members.append(rng.choice(members[:2]))
    elif choice == 2:
        members += [(f"{n}", b"") for n in range(70_000)]
    elif choice == 3:
        members.append(("../../../escaped", b"x"))
        members = members[1:]
    elif choice == 4:
        method = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif choice == 5:
        members = [(name.upper(), data) for name, data in members]
    elif choice == 6:
        members[0] = (TENSORS, pickle.dumps({"a": os.getcwd}))
    with zipfile.ZipFile(path, "w", method, strict_timestamps=False) as archive:
        for name, data in members:
            archive.writestr(name, data)
    if choice == 7:
        raw = bytearray(path.read_bytes())
        at = raw.rindex(b"PK\x01\x02")
        raw[at + 8] |= 1
        first = raw.index(b"PK\x01\x02")
        raw[first + 8] |= 1
        path.write_bytes(raw)
    return Hostile(_first(parts), must_refuse=True)


def _damaged_file(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    _write(path, parts)
    raw = bytearray(path.read_bytes())
    match rng.randrange(5):
        case 0:
            del raw[rng.randrange(len(raw)) :]
        case 1:
            raw = raw[rng.randrange(1, len(raw)) :]
        case 2:
            at = rng.randrange(len(raw))
            raw[at : at + 40] = bytes(rng.randrange(256) for _ in range(40))
        case 3:
            end = raw.rindex(b"PK\x05\x06")
            at = end + rng.randrange(4, 20)
            raw[at] ^= 1 << rng.randrange(8)
        case _:
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    return Hostile(_first(parts), must_refuse=False)


def _no_model(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    """Something else in the place of the model."""
    match rng.randrange(9):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to("/dev/zero")
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to(path)
        case 4:
            path.write_bytes(b"")
        case 5:
            path.write_bytes(pickle.dumps(os.getcwd))
        case 6:
            with open(path, "wb") as file:
                file.truncate(1 << 40)
        case 7:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(TABLE, b"{}")
            path.write_bytes(packed.getvalue() * 3)
        case _:
            path.symlink_to("/proc/self/mem")
    return Hostile(_first(parts), must_refuse=True)


def _other_case(parts: Parts, path: Path, rng: random.Random) -> Hostile:
    """A valid model and a case that it does not contain."""
    _write(path, parts)
    return Hostile(rng.choice(("../../X", "/tmp/X", "9", "%00", "x" * 4000)), must_refuse=False)


MAKERS: tuple[Callable[[Parts, Path, random.Random], Hostile], ...] = (
    _value_of_model_json, _shape_without_bounds, _id_that_is_a_path, _too_many_cases, _broken_json, _tensor_header,
    _numbers_that_are_not_finite, _random_tensors, _zip_bomb, _archive, _damaged_file, _no_model, _other_case,
    _value_of_model_json, _value_of_model_json, _tensor_header,
)  # fmt: skip
