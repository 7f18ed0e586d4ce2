"""Settings of a run: presets, and TOML files with one table for each stage."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heartmend.anatomy.toml_file import read_toml
from heartmend.anatomy.validation import error_lines, list_errors, place
from heartmend.errors import ConfigError
from heartmend.stages.correct import CorrectSettings
from heartmend.stages.fit.stage import FitSettings
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.prepare import PrepareSettings
from heartmend.stages.refine import RefineSettings
from heartmend.stages.unify import UnifySettings
from heartmend.training.schedule import Phase

MAX_SEED = 2**32 - 1
"""Largest seed: it is multiplied for each step, and torch takes 64 bits."""


class Config(BaseModel):
    """Settings of a run; an unknown key is an error.

    Attributes:
        seed: seed of all random choices.
        prior: template of other hearts: `auto` for one or two cases, `none`, or a model file.
        prepare: settings of the stage `prepare`.
        fit: settings of the stage `fit`.
        refine: settings of the stage `refine`.
        correct: settings of the stage `correct`.
        fuse: settings of the stage `fuse`.
        unify: settings of the stage `unify`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)] = 0
    prior: Annotated[str, Field(strict=True, min_length=1, max_length=4096)] = "auto"
    prepare: PrepareSettings = PrepareSettings()
    fit: FitSettings = FitSettings()
    refine: RefineSettings = RefineSettings()
    correct: CorrectSettings = CorrectSettings()
    fuse: FuseSettings = FuseSettings()
    unify: UnifySettings = UnifySettings()


def _fast() -> Config:
    """Coarser and faster settings, for a first look and for the demo."""
    full = FitSettings().phases
    short = [replace(phase, steps=steps) for phase, steps in zip(full[:4], (60, 50, 60, 100), strict=True)]
    unify = UnifySettings()
    return Config(
        prepare=PrepareSettings(resolution=96),
        fit=FitSettings(phases=tuple(short), points=1500),
        unify=UnifySettings(
            template_phases=tuple(replace(phase, steps=60) for phase in unify.template_phases),
            phases=tuple(replace(phase, steps=250) for phase in unify.phases),
            resolution=128,
            side=40,
        ),
    )


def _reference() -> Config:
    """Settings of the reference project: a vector of 256, four steps of one case accumulated, 0.7 Dice + 0.3 focal."""
    phase = Phase(
        steps=1, code_lr=2e-3, shape_lr=5e-4, loss="dice_focal", regularisation=1e-4, band_shares=(0.5, 0.3, 0.1),
        warm_up=0.03,
    )  # fmt: skip
    return Config(
        prepare=PrepareSettings(repair_visible_errors=False),
        fit=FitSettings(
            shape="decoder", phases=(phase,), epochs=300, cases_per_step=1, gradient_accumulation=4, points=32_768
        ),
        refine=RefineSettings(label_weight=0),
        correct=CorrectSettings(images="off"),
        fuse=FuseSettings(repair_vessels=False),
    )


PRESETS = {"mend": Config, "fast": _fast, "reference": _reference}

_PHASE_KEYS: Mapping[str, str | None] = {"code_rate": "code_lr", "shape_rate": "shape_lr", "penalty": "regularisation"}
DEPRECATED_KEYS: Mapping[str, Mapping[str, str | None]] = {
    "prepare": {"mend_faults": "repair_visible_errors", "images": None, "window_hu": None},
    "fit": {"accumulate": "gradient_accumulation", "surroundings": "voxel_classifier"},
    "fit.phases": _PHASE_KEYS,
    "fuse": {"mend_tubes": "repair_vessels", "appearance": "image_edges"},
    "unify.phases": _PHASE_KEYS,
    "unify.template_phases": _PHASE_KEYS,
}
"""Keys of the version before, by table: their new names, or None where they have no effect any more."""
log = logging.getLogger(__name__)


def load_config(preset: str = "mend", path: Path | None = None) -> Config:
    """Load the settings of a preset, changed by those of a TOML file.

    Keys of the version before are read with a warning.

    Args:
        preset: a key of `PRESETS`.
        path: a TOML file with some of the settings; None for the preset itself.

    Returns:
        The settings.

    Raises:
        ConfigError: if there is no such preset, or the file cannot be read or has wrong keys or values; it lists all.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; choose one of {', '.join(PRESETS)}")
    config = PRESETS[preset]()
    if path is None:
        return config
    try:
        table = read_toml(path, "settings")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: cannot be read: there is no such file; give a file of settings") from error
    try:
        return Config.model_validate(_merged(config.model_dump(), _with_new_keys(table, path)))
    except ValidationError as error:
        raise ConfigError(list_errors(str(path), error_lines(error))) from error


def _with_new_keys(value: Any, path: Path, table: str = "") -> Any:
    """Replace deprecated keys of a table, its tables and its lists of tables, with a warning for each."""
    if isinstance(value, list):
        return [_with_new_keys(item, path, table) for item in value]
    if not isinstance(value, Mapping):
        return value
    names, renamed = DEPRECATED_KEYS.get(table, {}), dict[str, Any]()
    for key, content in value.items():
        new = names.get(key, key)
        label = f"{table}.{place(key)}".lstrip(".")
        if new is None:
            log.warning("%s: %s is ignored: it has no effect any more; remove it", path, label)
            continue
        if new != key:
            if new in value:
                raise ConfigError(f"{path}: {label} is the old name of {table}.{new}; give only the new one")
            log.warning("%s: %s is deprecated and will be removed; use %s.%s", path, label, table, new)
        renamed[new] = _with_new_keys(content, path, f"{table}.{new}".lstrip("."))
    return renamed


def _merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
