"""Schema of an anatomy: the structures of a label map and their limits.

An anatomy is read from a TOML file (`load_anatomy`). To add a table, give `Anatomy` one more field; when its entries
name structures, add a line to `reference_errors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from heartmend.anatomy.rule_parameters import Rule
from heartmend.errors import ConfigError
from heartmend.types import BACKGROUND, MAX_VALUE, UNKNOWN

Kind = Literal["chamber", "wall", "vessel", "appendage", "tube"]
# A name becomes the name of folders and files of a run, and a word in colour tables.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 _+-]{0,61}[A-Za-z0-9+])?$")]
Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
# The upper limits are beyond any anatomy: a larger value is a mistake, such as one of the unit.
Ratio = Annotated[float, Field(strict=True, gt=0, le=1000)]
Length = Annotated[float, Field(strict=True, gt=0, le=1000)]
MAX_STRUCTURES = UNKNOWN - BACKGROUND - 1
"""Most structures of an anatomy: a voxel of a label map has 254 ids."""
# Names that refer to structures; a wrong one is reported by `reference_errors`.
Reference = Annotated[str, StringConstraints(max_length=63)]
References = Annotated[tuple[Reference, ...], Field(max_length=MAX_STRUCTURES)]
Alias = Annotated[str, StringConstraints(min_length=1, max_length=100)]

T = TypeVar("T")
# Longer lists have an error of their own.
_MAX_LISTED = 300


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Term(_Table):
    """A code for what a structure is, as DICOM and 3D Slicer use it."""

    scheme: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,16}$")] = "SCT"
    """Coding scheme designator; SCT is SNOMED CT."""
    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,16}$")]
    """Code value."""
    meaning: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\\^~|]{1,64}$")]
    """Code meaning, a text for readers."""


class Structure(_Table):
    """A structure of an anatomy: its id, its name, its colour and its limits."""

    id: Annotated[int, Field(strict=True, gt=BACKGROUND, lt=UNKNOWN)]
    """Its value in a label map in memory, 1 to 254."""
    file_id: Annotated[int, Field(strict=True, gt=BACKGROUND, le=MAX_VALUE)] | None = None
    """Its value in a file where that is above 254. An anatomy file gives it as `id`; `load_anatomy` chooses `id`."""
    name: Name
    """Its name, also in file names and tables."""
    aliases: Annotated[tuple[Alias, ...], Field(max_length=100)] = ()
    """Other names of it in data sets; compared without case, blanks, `_` and `-`."""
    colour: tuple[Channel, Channel, Channel]
    """Red, green, blue, 0 to 255."""
    kind: Kind
    """`tube` is a tree of thin vessels, which is repaired along its centreline."""
    repair_method: Literal["template", "voxel_classifier"] = "template"
    """How it is repaired if it is no tube: by a template that is deformed to each case, or, where the cases have no
    common shape, by a network that classifies each voxel from the label around it."""
    components: Annotated[int, Field(strict=True, ge=1, le=1000)] = 1
    """Expected number of connected components (26-connectivity) in a large field of view."""
    neighbours: References = ()
    """Names of the structures that share a boundary with it; it is enough that one of the two lists the other."""
    must_touch: References = ()
    """Names of the structures that each of its components grows out of."""
    root: Reference | None = None
    """Of a tube: the structure in which its trees start, such as the aorta."""
    min_mm3: Annotated[float, Field(strict=True, ge=0, le=1e7)] = 0.0
    """Components below this volume are small components, in mm³."""
    max_volume_change: tuple[Ratio, Ratio] = (0.5, 2.0)
    """Acceptance: smallest and largest ratio of the repaired to the original volume."""
    max_surface_mm: Length = 10.0
    """Acceptance: largest HD95 between the repaired and the original surface, in mm."""
    image_edges: Annotated[bool, Field(strict=True)] = True
    """Whether its boundaries are moved to the edges of the image, where a case has one."""
    optional: Annotated[bool, Field(strict=True)] = False
    """Whether a run whose label maps all lack it works as if the anatomy did not have it."""
    terminology: Term | None = None
    """Its code in a terminology, for 3D Slicer and DICOM."""

    @property
    def value(self) -> int:
        """Its value in a file that has the ids of the anatomy."""
        return self.id if self.file_id is None else self.file_id

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the structures that it grows out of, for tubes and others: `must_touch` and `root`."""
        return tuple(dict.fromkeys([*self.must_touch, *([self.root] if self.root else [])]))

    @field_validator("max_volume_change")
    @classmethod
    def _contains_one(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] <= 1 <= limits[1]:
            raise ValueError("must allow an unchanged volume: [lowest <= 1, highest >= 1]")
        return limits


