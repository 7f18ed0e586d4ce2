#!/usr/bin/env python3
"""Robustness of the readers against damaged files: only BadInputError, in bounded time and memory.

usage: fuzz_readers.py [--inputs 100000] [--format nifti] [--seed 0] [--atheris]

Each input is a small valid label map (NIfTI-1 or -2 in either byte order, plain or gzipped; or NRRD or MetaImage) with
changed fields, bytes, length or compression, read as by `heartmend run`. Prints how often each outcome occurred, the
slowest input and the growth of memory; exits with 1 if another error than BadInputError was raised. With --atheris
(`pip install atheris`) the changes are guided by the coverage of the readers.
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
# Words of an error message that are counted as one outcome.
WORDS = 5


def valid_files(kind: str) -> list[bytes]:
    """Make valid files."""
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


def mutate_file(seed: bytes, rng: random.Random, header_bytes: int) -> bytes:
    """Change a file in a few places, most of them in its header."""
    raw = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 5, 9))):
        at = rng.randrange(min(header_bytes, len(raw)) if rng.random() < 0.95 else len(raw))
        match rng.randrange(6):
            case 0:
                raw[at] ^= 1 << rng.randrange(8)
            case 1:
                raw[at] = rng.randrange(256)
            case 2:
                size = rng.choice((1, 2, 4, 8))
                order = rng.choice(("little", "big"))
                raw[at : at + size] = (rng.choice(INTERESTING) % 256**size).to_bytes(size, order)
            case 3:
                raw[at : at + 4] = np.array(rng.choice(FLOATS), rng.choice(("<f4", ">f4"))).tobytes()
            case 4:
                other = rng.randrange(len(raw))
                length = rng.randrange(1, 17)
                raw[at : at + length] = raw[other : other + length]
            case _ if rng.random() < 0.2:
                del raw[at + rng.randrange(len(raw) - at) :]
        raw = raw or bytearray(1)
    data = bytes(raw)
    if rng.random() < 0.3:
        data = bytearray(gzip.compress(data, 1))
        if rng.random() < 0.5:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
    return bytes(data)


def outcome(path: Path, data: bytes) -> str:
    """Read a file; returns "read" or the first words of its BadInputError. Any other error is raised."""
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
    """Read changed files; returns the count of each outcome, other errors, and the longest time in seconds."""
    rng, found, strange, slowest = random.Random(seed), Counter[str](), list[str](), 0.0
    valid = valid_files(kind)
    for number in range(inputs):
        data = mutate_file(rng.choice(valid), rng, 600 if kind == "nifti" else 400)
        started = time.perf_counter()
        try:
            found[outcome(path, data)] += 1
        except Exception:  # noqa: BLE001  (reported below)
            strange.append(f"input {number}: {traceback.format_exc(limit=-3)}")
        slowest = max(slowest, time.perf_counter() - started)
    return found, strange, slowest


def follow(inputs: int, seed: int, path: Path) -> None:
    """Let atheris choose the changes. It ends the process itself, with the traceback of an error if there is one."""
    import atheris

    def once(data: bytes) -> None:
        if data:
            outcome(path, data)

    corpus = path.parent / "corpus"
    corpus.mkdir()
    for number, data in enumerate(valid_files("nifti")):
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
    """Print the table."""
    table = Table(title=f"{title}: {found.total() + len(strange)} inputs")
    table.add_column("outcome")
    table.add_column("inputs", justify="right")
    for text, count in found.most_common():
        table.add_row(text, str(count))
    console = Console(width=100)
    console.print(table)
    console.print(f"other errors: {len(strange)}; slowest {slowest:.2f} s; memory grew by {grown_kib / 1024:.0f} MiB")
    for text in strange[:10]:
        console.print(text, markup=False)


def main() -> None:
    """Change and read files, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--format", choices=("nifti", "nrrd", "mha"), default="nifti")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true")
    arguments = parser.parse_args()
    ending = {"nifti": ".nii", "nrrd": ".nrrd", "mha": ".mha"}[arguments.format]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, np.errstate(all="ignore"):
        path = Path(folder) / f"in{ending}"
        if arguments.atheris:
            follow(arguments.inputs, arguments.seed, path)
            return
        mutate(arguments.format, 200, arguments.seed + 1, path)  # memory of the first inputs does not count as growth
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found, strange, slowest = mutate(arguments.format, arguments.inputs, arguments.seed, path)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    show(arguments.format, found, strange, slowest, grown)
    if strange:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
