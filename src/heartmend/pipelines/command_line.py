"""The command line that has the same effect as a request, for the records of a run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from heartmend.pipelines.config import PRESETS, Config

_OPTIONS = {"output": "--output", "unknown_labels": "--unknown-labels", "preset_ids": "--preset-ids",
            "stop_after": "--stop-after"}  # fmt: skip


def command_line(command: str, request: Any, config: Config | None = None) -> tuple[str, ...]:
    """Write a request as a command line; options with their default are left out.

    Args:
        command: name of the command.
        request: a dataclass whose fields are named as the options.
        config: the settings; None for a command without presets.

    Returns:
        The words, such as ("heartmend", "run", "labels", "--output", "out"). Settings that no preset has are named
        FILE, because a request does not contain their file.

    Example:
        >>> from heartmend.pipelines.run import Request
        >>> command_line("run", Request(Path("labels"), Path("out"), stop_after="fuse"), Config())
        ('heartmend', 'run', 'labels', '--output', 'out', '--stop-after', 'fuse')
    """
    arguments, options = list[str](), list[str]()
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in ("model", "labels"):
            arguments.append(str(value))
        elif value == field.default or value is None:
            continue
        elif field.name == "resume":
            options.append("--no-resume")
        else:
            name = _OPTIONS.get(field.name, f"--{field.name}")
            options += [name, value if isinstance(value, str) else _text(value)]
    return ("heartmend", command, *arguments, *options, *(_settings(config) if config is not None else ()))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value) if isinstance(value, Path | int | float) else "TABLE"


def _settings(config: Config) -> tuple[str, ...]:
    for name, make in PRESETS.items():
        preset = make()
        far = preset.prepare.model_copy(update={"keep_far_components": True})
        for known, more in ((preset, ()), (preset.model_copy(update={"prepare": far}), ("--keep-far-components",))):
            if config == known:
                return (*(() if name == "mend" else ("--preset", name)), *more)
    return ("--config", "FILE")
