"""All settings of a run: one table for each verb, read from TOML, every mistake told at once."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heartmend.errors import ConfigError
from heartmend.stages.fit import FitSettings
from heartmend.stages.fuse import FuseSettings
from heartmend.stages.prepare import PrepareSettings
from heartmend.stages.refine import RefineSettings
from heartmend.stages.unify import UnifySettings
from heartmend.training.schedule import Phase


class Config(BaseModel):
    """What a run does. Each table has the name of its verb; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0)] = 0
    prepare: PrepareSettings = PrepareSettings()
    fit: FitSettings = FitSettings()
    refine: RefineSettings = RefineSettings()
    fuse: FuseSettings = FuseSettings()
    unify: UnifySettings = UnifySettings()


def _fast() -> Config:
    """Coarser and sooner: for a first look, and for the demo."""
    full = FitSettings().phases
    short = [replace(phase, steps=steps) for phase, steps in zip(full[:4], (60, 50, 60, 100), strict=True)]
    whole = UnifySettings()
    return Config(
        prepare=PrepareSettings(resolution=96),
        fit=FitSettings(phases=tuple(short), points=1500),
        unify=UnifySettings(
            template_phases=tuple(replace(phase, steps=60) for phase in whole.template_phases),
            phases=tuple(replace(phase, steps=250) for phase in whole.phases),
            resolution=128,
            side=40,
        ),
    )


def _reference() -> Config:
    """The reference project's settings: a vector of 256, one case a step and four accumulated, 0.7 Dice + 0.3 focal."""
    phase = Phase(
        steps=1, code_lr=2e-3, shape_lr=5e-4, loss="dice_focal", regularisation=1e-4, band_shares=(0.5, 0.3, 0.1),
        warm_up=0.03,
    )  # fmt: skip
    return Config(
        prepare=PrepareSettings(repair_faults=False),
        fit=FitSettings(
            shape="decoder", phases=(phase,), epochs=300, cases_per_step=1, gradient_accumulation=4, points=32_768
        ),
        refine=RefineSettings(label_weight=0),
        fuse=FuseSettings(repair_vessels=False),
    )


PRESETS = {"mend": Config, "fast": _fast, "reference": _reference}


def load_config(preset: str = "mend", path: Path | None = None) -> Config:
    """The settings of a preset, with what a TOML file says otherwise. ConfigError lists every mistake of the file."""
    if preset not in PRESETS:
        raise ConfigError(f"no preset is called {preset!r}; there are {', '.join(PRESETS)}")
    config = PRESETS[preset]()
    if path is None:
        return config
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    try:
        return Config.model_validate(_merged(config.model_dump(), table))
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {mistakes}") from error


def _merged(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
