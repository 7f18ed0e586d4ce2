"""Anatomy files (TOML): the built-in ones by name, a user's own by path."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heartmend.anatomy.schema import MAX_STRUCTURES, Anatomy, reference_errors
from heartmend.anatomy.toml_file import parse_toml, read_toml
from heartmend.anatomy.validation import list_errors, message_of, place
from heartmend.errors import ConfigError
from heartmend.types import BACKGROUND, UNKNOWN

log = logging.getLogger(__name__)

# Words of earlier anatomy files, accepted for one version: keys, and values of a key (under its present name).
_OLD_KEYS = {"structures": {"pieces": "components", "appearance": "image_edges", "mend_by": "repair_method"}}
_OLD_VALUES = {
    ("structures", "repair_method"): {"surroundings": "voxel_classifier"},
    ("rules", "rule"): {"salt": "speckle", "pieces": "components", "strays": "detached_segments"},
}


def built_in_anatomies() -> tuple[str, ...]:
    """List the anatomies that are part of Heartmend.

    Returns:
        Their names, sorted.

    Example:
        >>> built_in_anatomies()
        ('adrenal', 'heart')
    """
    files = resources.files("heartmend.anatomy").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def load_anatomy(source: str | os.PathLike[str]) -> Anatomy:
    """Load an anatomy.

    Args:
        source: name of a built-in anatomy ("heart"), or path of a TOML file.

    Returns:
        The anatomy.

    Raises:
        ConfigError: if there is no such file, or with a list of all errors in it.

    Example:
        >>> heart = load_anatomy("heart")
        >>> heart.by_name("LA").id, heart.by_name("LA").kind
        (2, 'chamber')
    """
    if isinstance(source, str) and source in built_in_anatomies():
        text = (resources.files("heartmend.anatomy") / f"{source}.toml").read_text(encoding="utf-8")
        return parse_anatomy(text, where=f"{source}.toml")
    path = Path(source)
    try:
        return _anatomy_of(read_toml(path, "an anatomy"), where=str(path))
    except FileNotFoundError as error:
        names = ", ".join(built_in_anatomies())
        raise ConfigError(f"{path}: no such anatomy; give one of {names}, or the path of a .toml file") from error


def parse_anatomy(text: str, where: str) -> Anatomy:
    """Parse the text of an anatomy file.

    Args:
        text: TOML.
        where: name of the file for messages.

    Returns:
        The anatomy.

    Raises:
        ConfigError: with a list of all errors in the text.
    """
    return _anatomy_of(parse_toml(text, where), where)


def _anatomy_of(table: Mapping[str, Any], where: str) -> Anatomy:
    for key, limit in (("structures", MAX_STRUCTURES), ("priority", MAX_STRUCTURES), ("rules", 100)):
        entries = table.get(key)
        if isinstance(entries, list) and len(entries) > limit:
            raise ConfigError(f"{where}: {key} has {len(entries)} entries, the limit is {limit}; remove some")
    table = _with_ids_in_memory(translate_old_words(table, where))
    try:
        return Anatomy.model_validate(table)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        errors = [_message(e["loc"], message_of(e["type"], e["msg"], e["input"]), table) for e in found if e["loc"]]
        raise ConfigError(list_errors(where, errors + reference_errors(table))) from error


def _with_ids_in_memory(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """Move an id that does not fit into a byte to `file_id`, and choose a free one for the label maps in memory."""
    entries = table.get("structures")
    if not isinstance(entries, list):
        return table
    used = {e["id"] for e in entries if isinstance(e, dict) and isinstance(e.get("id"), int)}
    free = (id for id in range(BACKGROUND + 1, UNKNOWN) if id not in used)
    moved = [
        {**e, "file_id": e["id"], "id": next(free)}
        if isinstance(e, dict) and "file_id" not in e and type(e.get("id")) is int and e["id"] >= UNKNOWN
        else e
        for e in entries
    ]
    return {**table, "structures": moved}


def translate_old_words(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Replace keys and values of an older anatomy file by their present names, with a logged warning for each.

    Args:
        table: content of an anatomy file; it is not changed.
        where: name of the file for the warnings.

    Returns:
        The content in present words. An entry that has a key under both names keeps both, which the schema reports.

    Example:
        >>> translate_old_words({"rules": [{"rule": "speckle"}]}, "heart.toml")
        {'rules': [{'rule': 'speckle'}]}
    """
    changes: dict[str, str] = {}
    translated = dict(table)
    for section in ("structures", "rules"):
        entries = table.get(section)
        if isinstance(entries, list):
            translated[section] = [_present_words(section, e, changes) if isinstance(e, dict) else e for e in entries]
    for old, new in changes.items():
        log.warning("%s: %s is now %s; change the file, the old word works in this version only", where, old, new)
    return translated


def _present_words(section: str, entry: dict[str, Any], changes: dict[str, str]) -> dict[str, Any]:
    """One entry in present words; each change is added to `changes`."""
    translated: dict[str, Any] = {}
    for key, value in entry.items():
        new_key = _OLD_KEYS.get(section, {}).get(key, key)
        if new_key in entry and new_key != key:
            new_key = key
        if new_key != key:
            changes[f'"{key}" in [[{section}]]'] = f'"{new_key}"'
        values = _OLD_VALUES.get((section, new_key), {})
        new_value = values.get(value, value) if isinstance(value, str) else value
        if new_value is not value:
            changes[f'{new_key} = "{value}"'] = f'{new_key} = "{new_value}"'
        translated[new_key] = new_value
    return translated


def _message(location: tuple[int | str, ...], message: str, table: Mapping[str, Any]) -> str:
    """The error of one value with its place, `structures.LAA.colour: ...`, by the structure's name where it has one."""
    # The user wrote `file_id` as `id`.
    parts = [place("id" if p == "file_id" else p) for p in location]
    if len(location) > 1 and location[0] == "structures" and isinstance(location[1], int):
        # An index: pydantic found an error within a list.
        entry = table["structures"][location[1]]
        if isinstance(entry, dict) and "name" in entry:
            parts[1] = place(str(entry["name"]))
    return f"{'.'.join(parts)}: {message}"
