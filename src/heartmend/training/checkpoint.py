"""Checkpoints and model files of a fit, as safetensors without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from heartmend.anatomy.validation import error_lines, shorten
from heartmend.errors import DamagedError, HeartmendError, RunError
from heartmend.io.atomic import write_safetensors
from heartmend.io.file_names import check_case_id
from heartmend.io.regular import open_to_read
from heartmend.io.strict_json import parse_json
from heartmend.io.tensor_header import (
    TensorHeader,
    TensorSpec,
    check_finite,
    check_tensors,
    read_array,
    read_tensor_header,
)
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.shape_schema import check_settings
from heartmend.models.shapes import make_shape, spec_of, weight_specs
from heartmend.training.loop import Fit, Position
from heartmend.training.schedule import MAX_STEP_POINTS

MAX_TIME_SHARE = 0.05
"""Share of the run time that checkpoints may take: for a thousand hearts they are gigabytes."""


class Checkpoints:
    """Periodic checkpoints of a fit, written when all of its processes agree."""

    def __init__(self, path: Path, seconds: float) -> None:
        """Start the clock.

        Args:
            path: the checkpoint file.
            seconds: time between two checkpoints, longer where writing is slow; 0 to write at every opportunity.
        """
        self.path, self._seconds = path, seconds
        self._wait, self._saved = seconds, time.monotonic()

    def save_if_due(self, fit: Fit, now: bool = False) -> None:
        """Write a checkpoint if it is due; every process must call it.

        Args:
            fit: the fit, between two steps.
            now: whether to write in any case.
        """
        if not fit.ranks.broadcast(now or time.monotonic() - self._saved > self._wait):
            return
        started = time.monotonic()
        save_fit(self.path, fit)
        self._saved = time.monotonic()
        if self._seconds:
            self._wait = max(self._seconds, (self._saved - started) / MAX_TIME_SHARE)


def save_fit(path: Path, fit: Fit) -> None:
    """Write a checkpoint: weights, codes, moments of the optimisers and position; every process must call it.

    The main process writes one file for all cases, independent of the number of processes.

    Args:
        path: the checkpoint file, replaced atomically.
        fit: the fit, between two steps.
    """
    tensors: dict[str, Tensor | None] = {f"shape.{name}": value for name, value in fit.shape.state_dict().items()}
    tensors |= {f"codes.{name}": fit.ranks.gather_rows(value) for name, value in fit.codes.values.items()}
    if fit.shape_optimiser is not None:
        for row, parameter in enumerate(fit.shape_optimiser.param_groups[0]["params"]):
            moments = fit.shape_optimiser.state.get(parameter, {})
            tensors |= {f"shape_optimiser.{row}.{name}": value for name, value in moments.items()}
    tensors |= {f"code_optimiser.{name}": fit.ranks.gather_rows(value) for name, value in _code_moments(fit).items()}
    ids = fit.ranks.all_gather(fit.codes.ids)
    if fit.ranks.is_main:
        stored = {name: value for name, value in tensors.items() if value is not None}
        _write(path, stored, {"position": asdict(fit.position), "ids": ids})


def is_intact(path: Path) -> bool:
    """Check whether a model or checkpoint file has the content that was written.

    Args:
        path: the file.

    Returns:
        True if it is intact.
    """
    try:
        with _open(path) as stored:
            stored.tensors()
    except RunError:
        return False
    return True


def load_fit(path: Path, fit: Fit) -> None:
    """Load a checkpoint into a new fit; every process must call it and loads the rows of its own cases.

    Args:
        path: the checkpoint file; it may have been written by another number of processes.
        fit: a fit of the same cases and phases, modified in place.

    Raises:
        RunError: if the file is damaged, of other cases, or of another version of Heartmend.
    """
    with _open(path) as stored:
        if stored.metadata.get("ids") != list(fit.ranks.all_gather(fit.codes.ids)):
            raise RunError(f"{path}: is the checkpoint of other cases; give another output folder or delete the file")
        position = _position(path, stored.metadata, fit)
        # At the end of a phase the loop itself starts the next one, from the resolution of the one before.
        resolution = position.phase - 1 if position.step == 0 and position.phase else position.phase
        fit.seek(Position(phase=min(resolution, len(fit.phases) - 1), step=0, points=position.points))
        fit.position = position
        try:
            check_tensors(stored.header, _fit_specs(fit, len(stored.metadata["ids"]), stored.header))
        except ValueError as error:
            raise RunError(
                f"{path}: was written by another version of Heartmend ({error}); delete it to start again"
            ) from error
        tensors = stored.tensors()
    tensors |= {name: _own_rows(value, fit) for name, value in tensors.items() if name.startswith("codes.")}
    _load_model(fit.shape, fit.codes, tensors)
    for name, value in _code_moments(fit).items():
        value.copy_(_own_rows(tensors[f"code_optimiser.{name}"], fit))
    if position.step == 0 or fit.shape_optimiser is None:
        return
    for row, parameter in enumerate(fit.shape_optimiser.param_groups[0]["params"]):
        prefix = f"shape_optimiser.{row}."
        saved = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if saved:
            step = saved.pop("step")
            step = step.to(parameter.device) if fit.shape_optimiser.defaults["fused"] else step.cpu()
            # In the parameter's own memory layout: a fused optimiser requires it.
            moments = {name: torch.empty_like(parameter).copy_(value) for name, value in saved.items()}
            fit.shape_optimiser.state[parameter] = {"step": step, **moments}


def _own_rows(rows: Tensor, fit: Fit) -> Tensor:
    return rows[fit.ranks.rank :: fit.ranks.count]


def save_model(path: Path, shape: Shape, codes: CodeBook, **notes: float) -> None:
    """Write a fitted shape and the codes of its cases.

    Args:
        path: the model file, replaced atomically.
        shape: the fitted shape.
        codes: the codes of all cases.
        notes: further metadata of the file, such as its Dice.
    """
    metadata = {"shape": shape.kind, "settings": shape.settings(), "ids": list(codes.ids), **notes}
    _write(path, _model_tensors(shape, codes), metadata)


def load_shape_and_codes(path: Path, device: torch.device | None = None) -> tuple[Shape, CodeBook]:
    """Load the shape and the codes that `save_model` wrote.

    Args:
        path: the model file.
        device: where to put the tensors; the CPU if not given.

    Returns:
        The shape and the codes.

    Raises:
        RunError: if the file is damaged or not a model.
    """
    with _open(path) as stored:
        metadata = stored.metadata
        try:
            kind, settings, ids = metadata["shape"], metadata["settings"], metadata["ids"]
            checked = check_settings(kind, settings)
            if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
                raise ValueError("ids is no list of texts")
            for id in ids:
                check_case_id(id)
            specs = {f"shape.{name}": spec for name, spec in weight_specs(kind, settings).items()}
            codes_of = checked.code_specs(len(ids))
            check_tensors(stored.header, specs | {f"codes.{name}": spec for name, spec in codes_of.items()})
            tensors = stored.tensors()
            shape = make_shape(kind, settings)
            codes = CodeBook(ids, {name: tensors[f"codes.{name}"] for name in codes_of})
        except (HeartmendError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DamagedError):
                raise
            reason = "; ".join(error_lines(error)[:3]) if isinstance(error, ValidationError) else str(error)
            raise RunError(
                f"{path}: is not a model of Heartmend ({shorten(reason, 500)}); delete it and run the command that "
                "writes it again"
            ) from error
    _load_model(shape, codes, tensors)
    return shape.to(device), codes.to(device)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of a model or checkpoint file.

    Args:
        path: a file that `save_model` or `save_fit` wrote.

    Returns:
        The metadata without the tensors.

    Raises:
        RunError: if the file is damaged.
    """
    with _open(path) as stored:
        return stored.metadata


