"""Attacks on the readers: label maps of every format, dataset.json, anatomy and configuration files."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from attacks.bad_files import HUGE, MODULES, SECRET, Made, check, listed, mutate, problem_of
from attacks.commands import preload, run_command
from attacks.lab import Lab, Outcome

COUNT = 540


@dataclass(frozen=True)
class Seeds:
    """Valid files, which are damaged.

    Attributes:
        folder: folder with one label map of each format, with 10 x 12 x 9 voxels.
        anatomy: text of the anatomy of hearts.
    """

    folder: Path
    anatomy: str


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), len(FORMATS))


@contextmanager
def opened(lab: Lab) -> Iterator[Seeds]:
    """Provide the valid files."""
    preload(*MODULES)
    from importlib import resources

    import nibabel as nib
    import numpy as np
    import SimpleITK as sitk

    values = np.zeros((10, 12, 9), np.uint8)
    for id in range(1, 11):
        values[2:8, 2:10, 2:7][:, :, id % 5] = id
    values[3:7, 3:9, 3:6] = 3
    with lab.scratch() as folder:
        for version, cls in ((1, nib.Nifti1Image), (2, nib.Nifti2Image)):
            nib.save(cls(values, np.diag([-1.0, -1.0, 2.0, 1.0])), folder / f"nifti{version}.nii")
        image = sitk.GetImageFromArray(values.T)
        for name in ("plain.nrrd", "plain.mha"):
            sitk.WriteImage(image, str(folder / name), False)
        sitk.WriteImage(image, str(folder / "packed.nrrd"), True)
        sitk.WriteImage(image, str(folder / "plain.gipl"))
        nib.save(nib.MGHImage(values, np.diag([-1.0, -1.0, 2.0, 1.0])), folder / "plain.mgh")
        for name in ("pair.nhdr", "pair.mhd"):
            sitk.WriteImage(image, str(folder / name), False)
        nib.save(nib.Nifti1Pair(values, np.diag([-1.0, -1.0, 2.0, 1.0])), folder / "pair.hdr")
        image.SetMetaData("Segment0_Name", "LV")
        image.SetMetaData("Segment0_LabelValue", "3")
        image.SetMetaData("Segment0_Layer", "0")
        image.SetMetaData("Segment0_Extent", "0 9 0 11 0 8")
        sitk.WriteImage(image, str(folder / "segments.seg.nrrd"), True)
        (folder / "secret").write_text(SECRET * 500)
        yield Seeds(folder, (resources.files("heartmend.anatomy") / "heart.toml").read_text())


def attack(lab: Lab, seeds: Seeds, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Make one bad file and check it as a run would read it."""
    name, make = FORMATS[job % len(FORMATS)]
    with lab.scratch() as folder:
        (folder / "labels").mkdir()
        shutil.copy(seeds.folder / "nifti1.nii", folder / "labels" / "good.nii")
        made = make(seeds, folder, rng, job // len(FORMATS))
        yield Outcome.of(f"{name}: {made[1]}", made[0], problem_of(made))


def _volume(seed: str, ending: str) -> Callable[[Seeds, Path, random.Random, int], Made]:
    def make(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
        data = mutate((seeds.folder / seed).read_bytes(), rng)
        if ending.endswith((".gz", ".mgz")):
            data = gzip.compress(data, 1)
            if rng.random() < 0.5:
                data = mutate(data, rng)
        bad = f"bad{ending}"
        (folder / "labels" / bad).write_bytes(data)
        return check(folder), "bad", False

    return make


def _pair(header: str, voxels: str) -> Callable[[Seeds, Path, random.Random, int], Made]:
    """A header and its file of voxels, of which one is bad."""

    def make(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
        for name in (header, voxels):
            data = (seeds.folder / name).read_bytes()
            is_bad = (turn % 4 != 3) == (name == header)
            # The header names the file of the voxels, so that stays as it is.
            (folder / "labels" / name).write_bytes(mutate(data, rng) if is_bad else data)
        if turn % 8 == 7:
            (folder / "labels" / voxels).unlink()
            (folder / "labels" / voxels).symlink_to(rng.choice(("/etc/passwd", "/dev/zero", seeds.folder / "secret")))
        return check(folder), "pair", turn % 8 == 7 and header != "pair.hdr"

    return make


def _header_lie(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
    """A text header that names another file or more voxels than there are."""
    secret = seeds.folder / "secret"
    lies = (
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 12 9\nencoding: raw\ndata file: {secret}\n",
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 12 9\nencoding: raw\nDATAFILE: {secret}\n",
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 12 9\nencoding: raw\ndata file: LIST\n/etc/passwd\n",
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 12 9\nencoding: raw\ndata file: /dev/zero\n",
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2000000 2000000 2000000\nencoding: raw\n\n0",
        f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {HUGE} 1 1\nencoding: raw\n\n0",
        "NRRD0004\ntype: uint8\ndimension: 3\nsizes: -1 12 9\nencoding: raw\n\n0",
        "NRRD0004\ntype: uint8\ndimension: 16\nsizes: 1 1 1\nencoding: raw\n\n0",
        "NRRD0004\ntype: block\ndimension: 3\nsizes: 10 12 9\nencoding: gzip\n\n0",
        "NRRD0004\n" + "key:=value\n" * 300_000,
        "NRRD0004\n" + "x" * 30_000_000,
    )
    metas = (
        f"ObjectType = Image\nNDims = 3\nDimSize = 10 12 9\nElementType = MET_UCHAR\nElementDataFile = {secret}\n",
        "ObjectType = Image\nNDims = 3\nDimSize = 10 12 9\nElementType = MET_UCHAR\nElementDataFile = /etc/passwd\n",
        "ObjectType = Image\nNDims = 3\nDimSize = 10 12 9\nElementType = MET_UCHAR\nElementDataFile = LIST\nx",
        "ObjectType = Image\nNDims = 3\nDimSize = 999999 999999 99\nElementType = MET_CHAR\nElementDataFile = LOCAL\n",
        f"ObjectType = Image\nNDims = {HUGE}\nDimSize = 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
        "ObjectType = Image\nNDims = 3\nDimSize = 0 0 0\nElementType = MET_NONE\nElementDataFile = LOCAL\n",
    )
    lie = (lies + metas)[turn % len(lies + metas)]
    ending = ".nrrd" if lie.startswith("NRRD") else ".mha"
    if turn // len(lies + metas) % 2 and ending == ".nrrd":
        lie = lie.replace("\n", "\r\n")
    (folder / "labels" / f"bad{ending}").write_text(lie)
    return check(folder), "bad", True


def _special(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
    """Something that is no regular file, or a bomb, in the place of a label map."""
    ending = rng.choice((".nii", ".nii.gz", ".nrrd", ".mha"))
    path = folder / "labels" / f"bad{ending}"
    match turn % 10:
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to("/dev/zero")
        case 2:
            path.symlink_to("/dev/urandom")
        case 3:
            path.symlink_to(path)
        case 4:
            path.mkdir()
        case 5:
            path.symlink_to("/proc/self/mem")
        case 6:
            path.symlink_to("/etc/passwd")
        case 7:
            path = path.with_name("bad.nii.gz")
            path.write_bytes(_bomb((seeds.folder / "nifti1.nii").read_bytes()[:352]))
        case 8:
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as unix:
                unix.bind(os.path.relpath(path))
        case _:
            path.symlink_to(folder / "nothing")
    return check(folder), "bad", True


def _bomb(header: bytes) -> bytes:
    """A gzip file of 40 MB of zeros for each 40 kB, many members after another, with a header of 1,080 voxels."""
    return gzip.compress(header, 1) + gzip.compress(bytes(40_000_000), 9) * 40


def _json(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
    """A bad dataset.json beside the label maps (nnU-Net)."""
    base = '{"labels": {"background": 0, "LV": 3}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}}'
    deep = "[" * 100_000 + "]" * 100_000
    texts = (
        "", "{", "[]", "null", "3", '"text"', deep, base.replace("3", deep), base.replace("3", HUGE),
        base.replace("3", "NaN"), base.replace("3", "1e999"), base.replace("3", "-1"), base.replace("3", "[3, []]"),
        base.replace("3", '"3"'), base.replace("3", "{}"), base.replace("3", "true"),
        base.replace(".nii.gz", "/../../x"), base.replace('".nii.gz"', "7"), base.replace('"LV"', '"\\ud800"'),
        base.replace('"LV"', '"\\u0000"'), base.replace('"LV"', f'"{"L" * 100_000}"'),
        base.replace('"LV": 3', '"LV": 3, "LV": 4'),
        base.replace('"LV": 3', ", ".join(f'"s{n}": {n}' for n in range(1, 70000))),
        base.replace("labels", "label"), base + base, "\ufeff" + base, base.replace('"LV"', '"<img src=x>"'),
    )  # fmt: skip
    data = texts[turn % len(texts)].encode()
    if turn >= len(texts):
        data = mutate(base.encode(), rng)
    elif turn % 5 == 4:
        data = data.replace(b"LV", b"\xff\xfe")
    (folder / "labelsTr").mkdir()
    shutil.move(folder / "labels" / "good.nii", folder / "labelsTr" / "good.nii")
    (folder / "labels").rmdir()
    (folder / "dataset.json").write_bytes(data)
    words = ["check", folder if rng.random() < 0.5 else folder / "labelsTr", "--workers", 1]
    ended = listed(run_command(words, folder / "log.txt", limit_s=60))
    # `check` lists the case where every case would be skipped.
    return ended, "dataset.json" if "error: " in ended.text else "good", False


def _toml(name: str) -> Callable[[Seeds, Path, random.Random, int], Made]:
    """A bad anatomy or configuration file."""

    def make(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
        path = folder / f"{name}.toml"
        text = seeds.anatomy if name == "anatomy" else CONFIG
        lines = text.splitlines()
        values = (
            "nan", "inf", "-inf", "-1", "0", "1e308", "9" * 4000, "true", "[]", "{}", '""', '"x"', "1979-05-27",
            "[" * 3000 + "]" * 3000, '"' + "x" * 100_000 + '"', "[[[[1]]]]", "0x7fffffffffffffff", '"../../x"',
        )  # fmt: skip
        wholes: tuple[str | bytes, ...] = (
            b"", b"\xff\xfe\x00", b"\0" * 1000, "x", "a = ", "a.b.c = 1\na.b = 2", "[fit]\n[fit]\n", "[[fit]]\n",
            "a = " + "[" * 50_000, "".join(f"k{n} = 1\n" for n in range(200_000)), "." .join("a" * 2000) + " = 1",
            "\n".join(f'[[structures]]\nid = {n}\nname = "s{n}"' for n in range(1, 20_001)),
        )  # fmt: skip
        if turn % 20 == 19:
            path = folder / f"{name}.toml"
            os.mkfifo(path) if turn % 40 == 19 else path.symlink_to("/dev/zero")
        elif turn % 4 == 3:
            whole = wholes[turn // 4 % len(wholes)]
            path.write_bytes(whole if isinstance(whole, bytes) else whole.encode())
        else:
            at = rng.choice([n for n, line in enumerate(lines) if " = " in line])
            lines[at] = f"{lines[at].split(' = ')[0]} = {rng.choice(values)}"
            path.write_text("\n".join(lines))
        if name == "anatomy":
            return check(folder, "--anatomy", path), path.name, False
        out = folder / "out"
        words = ["run", folder / "labels", "-o", out, "--device", "cpu", "--workers", 1, "--config", path]
        ended = run_command([*words, "--stop-after", "prepare"], folder / "log.txt", limit_s=60)
        return ended, path.name, False

    return make


CONFIG = """
[prepare]
resolution = 32
margin_voxels = 4

[fit]
points = 64
checkpoint_seconds = 60
phases = [
  {steps = 5, code_lr = 0.01, shape_lr = 0.1, side = 16, controls = 5, tolerance_mm = 3.0},
]

[unify]
resolution = 32
side = 8
channels = 4
width = 16
points = 100
positives = 30
"""


def _segments(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
    """A bad .seg.nrrd among the label maps."""
    text = (seeds.folder / "segments.seg.nrrd").read_bytes()
    changes = (
        (b"Segment0_LabelValue:=3", b"Segment0_LabelValue:=" + HUGE.encode()),
        (b"Segment0_LabelValue:=3", b"Segment0_LabelValue:=nan"),
        (b"Segment0_Layer:=0", b"Segment0_Layer:=99999999"),
        (b"Segment0_Extent:=0 9 0 11 0 8", b"Segment0_Extent:=-9 99 -9 99 -9 99"),
        (b"Segment0_Name:=LV", b"Segment0_Name:=\xff\xfe\x1b[31m"),
        (b"Segment0_Name:=LV", b"".join(b"Segment%d_Name:=LV\n" % n for n in range(50_000)) + b"Segment0_Name:=LV"),
    )
    data = text.replace(*changes[turn % 6]) if turn < 6 else mutate(text, rng)
    (folder / "labels" / "bad.seg.nrrd").write_bytes(data)
    return check(folder), "bad", False


def _names(seeds: Seeds, folder: Path, rng: random.Random, turn: int) -> Made:
    """A valid label map with a hostile name."""
    names: tuple[bytes, ...] = (
        b"a\nb", b"a\x1b[2Jb", b"\xff\xfe", b"..\\..\\x", "\u202egpj".encode(), b"-o", b"$(touch x)", b"a" * 240,
        b"<img src=x onerror=alert(1)>", b"=cmd|' C'!A0", b"{0.__class__}", b"%s%n", b"[red]x[bold]", b" ", b"con",
    )  # fmt: skip
    target = os.fsencode(folder / "labels") + b"/" + names[turn % len(names)] + b".nii"
    shutil.copy(os.fsencode(folder / "labels" / "good.nii"), target)
    ended = check(folder)
    if "\x1b[2J" in ended.text:
        return replace(ended, status=None), "", False
    return ended, "", False


FORMATS: tuple[tuple[str, Callable[[Seeds, Path, random.Random, int], Made]], ...] = (
    ("NIfTI", _volume("nifti1.nii", ".nii")),
    ("NIfTI, gzipped", _volume("nifti1.nii", ".nii.gz")),
    ("NIfTI-2", _volume("nifti2.nii", ".nii")),
    ("NRRD", _volume("plain.nrrd", ".nrrd")),
    ("NRRD, gzipped", _volume("packed.nrrd", ".nrrd")),
    ("MetaImage", _volume("plain.mha", ".mha")),
    ("MGH", _volume("plain.mgh", ".mgh")),
    ("MGH, gzipped", _volume("plain.mgh", ".mgz")),
    ("GIPL", _volume("plain.gipl", ".gipl")),
    ("NIfTI pairs", _pair("pair.hdr", "pair.img")),
    ("NRRD pairs", _pair("pair.nhdr", "pair.raw")),
    ("MetaImage pairs", _pair("pair.mhd", "pair.raw")),
    ("NRRD and MetaImage headers", _header_lie),
    (".seg.nrrd", _segments),
    ("special files", _special),
    ("dataset.json", _json),
    ("anatomy", _toml("anatomy")),
    ("configuration", _toml("config")),
    ("file names", _names),
)
"""Kinds of files; each job takes the next one."""
