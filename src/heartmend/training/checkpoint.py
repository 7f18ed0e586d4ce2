"""Checkpoints and model files of a fit, as safetensors without pickle."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from heartmend.errors import DamagedError, RunError
from heartmend.io.atomic import write_safetensors
from heartmend.io.regular import check_regular
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.shapes import make_shape
from heartmend.training.loop import Fit, Position

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
    """Check whether a model or checkpoint file has the content that was written."""
    try:
        _read(path)
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
    tensors, metadata = _read(path)
    if metadata.get("ids") != fit.ranks.all_gather(fit.codes.ids):
        raise RunError(f"{path}: is the checkpoint of other cases; give another output folder or delete the file")
    if "position" not in metadata:
        raise RunError(f"{path}: is not the checkpoint of a fit; delete it to start again")
    position = Position(**metadata["position"])
    # At the end of a phase the loop itself starts the next one, from the resolution of the one before.
    resolution = position.phase - 1 if position.step == 0 and position.phase else position.phase
    fit.seek(Position(phase=min(resolution, len(fit.phases) - 1), step=0, points=position.points))
    fit.position = position
    tensors |= {name: _own_rows(value, fit) for name, value in tensors.items() if name.startswith("codes.")}
    try:
        _load_model(fit.shape, fit.codes, tensors)
        for name, value in _code_moments(fit).items():
            value.copy_(_own_rows(tensors[f"code_optimiser.{name}"], fit))
    except (KeyError, RuntimeError) as error:
        raise RunError(
            f"{path}: was written by another version of Heartmend ({error}); delete it to start again"
        ) from error
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


def load_model(path: Path, device: torch.device | None = None) -> tuple[Shape, CodeBook]:
    """Load the shape and the codes that `save_model` wrote.

    Args:
        path: the model file.
        device: where to put the tensors; the CPU if not given.

    Returns:
        The shape and the codes.

    Raises:
        RunError: if the file is damaged or not a model.
    """
    tensors, metadata = _read(path)
    try:
        shape = make_shape(metadata["shape"], metadata["settings"])
        names = [name.removeprefix("codes.") for name in tensors if name.startswith("codes.")]
        codes = CodeBook(metadata["ids"], {name: tensors[f"codes.{name}"] for name in names})
        _load_model(shape, codes, tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path}: is not a model of Heartmend ({error})") from error
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
    return _read(path)[1]


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


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["metadata"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        digest = metadata.pop("digest", None)
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError, AttributeError, TypeError) as error:
        raise DamagedError(f"{path}: cannot be read as a checkpoint ({error}); delete it to start again") from error
    if digest is not None and _digest({name: tensor.numpy() for name, tensor in tensors.items()}, metadata) != digest:
        raise DamagedError(
            f"{path}: is damaged: its content was changed since it was written; delete it to start again"
        )
    return tensors, metadata
