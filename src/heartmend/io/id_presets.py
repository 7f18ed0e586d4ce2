"""Id tables of public data sets, by name."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from heartmend.errors import ConfigError


@dataclass(frozen=True)
class IdPreset:
    """Values of the label maps of a public data set.

    Attributes:
        name: its name, such as `mmwhs`.
        title: one line that describes the data set.
        structures: value -> name of a structure of the heart.
        others: value -> name of what is no structure of the heart anatomy.
        min_values: a file is recognised by its values if it has this many of them; 0: never.
        any_of: values of which a recognised file has at least one; empty: no such condition.
    """

    name: str
    title: str
    structures: dict[int, str]
    others: dict[int, str]
    min_values: int = 0
    any_of: frozenset[int] = frozenset()

    @property
    def names(self) -> dict[int, str]:
        """Value -> name, structures and others."""
        return self.structures | self.others

    def contains(self, values: Collection[int]) -> bool:
        """Check whether the data set has a name for each value.

        Args:
            values: values of a label map, without 0.

        Returns:
            True if it has.
        """
        return all(value in self.structures or value in self.others for value in values)

    def recognises(self, values: Collection[int]) -> bool:
        """Check whether a file with exactly these values is recognised as of this data set.

        Args:
            values: values of the file, without 0.

        Returns:
            True if it is recognised.
        """
        if not self.min_values or len(values) < self.min_values or not self.contains(values):
            return False
        return not self.any_of or not self.any_of.isdisjoint(values)


@lru_cache(maxsize=1)
def id_presets() -> tuple[IdPreset, ...]:
    """Read the presets that are part of Heartmend.

    Returns:
        The presets, in the order of the file.

    Example:
        >>> [preset.name for preset in id_presets()][:2]
        ['public-cardiac-ct', 'totalsegmentator-v2']
    """
    table = tomllib.loads(resources.files("heartmend.io").joinpath("id_presets.toml").read_text(encoding="utf-8"))
    return tuple(
        IdPreset(
            entry["name"],
            entry["title"],
            {int(value): name for value, name in entry["structures"].items()},
            {int(value): name for value, name in entry.get("others", {}).items()},
            entry.get("recognise", {}).get("min_values", 0),
            frozenset(entry.get("recognise", {}).get("any_of", ())),
        )
        for entry in table["presets"]
    )


def id_preset(name: str) -> IdPreset:
    """Find a preset by its name.

    Args:
        name: such as `mmwhs`; case, blanks, `_` and `-` make no difference.

    Returns:
        The preset.

    Raises:
        ConfigError: if there is none with this name.

    Example:
        >>> id_preset("MM-WHS").structures[420]
        'LA'
    """
    for preset in id_presets():
        if plain_name(preset.name) == plain_name(name):
            return preset
    raise ConfigError(f"--preset-ids {name}: no such preset; give one of {', '.join(p.name for p in id_presets())}")


@lru_cache(maxsize=1)
def known_other_names() -> frozenset[str]:
    """List the names, as of `plain_name`, of what public data sets have beside the structures of the heart.

    Returns:
        The names.
    """
    return frozenset(plain_name(name) for preset in id_presets() for name in preset.others.values())


def plain_name(name: str) -> str:
    """Return a name for comparison: in lower case, without blanks, `_` and `-`.

    Args:
        name: the name.

    Returns:
        The name for comparison.

    Example:
        >>> plain_name("Left_Atrium")
        'leftatrium'
    """
    return "".join(c for c in name.casefold() if c not in " _-")
