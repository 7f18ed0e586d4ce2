"""A fit on disk, to go on with after a kill at any moment: one file, whole or not there, without pickle."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from heartmend.errors import RunError
from heartmend.io.atomic import write_safetensors
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.shapes import make_shape
from heartmend.training.loop import Fit, Position

MOST_TIME = 0.05
"""Of all time that may go into checkpoints: those of a thousand hearts are gigabytes."""


class Checkpoints:
    """Saves a fit now and then, at a moment that all of its processes agree on."""

    def __init__(self, path: Path, seconds: float) -> None:
        """seconds: between two, more where saving takes long; 0: at every chance."""
        self.path, self._seconds = path, seconds
        self._wait, self._saved = seconds, time.monotonic()

    def reached(self, fit: Fit, now: bool = False) -> None:
        """To be told whenever a fit can be saved; now: it must be. All processes must call it."""
        if not fit.ranks.agreed(now or time.monotonic() - self._saved > self._wait):
            return
        began = time.monotonic()
        save_fit(self.path, fit)
        self._saved = time.monotonic()
        if self._seconds:
            self._wait = max(self._seconds, (self._saved - began) / MOST_TIME)


def save_fit(path: Path, fit: Fit) -> None:
    """Write all that `load_fit` needs to go on exactly here: weights, codes, the optimiser's moments, the position.

    Of several processes all must call it; the leader writes one file of all cases, whatever their number.
    """
    tensors: dict[str, Tensor | None] = {f"shape.{name}": value for name, value in fit.shape.state_dict().items()}
    tensors |= {f"codes.{name}": fit.ranks.gather_rows(value) for name, value in fit.codes.values.items()}
    if fit.weights is not None:
        for row, parameter in enumerate(fit.weights.param_groups[0]["params"]):
            moments = fit.weights.state.get(parameter, {})
            tensors |= {f"weights.{row}.{name}": value for name, value in moments.items()}
    tensors |= {f"moves.{name}": fit.ranks.gather_rows(value) for name, value in _moves(fit).items()}
    ids = fit.ranks.all_gather(fit.codes.ids)
    if fit.ranks.is_main:
        kept = {name: value for name, value in tensors.items() if value is not None}
        _write(path, kept, {"position": asdict(fit.position), "ids": ids})


def load_fit(path: Path, fit: Fit) -> None:
    """Bring a newly made fit to where the file's stood. RunError when the file is not of the same cases or damaged.

    Of several processes each takes the rows of its own cases; their number may be another than when it was saved.
    """
    tensors, about = _read(path)
    if about.get("ids") != fit.ranks.all_gather(fit.codes.ids):
        raise RunError(f"{path}: is the checkpoint of other cases; give another --out or remove it")
    # At the end of a phase the next one is entered by the loop itself, from the old resolution.
    if "position" not in about:
        raise RunError(f"{path}: is no checkpoint of a fit; remove it to begin again")
    position = Position(**about["position"])
    resolution = position.phase - 1 if position.step == 0 and position.phase else position.phase
    fit.seek(Position(phase=min(resolution, len(fit.phases) - 1), step=0, points=position.points))
    fit.position = position
    tensors |= {name: _own(value, fit) for name, value in tensors.items() if name.startswith("codes.")}
    try:
        _load_model(fit.shape, fit.codes, tensors)
        for name, value in _moves(fit).items():
            value.copy_(_own(tensors[f"moves.{name}"], fit))
    except (KeyError, RuntimeError) as error:
        raise RunError(f"{path}: another version of Heartmend left it ({error}); remove it to begin again") from error
    if position.step == 0 or fit.weights is None:
        return
    for row, parameter in enumerate(fit.weights.param_groups[0]["params"]):
        begin = f"weights.{row}."
        saved = {name.removeprefix(begin): value for name, value in tensors.items() if name.startswith(begin)}
        if saved:
            step = saved.pop("step")
            step = step.to(parameter.device) if fit.weights.defaults["fused"] else step.cpu()
            # In the parameter's own layout: a fused optimiser asks for it.
            moments = {name: torch.empty_like(parameter).copy_(value) for name, value in saved.items()}
            fit.weights.state[parameter] = {"step": step, **moments}


def _own(rows: Tensor, fit: Fit) -> Tensor:
    return rows[fit.ranks.rank :: fit.ranks.count]


def save_model(path: Path, shape: Shape, codes: CodeBook, **notes: float) -> None:
    """Write the fitted shape and the codes by case id, and what else is to be known about them."""
    about = {"shape": shape.kind, "settings": shape.settings(), "ids": list(codes.ids), **notes}
    _write(path, _model_tensors(shape, codes), about)


def load_model(path: Path, device: torch.device | None = None) -> tuple[Shape, CodeBook]:
    """The shape and codes that `save_model` wrote. RunError when the file is damaged or no model."""
    tensors, about = _read(path)
    try:
        shape = make_shape(about["shape"], about["settings"])
        names = [name.removeprefix("codes.") for name in tensors if name.startswith("codes.")]
        codes = CodeBook(about["ids"], {name: tensors[f"codes.{name}"] for name in names})
        _load_model(shape, codes, tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path}: is no model of Heartmend ({error})") from error
    return shape.to(device), codes.to(device)


def read_metadata(path: Path) -> dict[str, Any]:
    """What a model or checkpoint says besides its tensors. RunError when the file is damaged."""
    return _read(path)[1]


def _moves(fit: Fit) -> dict[str, Tensor]:
    """What is remembered of each case's gradients: tensors whose first axis is the case."""
    moments = {f"{name}.{order}": part for name, parts in fit.moves.moments.items() for order, part in enumerate(parts)}
    return {"draws": fit.moves.draws, **moments}


def _model_tensors(shape: Shape, codes: CodeBook) -> dict[str, Tensor]:
    tensors = {f"shape.{name}": value for name, value in shape.state_dict().items()}
    return tensors | {f"codes.{name}": value for name, value in codes.values.items()}


def _load_model(shape: Shape, codes: CodeBook, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, value in shape.state_dict().items():
            value.copy_(tensors[f"shape.{name}"])
        for name, value in codes.values.items():
            value.copy_(tensors[f"codes.{name}"])


def _write(path: Path, tensors: dict[str, Tensor], about: Mapping[str, Any]) -> None:
    arrays = {name: value.detach().cpu().numpy() for name, value in tensors.items()}
    write_safetensors(path, arrays, {"about": json.dumps(about)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118  (not a dict)
    except (OSError, SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as a checkpoint ({error}); remove it to begin again") from error
