#!/usr/bin/env python3
"""Feed the readers with damaged files: only our own errors may come out, in bounded time and memory.

usage: fuzz_readers.py [--inputs 100000] [--format nifti] [--seed 0] [--atheris]

Each input is a small sound label map (NIfTI-1 and -2 in either byte order, plain or gzipped; or NRRD, MetaImage) with
fields, bytes, length or packing changed, read as `heartmend run` would. Prints what came out how often, the slowest
input and the growth of memory, and exits with 1 when anything else than BadInputError came out. With --atheris
(`pip install atheris`) the changes follow what the reader's code does with them.
"""

from __future__ import annotations

import argparse
import gzip
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from types import FunctionType

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from rich.console import Console
from rich.table import Table

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.label_maps import read_labels

HEART = load_anatomy("heart")
INTERESTING = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 540, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e38, -1e38, float("nan"), float("inf"), 0.5, 1e-6, 352.0, 3e9)
# What can be told of an error without its file and numbers.
WORDS = 5


def seeds(kind: str) -> list[bytes]:
    """Sound files to begin with."""
    values = np.random.default_rng(0).integers(0, 11, (5, 6, 7)).astype(np.uint8)
    if kind == "nifti":
        made = []
        for cls in (nib.Nifti1Image, nib.Nifti2Image):
            for dtype in (np.uint8, np.int16, np.float32, np.float64):
                image = cls(values.astype(dtype), np.diag([-1.0, 0.8, 2.5, 1]))
                image.set_qform(image.affine, 1)
                swapped = cls(values.astype(dtype), image.affine, image.header.as_byteswapped())
                made += [image.to_bytes(), swapped.to_bytes()]
        return made
    ending, made = {"nrrd": ".nrrd", "mha": ".mha"}[kind], []
    for packed in (False, True):
        with tempfile.NamedTemporaryFile(suffix=ending) as file:
            sitk.WriteImage(sitk.GetImageFromArray(values), file.name, packed)
            made.append(Path(file.name).read_bytes())
    return made


def changed(seed: bytes, chance: random.Random, head_bytes: int) -> bytes:
    """A file with a few changes, most of them in its head."""
    raw = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        at = chance.randrange(min(head_bytes, len(raw)) if chance.random() < 0.95 else len(raw))
        match chance.randrange(6):
            case 0:
                raw[at] ^= 1 << chance.randrange(8)
            case 1:
                raw[at] = chance.randrange(256)
            case 2:
                size = chance.choice((1, 2, 4, 8))
                order = chance.choice(("little", "big"))
                raw[at : at + size] = (chance.choice(INTERESTING) % 256**size).to_bytes(size, order)
            case 3:
                raw[at : at + 4] = np.array(chance.choice(FLOATS), chance.choice(("<f4", ">f4"))).tobytes()
            case 4:
                other = chance.randrange(len(raw))
                length = chance.randrange(1, 17)
                raw[at : at + length] = raw[other : other + length]
            case _ if chance.random() < 0.2:
                del raw[at + chance.randrange(len(raw) - at) :]
        raw = raw or bytearray(1)
    data = bytes(raw)
    if chance.random() < 0.3:
        data = bytearray(gzip.compress(data, 1))
        if chance.random() < 0.5:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
    return bytes(data)


def outcome(path: Path, data: bytes) -> str:
    """What reading it comes to: "read", or the error in a few words; any other error than ours is raised."""
    path.write_bytes(data)
    try:
        read_labels(path, HEART, "keep")
    except BadInputError as error:
        text = str(error)
        if not text.startswith(str(path)):
            raise AssertionError(f"the file is not named: {text}") from error
        return " ".join(w for w in text.removeprefix(f"{path}: ").split()[:WORDS] if not any(map(str.isdigit, w)))
    return "read"


def mutate(kind: str, inputs: int, seed: int, path: Path) -> tuple[Counter[str], list[str], float]:
    """Read `inputs` changed files; how often what came out, errors that are not ours, and the slowest in s."""
    chance, found, strange, slowest = random.Random(seed), Counter[str](), list[str](), 0.0
    begun = seeds(kind)
    for number in range(inputs):
        data = changed(chance.choice(begun), chance, 600 if kind == "nifti" else 400)
        began = time.perf_counter()
        try:
            found[outcome(path, data)] += 1
        except Exception:  # noqa: BLE001  (to be told)
            strange.append(f"input {number}: {traceback.format_exc(limit=-3)}")
        slowest = max(slowest, time.perf_counter() - began)
    return found, strange, slowest


def follow(inputs: int, seed: int, path: Path) -> None:
    """Let atheris choose the changes. It ends the process itself, with an error's trace if one came out."""
    import atheris

    def once(data: bytes) -> None:
        if data:
            outcome(path, data)

    corpus = path.parent / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds("nifti")):
        (corpus / str(number)).write_bytes(data)
    modules = ("heartmend.io", "nibabel.nifti1", "nibabel.analyze", "nibabel.quaternions")
    for name in [m for m in sys.modules if m.startswith(modules)]:
        for thing in vars(sys.modules[name]).values():
            if isinstance(thing, FunctionType) and thing.__module__ == name:
                atheris.instrument_func(thing)
    words = [f"-runs={inputs}", f"-seed={seed + 1}", "-rss_limit_mb=4096", "-max_len=4096", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *words, str(corpus)], once)
    atheris.Fuzz()


def show(title: str, found: Counter[str], strange: list[str], slowest: float, grown_kib: int) -> None:
    """The table."""
    table = Table(title=f"{title}: {found.total() + len(strange)} inputs")
    table.add_column("what came out")
    table.add_column("inputs", justify="right")
    for text, count in found.most_common():
        table.add_row(text, str(count))
    screen = Console(width=100)
    screen.print(table)
    screen.print(f"not ours: {len(strange)}; slowest {slowest:.2f} s; memory grew by {grown_kib / 1024:.0f} MiB")
    for text in strange[:10]:
        screen.print(text, markup=False)


def main() -> None:
    """Make, change, read, count."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--inputs", type=int, default=100_000)
    ask.add_argument("--format", choices=("nifti", "nrrd", "mha"), default="nifti")
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--atheris", action="store_true")
    asked = ask.parse_args()
    ending = {"nifti": ".nii", "nrrd": ".nrrd", "mha": ".mha"}[asked.format]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, np.errstate(all="ignore"):
        path = Path(folder) / f"in{ending}"
        if asked.atheris:
            follow(asked.inputs, asked.seed, path)
            return
        mutate(asked.format, 200, asked.seed + 1, path)  # what the first inputs load is no growth
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found, strange, slowest = mutate(asked.format, asked.inputs, asked.seed, path)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    show(asked.format, found, strange, slowest, grown)
    if strange:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
