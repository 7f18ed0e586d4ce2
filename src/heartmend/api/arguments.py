"""Arguments of the public functions: their types, and what they are converted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import Progress
from heartmend.errors import ConfigError

if TYPE_CHECKING:
    from heartmend.pipelines.config import Config

StrPath = str | PathLike[str]
Names = str | Sequence[str]
"""Names, as a sequence or in one text with commas."""
Preset = Literal["mend", "fast", "reference"]
ProgressLike = Progress | Callable[[str, int, int, str], None] | type | None
"""A `heartmend.compute.progress.Progress`, a function `(task, done, total, note)`, or tqdm's class."""


def as_path(path: StrPath | None) -> Path | None:
    """Convert a path that may be missing.

    Args:
        path: the path.

    Returns:
        The path; None where it is missing.
    """
    return None if path is None else Path(path)


def as_ids(ids: StrPath | Mapping[int, str] | None) -> Path | Mapping[int, str] | None:
    """Convert the meaning of the values of label maps.

    Args:
        ids: a table, or the path of a file.

    Returns:
        The table, or the path; None where there is none.
    """
    return ids if ids is None or isinstance(ids, Mapping) else Path(ids)


def as_names(given: Names) -> tuple[str, ...]:
    """Split names.

    Args:
        given: names, as a sequence or in one text with commas.

    Returns:
        The names without spaces around them.
    """
    if isinstance(given, str):
        given = given.split(",")
    return tuple(name.strip() for name in given if name.strip())


def as_anatomy(anatomy: StrPath | Anatomy) -> Anatomy:
    """Convert an anatomy.

    Args:
        anatomy: name of a built-in anatomy, path of an anatomy file, or an anatomy.

    Returns:
        The anatomy.
    """
    return anatomy if isinstance(anatomy, Anatomy) else load_anatomy(anatomy)


def as_config(preset: str, config: Config | StrPath | None) -> Config:
    """Convert settings.

    Args:
        preset: name of the preset.
        config: path of a TOML file that changes it, or settings, which replace it.

    Returns:
        The settings.

    Raises:
        ConfigError: if a setting is not valid.
    """
    from heartmend.pipelines.config import Config, load_config

    return config if isinstance(config, Config) else load_config(preset, as_path(config))


def check_choice(name: str, given: str, allowed: Sequence[str]) -> None:
    """Check a choice.

    Args:
        name: name of the argument.
        given: its value.
        allowed: the values that it can have.

    Raises:
        ConfigError: if it has another value.
    """
    if given not in allowed:
        raise ConfigError(f"{name}={given!r}: give one of {', '.join(allowed)}")
