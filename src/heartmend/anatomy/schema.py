"""What a body allows, as data: the structures of a label map and what each may look like.

An anatomy is read from a TOML file (`load_anatomy`). To add a table, give `Anatomy` one more field and, when its
entries name structures, one more line in `reference_errors`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from heartmend.anatomy.rule_parameters import Rule
from heartmend.errors import ConfigError
from heartmend.types import BACKGROUND, UNKNOWN

Kind = Literal["chamber", "wall", "vessel", "appendage", "tube"]
# A name becomes the name of folders and files of a run, and a word in colour tables.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 _+-]{0,61}[A-Za-z0-9+])?$")]
Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Ratio = Annotated[float, Field(gt=0, allow_inf_nan=False)]


T = TypeVar("T")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Structure(_Table):
    """One structure: how it is stored, how it is drawn, what shape it may have."""

    id: Annotated[int, Field(strict=True, gt=BACKGROUND, lt=UNKNOWN)]
    """Its value in a label map."""
    name: Name
    aliases: tuple[str, ...] = ()
    """Other names that data sets give it; matched without regard to case, blanks, `_` and `-`."""
    colour: tuple[Channel, Channel, Channel]
    """Red, green, blue, 0 to 255."""
    kind: Kind
    """`tube` is a tree of thin vessels that is mended along its centreline."""
    repair_method: Literal["template", "voxel_classifier"] = "template"
    """What mends it, if it is no tube: one template bent to each case, or, where cases have no shape in common, a
    network that judges each voxel by what the label shows about it."""
    components: Annotated[int, Field(strict=True, ge=1)] = 1
    """How many connected pieces (26 neighbours) a whole one has."""
    neighbours: tuple[str, ...] = ()
    """What it shares a boundary with. It is enough that one of the two says so."""
    must_touch: tuple[str, ...] = ()
    """What every piece of it grows out of."""
    root: str | None = None
    """Of a tube: where its trees begin, such as the aorta."""
    min_mm3: Annotated[float, Field(ge=0)] = 0.0
    """A piece smaller than this is a crumb."""
    max_volume_change: tuple[Ratio, Ratio] = (0.5, 2.0)
    """Do no harm: the least and the largest allowed mended volume, as a share of the volume that came in."""
    max_surface_mm: Ratio = 10.0
    """Do no harm: how far the mended surface may lie from the one that came in (95th percentile)."""
    image_edges: bool = True
    """Where a case has an image: let its boundaries go to the image's edges."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """What it grows out of, be it a tube or not: `must_touch` and `root`."""
        return tuple(dict.fromkeys([*self.must_touch, *([self.root] if self.root else [])]))

    @field_validator("max_volume_change")
    @classmethod
    def _holds_one(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] <= 1 <= limits[1]:
            raise ValueError("must allow an unchanged volume: [lowest <= 1, highest >= 1]")
        return limits


class Anatomy(_Table):
    """A set of structures and the order in which they claim a voxel."""

    name: Name
    title: str = ""
    structures: tuple[Structure, ...]
    priority: tuple[str, ...]
    """Names of all structures, the one that wins an overlap first."""
    rules: tuple[Rule, ...] = ()
    """The rules of anatomy, in the order in which they are applied; none where the file has none."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if mistakes := reference_errors(self.model_dump()):
            raise ValueError("; ".join(mistakes))
        return self

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """The structures' ids, in the file's order."""
        return tuple(s.id for s in self.structures)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The structures' names, in the file's order."""
        return tuple(s.name for s in self.structures)

    def by_id(self, id: int) -> Structure:
        """The structure with this id; ConfigError when there is none."""
        for structure in self.structures:
            if structure.id == id:
                return structure
        raise ConfigError(f"anatomy {self.name} has no structure with id {id}; it has {_listed(self.ids)}")

    def by_name(self, name: str) -> Structure:
        """The structure with this name or alias, in any case; ConfigError when there is none."""
        wanted = plain(name)
        for structure in self.structures:
            if wanted in {plain(n) for n in (structure.name, *structure.aliases)}:
                return structure
        raise ConfigError(f"anatomy {self.name} has no structure {name!r}; it has {_listed(self.names)}")

    def select(self, names: Sequence[str] = (), without_kinds: Sequence[str] = ()) -> dict[str, int]:
        """Select structures.

        Args:
            names: names of the structures; empty: all of them.
            without_kinds: kinds that are left out, such as `tube`.

        Returns:
            Name -> id, in the order of the anatomy.

        Raises:
            ConfigError: if a name is not that of a structure.
        """
        chosen = [self.by_name(name) for name in names] or list(self.structures)
        return {s.name: s.id for s in self.structures if s in chosen and s.kind not in without_kinds}

    def are_neighbours(self, a: str, b: str) -> bool:
        """Whether the structures share a boundary: neighbourhood goes both ways, so either may say it."""
        return b in self.by_name(a).neighbours or a in self.by_name(b).neighbours


def plain(name: str) -> str:
    """A name as it is compared: `Left Atrium`, `left_atrium` and `LEFT-ATRIUM` are one."""
    return "".join(c for c in name.casefold() if c not in " _-")


def reference_errors(table: Mapping[str, Any]) -> list[str]:
    """What an anatomy's tables say about each other that cannot be so; tolerates values of a wrong type.

    It works on the raw table so that these mistakes are told together with those of single values.
    """
    entries = [e for e in table.get("structures") or () if isinstance(e, Mapping)]
    names = [e["name"] for e in entries if isinstance(e.get("name"), str)]
    mistakes = [] if entries else ["there is no [[structures]] table"]
    ids = Counter(_of_type(int, (e.get("id") for e in entries)))
    mistakes += [f"id {i} is used {n} times" for i, n in ids.items() if n > 1]
    spoken_for: dict[str, str] = {}
    for entry in entries:
        own = _of_type(str, (entry.get("name"), *(entry.get("aliases") or ())))
        for name in dict.fromkeys(plain(n) for n in own):
            if name in spoken_for:
                mistakes.append(f"{own[0]} and {spoken_for[name]} are both called {name!r}")
            spoken_for[name] = own[0]
        for key in ("neighbours", "must_touch", "root"):
            named = [entry[key]] if isinstance(entry.get(key), str) else entry.get(key) or ()
            for other in _of_type(str, named):
                if other not in names:
                    mistakes.append(f"{own[0] if own else '?'}.{key} names {other!r}, which is no structure")
                elif own and other == own[0]:
                    mistakes.append(f"{own[0]}.{key} names itself")
    priority = _of_type(str, table.get("priority") or ())
    mistakes += [f"priority names {n!r}, which is no structure" for n in priority if n not in names]
    mistakes += [f"priority names {n!r} {k} times" for n, k in Counter(priority).items() if k > 1]
    mistakes += [f"priority lacks {n!r}" for n in names if n not in priority]
    for rule in (r for r in table.get("rules") or () if isinstance(r, Mapping)):
        for key in ("structures", "near", "root"):
            listed = [rule[key]] if isinstance(rule.get(key), str) else rule.get(key) or ()
            mistakes += [
                f"rules.{rule.get('rule', '?')}.{key} names {n!r}, which is no structure"
                for n in _of_type(str, listed)
                if n not in names
            ]
    return mistakes


def _of_type(kind: type[T], values: Iterable[Any]) -> list[T]:
    return [v for v in values if isinstance(v, kind)]


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