def _code_moments(fit: Fit) -> dict[str, Tensor]:
    """Moments and draws of the codes: tensors whose first axis is the case."""
    optimiser = fit.code_optimiser
    moments = {f"{name}.{order}": part for name, parts in optimiser.moments.items() for order, part in enumerate(parts)}
    return {"draws": optimiser.draws, **moments}


def _model_tensors(shape: Shape, codes: CodeBook) -> dict[str, Tensor]:
    tensors = {f"shape.{name}": value for name, value in shape.state_dict().items()}
    return tensors | {f"codes.{name}": value for name, value in codes.values.items()}


def _load_model(shape: Shape, codes: CodeBook, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in shape.state_dict().items():
            value.copy_(tensors[f"shape.{name}"])
        for name, value in codes.values.items():
            value.copy_(tensors[f"codes.{name}"])


def _write(path: Path, tensors: dict[str, Tensor], metadata: Mapping[str, Any]) -> None:
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    # One text: safetensors writes several in random order.
    table = {**metadata, "digest": _digest(arrays, metadata)}
    write_safetensors(path, arrays, {"metadata": json.dumps(table)})


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    """Digest of all content of a file: safetensors has none, and a changed byte would be read as a number."""
    digest = hashlib.blake2b(json.dumps(metadata).encode(), digest_size=16)
    for name, array in sorted((name, np.ascontiguousarray(array)) for name, array in arrays.items()):
        digest.update(f"\0{name} {array.shape} {array.dtype.str}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@dataclass
class _Stored:
    """Open file of a fit, whose header is checked."""

    path: Path
    file: BufferedReader
    header: TensorHeader
    metadata: dict[str, Any]
    digest: str | None

    def tensors(self) -> dict[str, Tensor]:
        """Read and check all tensors; they need as much memory as the file."""
        arrays: dict[str, np.ndarray] = {}
        try:
            for name, info in sorted(self.header.tensors.items(), key=lambda item: item[1].start):
                arrays[name] = read_array(self.file, self.header, info)
                check_finite(name, arrays[name])
            if "codes.slot" in arrays and "codes.detail" in arrays:
                _check_slots(arrays["codes.slot"], arrays["codes.detail"])
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from error
        if self.digest is not None and _digest(arrays, self.metadata) != self.digest:
            raise DamagedError(
                f"{self.path}: is damaged: its content was changed since it was written; delete it to start again"
            )
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _check_slots(slots: np.ndarray, details: np.ndarray) -> None:
    if slots.size and (details.ndim != 3 or not 0 <= slots.min() <= slots.max() < details.shape[1]):
        raise ValueError("codes.slot contains a slot that codes.detail does not have")


@contextmanager
def _open(path: Path) -> Iterator[_Stored]:
    """Open a file of a fit and check its header; only then can its tensors be read."""
    try:
        file = open_to_read(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        try:
            header = read_tensor_header(file, os.fstat(file.fileno()).st_size)
            metadata = parse_json(header.metadata["metadata"].encode())
            if not isinstance(metadata, dict):
                raise ValueError("its metadata is no table")
            digest = metadata.pop("digest", None)
            if not isinstance(digest, str | None):
                raise ValueError("its digest is no text")
            if not isinstance(metadata.get("dice", 0.0), int | float):
                raise ValueError("its Dice is not a number")
        except (OSError, KeyError, ValueError) as error:
            raise _unreadable(path, error) from error
        yield _Stored(path, file, header, metadata, digest)


def _unreadable(path: Path, error: Exception) -> DamagedError:
    return DamagedError(
        f"{path}: cannot be read as a checkpoint ({shorten(str(error), 300)}); delete it to start again"
    )


def _position(path: Path, metadata: Mapping[str, Any], fit: Fit) -> Position:
    """The position of a checkpoint, within the phases of the fit."""
    if "position" not in metadata:
        raise RunError(f"{path}: is not the checkpoint of a fit; delete it to start again")
    table = metadata["position"]
    names = [one.name for one in fields(Position)]
    if not isinstance(table, dict) or sorted(table) != sorted(names) or any(type(n) is not int for n in table.values()):
        raise RunError(f"{path}: its position is not {', '.join(names)}; delete it to start again")
    position = Position(**table)
    steps = [*(phase.steps for phase in fit.phases), 0]
    if (
        not 0 <= position.phase < len(steps)
        or not 0 <= position.step <= steps[position.phase]
        or not 1 <= position.points <= MAX_STEP_POINTS
    ):
        raise RunError(f"{path}: its position {table} is beyond the {len(fit.phases)} phases; delete it to start again")
    return position


def _fit_specs(fit: Fit, cases: int, header: TensorHeader) -> dict[str, TensorSpec]:
    """Type and shape of every tensor of a checkpoint. An optimiser has no moments before its first step."""
    specs = {f"shape.{name}": spec_of(value) for name, value in fit.shape.state_dict().items()}
    for name, rows in (
        *((f"codes.{name}", value) for name, value in fit.codes.values.items()),
        *((f"code_optimiser.{name}", value) for name, value in _code_moments(fit).items()),
    ):
        dtype, (_, *shape) = spec_of(rows)
        specs[name] = (dtype, (cases, *shape))
    if fit.shape_optimiser is not None:
        for row, parameter in enumerate(fit.shape_optimiser.param_groups[0]["params"]):
            prefix = f"shape_optimiser.{row}."
            if f"{prefix}step" in header.tensors:
                specs |= {f"{prefix}{name}": spec_of(parameter) for name in ("exp_avg", "exp_avg_sq")}
                # NumPy stores a scalar with one axis.
                specs[f"{prefix}step"] = ("F32", (1,))
    return specs