class Region(_Table):
    """A named part of the surface of a structure, for reports."""

    name: Name
    """Its name, such as mitral plane."""
    structure: Reference
    """Name of the structure."""
    beside: Reference | None = None
    """Name of the structure on the other side; absent: the background."""
    away_from: Reference | None = None
    """Name of a structure: the region is the part that is farthest from it; absent: the whole surface."""
    share: Annotated[float, Field(strict=True, gt=0, le=1)] = 0.2
    """Share of the structure's surface that is farthest."""


class Anatomy(_Table):
    """An anatomy: its structures, their order of priority, its rules and its named regions."""

    name: Name
    """Its name, also in file names."""
    title: Annotated[str, StringConstraints(max_length=200)] = ""
    """One line that describes it."""
    structures: Annotated[tuple[Structure, ...], Field(max_length=MAX_STRUCTURES)]
    """Its structures, in the order of the file."""
    priority: References
    """Names of all structures; where two overlap, the voxel belongs to the first one."""
    rules: Annotated[tuple[Rule, ...], Field(max_length=100)] = ()
    """Its anatomical rules, in the order in which they are applied."""
    regions: Annotated[tuple[Region, ...], Field(max_length=300)] = ()
    """Named parts of the surfaces; the first one that fits is taken."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if errors := reference_errors(self.model_dump()):
            raise ValueError("; ".join(errors))
        return self

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """Ids of the structures, in the order of the file."""
        return tuple(s.id for s in self.structures)

    @cached_property
    def values(self) -> dict[int, int]:
        """Value in a file that has the ids of the anatomy -> id, in the order of the file."""
        return {s.value: s.id for s in self.structures}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the structures, in the order of the file."""
        return tuple(s.name for s in self.structures)

    def by_id(self, id: int) -> Structure:
        """Find a structure by its id.

        Args:
            id: value in a label map.

        Returns:
            The structure.

        Raises:
            ConfigError: if the anatomy has no such structure.

        Example:
            >>> from heartmend.anatomy.load import load_anatomy
            >>> load_anatomy("heart").by_id(3).name
            'LV'
        """
        for structure in self.structures:
            if structure.id == id:
                return structure
        raise ConfigError(f"anatomy {self.name} has no structure with id {id}; it has {_listed(self.ids)}")

    def by_name(self, name: str) -> Structure:
        """Find a structure by its name or one of its aliases.

        Args:
            name: the name; case, blanks, `_` and `-` make no difference.

        Returns:
            The structure.

        Raises:
            ConfigError: if the anatomy has no such structure.

        Example:
            >>> from heartmend.anatomy.load import load_anatomy
            >>> load_anatomy("heart").by_name("left_atrium").id
            2
        """
        wanted = _normalised(name)
        for structure in self.structures:
            if wanted in {_normalised(n) for n in (structure.name, *structure.aliases)}:
                return structure
        raise ConfigError(f"anatomy {self.name} has no structure {name[:100]!r}; it has {_listed(self.names)}")

    def select(self, names: Sequence[str] = (), without_kinds: Sequence[str] = ()) -> dict[str, int]:
        """Select structures.

        Args:
            names: names of the structures; empty: all of them.
            without_kinds: kinds that are left out, such as `tube`.

        Returns:
            Name -> id, in the order of the anatomy.

        Raises:
            ConfigError: if a name is not that of a structure.

        Example:
            >>> from heartmend.anatomy.load import load_anatomy
            >>> load_anatomy("heart").select(["left ventricle", "Coronary"], without_kinds=["tube"])
            {'LV': 3}
        """
        chosen = [self.by_name(name) for name in names] or list(self.structures)
        return {s.name: s.id for s in self.structures if s in chosen and s.kind not in without_kinds}

    def without_absent(self, present: Collection[str]) -> Anatomy:
        """Leave out the optional structures that a data set does not have.

        Args:
            present: names of the structures that at least one of its label maps has.

        Returns:
            The anatomy without them: also in the order of priority, among the neighbours, and in the rules. The anatomy
            itself if nothing is left out.

        Example:
            >>> from heartmend.anatomy.load import load_anatomy
            >>> len(load_anatomy("heart").names), len(load_anatomy("heart").without_absent(["LA", "SVC"]).names)
            (12, 11)
        """
        left_out = {s.name for s in self.structures if s.optional and s.name not in present}
        if not left_out:
            return self
        table = self.model_dump()
        for key in ("structures", "priority"):
            table[key] = [e for e in table[key] if (e["name"] if key == "structures" else e) not in left_out]
        for structure in table["structures"]:
            for key in ("neighbours", "must_touch"):
                structure[key] = [name for name in structure[key] if name not in left_out]
            if structure["root"] in left_out:
                structure["root"] = None
        table["rules"] = [rule for rule in table["rules"] if _drop_references(rule, left_out)]
        return Anatomy.model_validate(table)

    def are_neighbours(self, a: str, b: str) -> bool:
        """Test whether two structures share a boundary.

        Args:
            a: name of a structure.
            b: name of another structure.

        Returns:
            Whether one of the two lists the other among its neighbours.

        Raises:
            ConfigError: if a name is not that of a structure.

        Example:
            >>> from heartmend.anatomy.load import load_anatomy
            >>> load_anatomy("heart").are_neighbours("LV", "RV")
            False
        """
        return b in self.by_name(a).neighbours or a in self.by_name(b).neighbours


