"""Reading an anatomy file: one of ours by its name, or a user's own by its path."""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heartmend.anatomy.schema import Anatomy, reference_errors
from heartmend.errors import ConfigError


def built_in_anatomies() -> tuple[str, ...]:
    """The names of the anatomies that come with Heartmend."""
    files = resources.files("heartmend.anatomy").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def load_anatomy(source: str | os.PathLike[str]) -> Anatomy:
    """The anatomy called `source` ("heart"), or the one in the TOML file `source`.

    Raises ConfigError that names the file and every mistake in it at once.
    """
    if isinstance(source, str) and source in built_in_anatomies():
        text = (resources.files("heartmend.anatomy") / f"{source}.toml").read_text(encoding="utf-8")
        return parse_anatomy(text, where=f"{source}.toml")
    path = Path(source)
    try:
        return parse_anatomy(path.read_text(encoding="utf-8"), where=str(path))
    except FileNotFoundError as error:
        ours = ", ".join(built_in_anatomies())
        raise ConfigError(f"{path}: no such anatomy; give one of {ours}, or the path of a .toml file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as an anatomy file: {error}") from error


def parse_anatomy(text: str, where: str) -> Anatomy:
    """The anatomy that a TOML text describes; `where` is the name to give in an error."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
    try:
        return Anatomy.model_validate(table)
    except ValidationError as error:
        mistakes = [_told(e["loc"], e["msg"], table) for e in error.errors() if e["loc"]] + reference_errors(table)
        listed = "".join(f"\n  - {m}" for m in mistakes)
        raise ConfigError(f"{where}: {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}:{listed}") from error


def _told(location: tuple[int | str, ...], message: str, table: dict[str, Any]) -> str:
    """One mistake of one value: `structures.LAA.colour: ...`, the structure by its name where it has one."""
    parts = [str(p) for p in location]
    if len(location) > 1 and location[0] == "structures" and isinstance(location[1], int):
        entry = table["structures"][location[1]]
        if isinstance(entry, dict) and "name" in entry:
            parts[1] = str(entry["name"])
    return f"{'.'.join(parts)}: {message}"
