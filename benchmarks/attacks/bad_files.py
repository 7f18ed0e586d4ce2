"""What the attacks on readers share: random damage, `heartmend check` of a folder, and when a bad file was refused."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from attacks.commands import PEAK_MB, Ended, run_command

SECRET = "the-content-of-another-file"
"""Content of a file that no bad file may make Heartmend print."""
HUGE = "9" * 5000
"""More digits than Python converts to a number."""
INTERESTING = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 348, 540, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
MODULES = (
    "heartmend.cli.run", "heartmend.pipelines.run", "heartmend.pipelines.config", "heartmend.cli.check",
    "heartmend.quality.check", "heartmend.io.itk", "heartmend.io.dataset", "heartmend.io.dicom.open",
    "SimpleITK", "nibabel",
)  # fmt: skip
"""Modules that reading a label map imports."""
Made = tuple[Ended, str, bool]
"""How a command ended that was given a bad file, what its message must name, and whether it must refuse the file."""


def check(folder: Path, *more: object) -> Ended:
    """Run `heartmend check` of the label maps in `folder / "labels"`."""
    words = ["check", folder / "labels", "--workers", 1, *more]
    return listed(run_command(words, folder / "log.txt", limit_s=60))


def listed(ended: Ended) -> Ended:
    """`check` lists skipped cases, or all of them with status 1, in a table, whose rows count as messages here."""
    if ended.status not in (1, 3) or "error: " in ended.text:
        return ended
    text = "\n".join(f"skipped: {line}" for line in ended.text.splitlines())
    return replace(ended, text=text, status=3)


def problem_of(made: Made) -> str:
    """Return why a bad file was not handled as it must be; empty if it was.

    It is skipped with a message that names it, or is an error that names it, within the limits of a refusal. All files
    of these attacks are small, so one that is accepted needs little memory too.
    """
    ended, bad, must_refuse = made
    if SECRET in ended.text or "root:x:0:0" in ended.text:
        return "the content of another file is printed"
    if fault := ended.fault():
        return fault
    if "error in Heartmend" in ended.text:
        return f"an unexpected error: {ended.text[-400:]}"
    if ended.status != 0:
        return ended.not_refused(bad, lines=10, statuses=(1, 2, 3))
    if must_refuse:
        return "accepted"
    if ended.is_late():
        return f"accepted after {ended.seconds:.1f} s"
    return f"accepted with {ended.peak_mb:.0f} MB of memory" if ended.peak_mb > PEAK_MB else ""


def mutate(seed: bytes, rng: random.Random, header_bytes: int = 600) -> bytes:
    """Change a few bytes, most of them among the first ones, where the header is."""
    raw = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4, 9))):
        at = rng.randrange(min(header_bytes, len(raw)) if rng.random() < 0.9 else len(raw))
        match rng.randrange(5):
            case 0:
                raw[at] ^= rng.randrange(1, 256)
            case 1:
                size = rng.choice((2, 4, 8))
                raw[at : at + size] = (rng.choice(INTERESTING) % 256**size).to_bytes(size, "little")
            case 2:
                raw[at : at + 4] = rng.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f"))
            case 3:
                raw[at:at] = rng.choice((b"\n", b"9" * 40, b"\0" * 300, b"data file: ../../secret\n", b"-1 "))
            case _ if rng.random() < 0.3:
                del raw[at:]
        raw = raw or bytearray(1)
    return bytes(raw)