def reference_errors(table: Mapping[str, Any]) -> list[str]:
    """Find the references in an anatomy's tables that are not consistent.

    It works on the raw table, so that these errors can be reported together with those of single values; values of a
    wrong type are ignored here.

    Args:
        table: the content of an anatomy file.

    Returns:
        One message per error.
    """
    entries = [e for e in _listing(table.get("structures")) if isinstance(e, Mapping)][:MAX_STRUCTURES]
    listed = [e["name"] for e in entries if isinstance(e.get("name"), str)]
    names = set(listed)
    errors = [] if entries else ["there is no [[structures]] table"]
    ids = Counter(_of_type(int, (e.get("id") if e.get("file_id") is None else e["file_id"] for e in entries)))
    errors += [f"id {i} is used {n} times" for i, n in ids.items() if n > 1]
    if any(e.get("optional") is True for e in entries) and all(
        e.get("optional") is True or e.get("kind") == "tube" for e in entries
    ):
        errors.append("all structures but tubes are optional; one must not be, because a shape is fitted to it")
    owners: dict[str, str] = {}
    for entry in entries:
        own = _of_type(str, (entry.get("name"), *_listing(entry.get("aliases"))[:_MAX_LISTED]))
        for name in dict.fromkeys(_normalised(n) for n in own):
            if name in owners:
                errors.append(f"{own[0]} and {owners[name]} are both called {name!r}")
            if not name:
                errors.append(f"{own[0]}: a name or an alias contains blanks, `_` and `-` alone")
            owners[name] = own[0]
        for key in ("neighbours", "must_touch", "root"):
            for other in _references(entry, key):
                if other not in names:
                    errors.append(f"{own[0] if own else '?'}.{key} names {other!r}, which is no structure")
                elif own and other == own[0]:
                    errors.append(f"{own[0]}.{key} names itself")
    priority = _references(table, "priority")
    errors += [f"priority names {n!r}, which is no structure" for n in priority if n not in names]
    errors += [f"priority names {n!r} {k} times" for n, k in Counter(priority).items() if k > 1]
    named = set(priority)
    errors += [f"priority lacks {n!r}" for n in listed if n not in named]
    for rule in (r for r in _listing(table.get("rules"))[:_MAX_LISTED] if isinstance(r, Mapping)):
        for key in ("structures", "near", "root"):
            errors += [
                f"rules.{rule.get('rule', '?')}.{key} names {n!r}, which is no structure"
                for n in _references(rule, key)
                if n not in names
            ]
    for region in (r for r in _listing(table.get("regions"))[:_MAX_LISTED] if isinstance(r, Mapping)):
        for key in ("structure", "beside", "away_from"):
            errors += [
                f"regions.{region.get('name', '?')}.{key} names {n!r}, which is no structure"
                for n in _references(region, key)
                if n not in names
            ]
    return errors


def _drop_references(rule: dict[str, Any], names: Collection[str]) -> bool:
    """Remove names from a rule; False if the rule has nothing left to work on."""
    for key in ("structures", "near"):
        if rule.get(key):
            rule[key] = [name for name in rule[key] if name not in names]
            if not rule[key]:
                return False
    return rule.get("root") not in names


def _listing(value: object) -> Sequence[Any]:
    """A list of a raw table; empty where the value has another type."""
    return value if isinstance(value, list | tuple) else ()


def _references(entry: Mapping[str, Any], key: str) -> list[str]:
    """The names of structures in a value of a raw table, which is one name or a list."""
    value = entry.get(key)
    return [value] if isinstance(value, str) else _of_type(str, _listing(value)[:_MAX_LISTED])


def _normalised(name: str) -> str:
    """A name for comparison: `Left Atrium`, `left_atrium` and `LEFT-ATRIUM` are equal."""
    return "".join(c for c in name.casefold() if c not in " _-")


def _of_type(kind: type[T], values: Iterable[Any]) -> list[T]:
    return [v for v in values if isinstance(v, kind)]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
