"""TOML files of settings and anatomies, read within limits."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from heartmend.anatomy.validation import shorten
from heartmend.errors import ConfigError

MAX_BYTES = 2**18
"""Largest TOML file: 254 structures with a kilobyte of text each. Python's parser reads about a megabyte a second."""
MAX_DEPTH = 12
"""Deepest nesting of tables and lists; a phase of a fit has a depth of 4."""
MAX_DOTS = 128
"""Most dots in one line: Python's parser needs time with the square of a key's parts."""
_MAX_INTEGER = 2**63 - 1
# Without O_NONBLOCK the system waits at a pipe until somebody writes into it. Windows does not have the flag.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_toml(path: Path, kind: str) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: the file.
        kind: what it contains, for messages: "settings" or "anatomy".

    Returns:
        Its content.

    Raises:
        FileNotFoundError: if there is no such file.
        ConfigError: if it is not a regular file, too large, not UTF-8, not TOML, nested too deeply, or contains an
            integer of more than 64 bits.
    """
    try:
        data = _read_regular(path, kind)
        text = data.decode("utf-8-sig") if len(data) <= MAX_BYTES else ""
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: cannot be read as TOML: {reason}; give a file of {kind}") from error
    except ValueError as error:  # not UTF-8, or a path with a null character
        reason = f"is not UTF-8 text ({error})" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(f"{path}: cannot be read as TOML: {shorten(reason, 200)}; save it as UTF-8") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{path}: cannot be read as TOML: is larger than {MAX_BYTES // 1024} KiB; give a file of {kind}"
        )
    return parse_toml(text, str(path))


def _read_regular(path: Path, kind: str) -> bytes:
    """At most one byte more than the limit; a pipe or a device is never read."""
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{path}: cannot be read as TOML: is no regular file; give a file of {kind}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse the text of a TOML file.

    Args:
        text: TOML.
        where: name of the file for messages.

    Returns:
        Its content.

    Raises:
        ConfigError: if it is too long, not TOML, nested too deeply, or contains an integer of more than 64 bits.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{where}: cannot be read as TOML: is larger than {MAX_BYTES // 1024} KiB; shorten it")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS and not line.lstrip().startswith("#"):
            raise ConfigError(
                f"{where}: cannot be read as TOML: line {number} contains {line.count('.')} dots, the limit is "
                f"{MAX_DOTS}; use several lines"
            )
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = shorten(str(error), 200)
        raise ConfigError(f"{where}: cannot be read as TOML: not TOML: {reason}; correct this line") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: cannot be read as TOML: {_too_deep()}") from error
    except (ValueError, OverflowError) as error:  # integers of thousands of digits, dates that do not exist
        reason = shorten(str(error).split(";")[0], 200)
        raise ConfigError(f"{where}: cannot be read as TOML: {reason}; correct this value") from error
    _check(table, where)
    return table


def _check(table: dict[str, Any], where: str) -> None:
    """Check depth and integers without recursion, because a table can be nested more deeply than Python's stack."""
    level: list[Any] = [table]
    for _ in range(MAX_DEPTH):
        values = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]
        if any(isinstance(value, int) and abs(value) > _MAX_INTEGER for value in values):
            raise ConfigError(
                f"{where}: cannot be read as TOML: an integer has more than 64 bits; give a smaller number"
            )
        level = [value for value in values if isinstance(value, dict | list)]
    if level:
        raise ConfigError(f"{where}: cannot be read as TOML: {_too_deep()}")


def _too_deep() -> str:
    return f"tables and lists are nested more than {MAX_DEPTH} deep; give fewer levels"
