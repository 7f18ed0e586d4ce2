"""Ways to damage a file, which several kinds of attacks use."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path


def truncate(path: Path, other: Path, rng: random.Random) -> None:
    """Keep the first part of a file."""
    path.write_bytes(path.read_bytes()[: rng.randrange(1, max(path.stat().st_size, 2))])


def empty(path: Path, other: Path, rng: random.Random) -> None:
    """Remove the content of a file."""
    path.write_bytes(b"")


def flip_byte(path: Path, other: Path, rng: random.Random) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes()) or bytearray(1)
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)


def change_digit(path: Path, other: Path, rng: random.Random) -> None:
    """Change one digit of a text, or a byte of a binary file that looks like one; the size stays."""
    content = bytearray(path.read_bytes()) or bytearray(1)
    at = rng.choice([n for n, byte in enumerate(content) if 48 <= byte <= 57] or [len(content) - 1])
    content[at] = 48 + (content[at] - 48 + rng.randrange(1, 10)) % 10
    path.write_bytes(content)


def swap(path: Path, other: Path, rng: random.Random) -> None:
    """Exchange the content of two files."""
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def link(path: Path, other: Path, rng: random.Random) -> None:
    """Put a link to another file in the place of a file."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def fifo(path: Path, other: Path, rng: random.Random) -> None:
    """Put a named pipe in the place of a file."""
    path.unlink()
    os.mkfifo(path)


Damage = Callable[[Path, Path, random.Random], None]
DAMAGES: tuple[Damage, ...] = (truncate, empty, flip_byte, change_digit, swap, link, fifo)
