"""Attacks on what a user is given beside label maps.

These are conventions, trusted label maps, tables of values, corrections by hand, and label sets to be merged. A
convention is applied to a copy of the undisturbed run, so that only what follows from it is done anew.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.bad_files import HUGE, SECRET, Made, check, listed, mutate, problem_of
from attacks.commands import Ended, preload, run_command
from attacks.lab import RUN_MODULES, Lab, Outcome, digests, in_child

COUNT = 168
MODULES = ("heartmend.cli.check", "heartmend.quality.check", "heartmend.cli.merge", "heartmend.cli.convention",
           "heartmend.pipelines.merge", "heartmend.pipelines.convention", "heartmend.stages.correct",
           "heartmend.cli.import_", "heartmend.release.corrections", "heartmend.review.case_cache")  # fmt: skip
ACCEPTED_S = 60.0
"""Limit of the CPU time of a run with a changed convention that is valid."""
VALUES: tuple[Any, ...] = (
    0, -1, 7, 257, 10**9, 2**63, 1e308, 1e-308, None, True, "", "x", "x" * 10_000, [], {}, [1] * 3, ["LV"] * 3,
    {"Coronary": 1e9}, {"Coronary": -20.0}, {"x": 1.0}, {"": 1.0}, [0.0, 1.0, 1.0], [1e-9] * 3, [999.0] * 3,
)  # fmt: skip


@dataclass(frozen=True)
class Given:
    """What the attacks change.

    Attributes:
        convention: bytes of the convention of the undisturbed run.
        segments: bytes of a label map of the cohort as a segmentation of 3D Slicer.
        secret: a file that nothing may print.
    """

    convention: bytes
    segments: bytes
    secret: Path


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), len(KINDS))


@contextmanager
def opened(lab: Lab) -> Iterator[Given]:
    """Provide the files."""
    preload(*RUN_MODULES, *MODULES)
    with lab.scratch() as folder:
        (folder / "secret").write_text(SECRET * 500)
        segments = folder / "segments.seg.nrrd"
        in_child(lambda: _write_segments(min(lab.labels.iterdir()), segments))
        yield Given(lab.convention.read_bytes(), segments.read_bytes(), folder / "secret")


def _write_segments(labels: Path, path: Path) -> None:
    from heartmend.anatomy.load import load_anatomy
    from heartmend.io.label_maps import read_labels
    from heartmend.io.segments import write_segments

    anatomy = load_anatomy("heart")
    volume = read_labels(labels, anatomy)
    write_segments(volume.labels, volume.grid, anatomy, path)


def attack(lab: Lab, given: Given, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Give one bad file to the command that reads it."""
    name, make = KINDS[job % len(KINDS)]
    before = digests(lab.labels)
    with lab.scratch() as folder:
        made = make(lab, given, folder, rng, job // len(KINDS))
        problem = problem_of(made)
        if not problem and digests(lab.labels) != before:
            problem = "the input has changed"
        yield Outcome.of(f"{name}: {job // len(KINDS)}", made[0], problem)


def _convention(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """A convention with other bytes, another header, other numbers, or none at all."""
    path, data = folder / "bad.safetensors", given.convention
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    info = json.loads(header["__metadata__"]["convention"])
    must_refuse = False
    match turn % 8:
        case 0:
            path.write_bytes(mutate(data, rng, header_bytes=8 + length))
        case 1 | 2:
            info[rng.choice(list(info))] = rng.choice(VALUES)
            path.write_bytes(_packed(header | {"__metadata__": {"convention": json.dumps(info)}}, data[8 + length :]))
        case 3:
            name = rng.choice([n for n in header if n != "__metadata__"])
            entry = dict(header[name])
            entry[rng.choice(list(entry))] = rng.choice((*VALUES, [2**40] * 3, [0, 2**60], "F64", "X"))
            path.write_bytes(_packed(header | {name: entry}, data[8 + length :]))
        case 4:
            # Not finite, too large, or within the limits but absurd.
            raw = bytearray(data)
            number = rng.choice((float("nan"), float("inf"), 1e38, 21.0, -20.0, 999.0))
            for _ in range(rng.choice((1, 1000))):
                at = 8 + length + 4 * rng.randrange((len(data) - 8 - length) // 4)
                raw[at : at + 4] = struct.pack("<f", number)
            path.write_bytes(bytes(raw))
        case 5:
            must_refuse = True
            _no_file(path, given, rng)
        case 6:
            # Of a size that a header may state, and a sparse file has.
            must_refuse = True
            side, count = rng.choice(((256, 200), (256, 10), (200, 5)))
            _write_sparse(path, header, info, side, count)
        case _:
            must_refuse = True
            path.write_bytes(rng.choice((b"", b"{", b"\xff" * 8, data[: len(data) // 2], data + b"x", b"9" * 5000)))
    out = folder / "out"
    shutil.copytree(lab.undisturbed, out)
    ended = lab.run(out, "--convention", path, limit_s=120)
    if ended.status in (0, 3) and ended.cpu_s < ACCEPTED_S and not must_refuse:
        # The labels are those of another convention; that it took longer than a refusal is right.
        ended = Ended(0, ended.text, 0.0, 0.0)
    return ended, path.name, must_refuse


def _packed(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _write_sparse(path: Path, header: dict[str, Any], info: dict[str, Any], side: int, count: int) -> None:
    info = info | {"side": side, "heads": [*info["heads"], *(f"s{n}" for n in range(count))][:count]}
    table, end = {"__metadata__": {"convention": json.dumps(info)}}, 0
    for name in (n for n in header if n != "__metadata__"):
        dtype = header[name]["dtype"]
        cells = header[name]["shape"][0] if name.startswith("correction") else side
        size = (2 if dtype == "F16" else 4) * cells**3 * count
        table[name] = {"dtype": dtype, "shape": [cells] * 3 + [count], "data_offsets": [end, end + size]}
        end += size
    with open(path, "wb") as file:
        file.write(_packed(table, b""))
        file.truncate(file.tell() + end)


def _no_file(path: Path, given: Given, rng: random.Random) -> None:
    match rng.randrange(6):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "/proc/self/mem")))
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to(path)
        case 4:
            path.symlink_to(given.secret)
        case _:
            with open(path, "wb") as file:
                file.truncate(1 << 40)


def _trusted(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """Trusted label maps that are too few, damaged, unknown, on another grid, or in the way of the output."""
    trusted, out, bad = folder / "trusted", folder / "out", "trusted"
    shutil.copytree(lab.labels, trusted)
    path = rng.choice(sorted(trusted.iterdir()))
    match turn % 8:
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(mutate(path.read_bytes(), rng))
            path.write_bytes(path.read_bytes()[:-300])
        case 2:
            path.rename(path.with_name("9999.nii.gz"))
        case 3:
            _shift(path)
        case 4:
            path.unlink()
            os.mkfifo(path)
        case 5:
            path.unlink()
            path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", str(given.secret))))
        case 6:
            out = trusted / "out"
        case _:
            shutil.rmtree(trusted)
            trusted.symlink_to(rng.choice(("/dev/zero", str(trusted), "/etc/passwd")))
    words = lab.run_words(out, 1, None, "--trusted", trusted, "--stop-after", "prepare")
    return run_command(words, folder / "log.txt", 60), bad, True


def _shift(path: Path) -> None:
    import nibabel as nib
    import numpy as np

    image = nib.load(path)
    affine = image.affine.copy()
    affine[:3, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)


def _ids(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """A bad table for `--ids`."""
    is_json = turn % 2 == 1
    path = folder / ("bad.json" if is_json else "bad.toml")
    keys = ("0", "-1", "65536", HUGE, "1.5", "x", "²", "", "00003", "1e3", " 3")
    names = ('"x"', '""', "7", "[]", "{}", '"LV"', '"ignore"', f'"{"L" * 100_000}"', '"\\u0000"', '"<b>"', '"=1+1"')
    key, name = rng.choice(keys), rng.choice(names)
    texts: tuple[str, ...] = (
        f'{{"{key}": {name}}}' if is_json else f'"{key}" = {name}', f'{{"3": {name}}}' if is_json else f"3 = {name}",
        "[" * 100_000, "", "null" if is_json else "3 = 4\n3 = 5", '{"3": "LV", "3": "LA"}' if is_json else "[[3]]",
        "x" * 3_000_000, "{" + ", ".join(f'"{n}": "LV"' for n in range(1, 60_000)) + "}"
        if is_json else "\n".join(f'{n} = "LV"' for n in range(1, 60_000)),
    )  # fmt: skip
    if turn % 12 >= 10:
        _no_file(path, given, rng)
    else:
        path.write_text(texts[turn // 2 % len(texts)])
    shutil.copytree(lab.labels, folder / "labels")
    ended = check(folder, "--ids", path)
    # A valid table that leaves out values of the label maps is an error of each case.
    return ended, "bad" if "error: " in ended.text else "00", turn % 12 >= 10


def _side_table(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """A bad table beside the label maps."""
    shutil.copytree(lab.labels, folder / "labels")
    ending = (".tsv", ".label", ".ctbl", ".txt")[turn % 4]
    value = rng.choice((HUGE, "3", "-1", "²", "99999", "65536"))
    name = rng.choice(("LV", "x", "L" * 100_000, "<b>", "=1+1", "\x1b[31m", "\u202e"))
    line = {
        ".tsv": f"index\tname\n{value}\t{name}\n", ".label": f'{value} 1 1 1 1 1 1 "{name}"\n',
        ".ctbl": f"{value} {name.replace(' ', '_')} 1 1 1 255\n", ".txt": f'{value} 1 1 1 1 1 1 "{name}"\n',
    }[ending]  # fmt: skip
    path = folder / "labels" / f"{rng.choice(('bad', '001'))}{ending}"
    match turn // 4 % 4:
        case 0 | 1:
            path.write_text(line)
        case 2:
            path.write_bytes(mutate((line * rng.choice((1, 500))).encode(), rng))
        case _:
            _no_file(path, given, rng)
    ended = check(folder)
    # A value that two tables name differently is an error of its case.
    return ended, "001" if ended.status == 3 else "bad" if "bad" in ended.text else "labels", False


def _label_sets(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """Label sets for `merge` and `convention` of which one is bad, or an output where nothing may be written."""
    first, second, out = folder / "first", folder / "second", folder / "out"
    shutil.copytree(lab.labels, first)
    shutil.copytree(lab.labels, second)
    paths, bad = sorted(second.iterdir()), "second"
    is_merge = turn % 2 == 0
    match turn // 2 % 7:
        case 0:
            for path in paths:
                path.write_bytes(mutate(path.read_bytes(), rng)[:-200])
            bad = "00"
        case 1:
            for path in paths[1:]:
                path.unlink()
                os.mkfifo(path)
            bad = "00"
        case 2:
            out = second / "out"
        case 3:
            for path in paths:
                _shift(path)
            bad = "00"
        case 4:
            shutil.rmtree(second)
            second.symlink_to(rng.choice(("/etc/passwd", str(second), "/dev/zero")))
        case 5 if is_merge:
            out.mkdir()
            (out / "labels").symlink_to(first, target_is_directory=True)
            bad = "out"
        case 5:
            out.mkdir()
            bad = "out"
        case _:
            out, bad = first, "first"
    command = "merge" if is_merge else "convention"
    words = [command, first, second, "-o", out, "--config", lab.settings, "--device", "cpu", "--workers", 1]
    ended = run_command(words, folder / "log.txt", 120)
    return ended, bad, True


def _correction(lab: Lab, given: Given, folder: Path, rng: random.Random, turn: int) -> Made:
    """A label map that is imported as a correction by hand: wrong segments, voxels elsewhere, or damaged bytes."""
    out, source = folder / "out", folder / "corrected"
    shutil.copytree(lab.undisturbed, out)
    source.mkdir()
    path, must_refuse = source / "001.seg.nrrd", turn % 8 != 7
    data = given.segments
    changes: tuple[tuple[bytes, bytes], ...] = (
        (b"Segment0_LabelValue:=1", b"Segment0_LabelValue:=" + HUGE.encode()),
        (b"Segment0_Layer:=0", b"Segment0_Layer:=9"),
        (b"encoding: gzip", b"encoding: gzip\ndata file: " + os.fsencode(given.secret)),
        (b"Segment0_Name:=", b"Segment0_Name:=x"), (b"dimension: 3", b"dimension: 16"),
    )  # fmt: skip
    if turn % 8 < len(changes):
        path.write_bytes(data.replace(*changes[turn % 8], 1))
    elif turn % 8 == 5:
        path.write_bytes(data[: rng.randrange(len(data) // 2)])
    elif turn % 8 == 6:
        path = source / "001.nii.gz"
        first = min(lab.labels.iterdir())
        shutil.copy(first, path)
        _shift(path)
    else:
        path.write_bytes(mutate(data, rng, header_bytes=1500))
    words = ["import", out, source, "--by", "Eve", "--workers", 1]
    return listed(run_command(words, folder / "log.txt", 60)), "001", must_refuse


KINDS: tuple[tuple[str, Callable[[Lab, Given, Path, random.Random, int], Made]], ...] = (
    ("convention", _convention), ("convention", _convention), ("trusted label maps", _trusted), ("--ids", _ids),
    ("tables beside label maps", _side_table), ("label sets", _label_sets), ("corrections", _correction),
)  # fmt: skip
"""Kinds of files; each job takes the next one."""
