"""Model file: a zip archive of model.safetensors, model.json and MODEL_CARD.md.

All numbers are in model.safetensors, quantised: the template to 1/8 mm near its surfaces, the details to 1/8 and for
open nodes only. Everything else is in model.json. There is no pickle, and any zip tool opens the file.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.numpy import save as encode_tensors

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.validation import error_lines, shorten
from heartmend.errors import BadInputError, ConfigError
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import jsonable, write_bytes
from heartmend.io.reading import readable_file
from heartmend.io.strict_json import parse_json
from heartmend.io.tensor_header import check_tensors, decode_tensors, read_tensor_header
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_archive import open_members, read_rest
from heartmend.models.model_card import model_card
from heartmend.models.model_schema import ModelTable, check_memory_of_model, check_values
from heartmend.models.unified import UnifiedShape, make_details, stack_details

FORMAT, FORMAT_VERSION = "heartmend-model", 2
TENSORS, TABLE, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
LEVELS_MM = np.concatenate([np.arange(17) / 8, np.arange(3, 7)]).astype(np.float32)
"""Quantisation levels of a distance's absolute value: fine near the surface, coarse where only the sign matters."""
DETAIL_STEP = 1 / 8
FIELD_STEP = 1 / 512
"""Quantisation step of the fields, in units of half the box: about 0.15 mm, an error of at most 0.08 mm."""
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_STEPS = {"codes.field": FIELD_STEP, "codes.detail": DETAIL_STEP}
# Of 5,000 cases model.json has 5 MB; the values of JSON need up to twenty times the memory of its text.
_LIMITS = {TENSORS: 2**32, TABLE: 2**23, CARD: 2**20}
"""Largest size of each member in bytes."""
_ERRORS = (
    ArithmeticError, AttributeError, ConfigError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
    ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Errors that reading a damaged file can raise."""


def encode_model(model: HeartModel) -> dict[str, np.ndarray]:
    """Quantise the numbers of a model.

    Args:
        model: the model.

    Returns:
        Arrays by name; the first axis of the codes is the case, in the order of the ids.
    """
    shape, codes = model.shape, {name: code.detach().cpu().numpy() for name, code in model.codes.values.items()}
    values = np.clip(np.rint(codes["detail"] / DETAIL_STEP), -127, 127).astype(np.int8)
    # A node whose features are all rounded to zero is closed, as slot 0 is.
    opened = np.stack([features.any(axis=1)[slot] for features, slot in zip(values, codes["slot"], strict=True)])
    details = [features[slot[is_open]] for features, slot, is_open in zip(values, codes["slot"], opened, strict=True)]
    field = np.clip(np.rint(codes["field"] / FIELD_STEP), -(2**15), 2**15 - 1).astype(np.int16)
    tensors = {
        # One structure after the other, which compresses far better than one cell after the other.
        "template.level": _level(shape.template.table.detach().cpu().numpy()).T,
        "template.levels_mm": LEVELS_MM,
        **{f"net.{name}": w.detach().cpu().numpy().astype(np.float16) for name, w in shape.net.state_dict().items()},
        "codes.affine": codes["affine"].astype(np.float32),
        # The high and the low byte separately: most high bytes are 0 or -1.
        "codes.field.high": (field >> 8).astype(np.int8),
        "codes.field.low": (field & 255).astype(np.uint8),
        "codes.detail.open": np.packbits(opened, axis=1),
        "codes.detail.values": np.concatenate(details),
    }
    # In the memory order of the file: a refined field has another one.
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def decode_model(tensors: dict[str, np.ndarray], shape: UnifiedShape, ids: list[str]) -> tuple[UnifiedShape, CodeBook]:
    """Restore shape and codes from the arrays of `encode_model`.

    Args:
        tensors: arrays by name.
        shape: a shape of the same settings, modified in place.
        ids: case ids in the order of the codes.

    Returns:
        The shape and the codes.
    """
    nodes = shape.side**3
    opened = np.unpackbits(tensors["codes.detail.open"], axis=1, count=nodes).astype(bool)
    values = torch.from_numpy(tensors["codes.detail.values"].astype(np.float32) * DETAIL_STEP)
    cases = torch.from_numpy(opened)
    features = values.split(cases.sum(dim=1).tolist())
    details = stack_details([make_details(*case) for case in zip(cases, features, strict=True)])
    field = (tensors["codes.field.high"].astype(np.int16) << 8) | tensors["codes.field.low"]
    distance = _distance(tensors["template.level"].T, tensors["template.levels_mm"])
    with torch.no_grad():
        shape.template.table.copy_(torch.from_numpy(distance))
        for name, weight in shape.net.state_dict().items():
            weight.copy_(torch.from_numpy(tensors[f"net.{name}"].astype(np.float32)))
    codes = {
        "affine": torch.from_numpy(tensors["codes.affine"].astype(np.float32)),
        "field": torch.from_numpy(field.astype(np.float32) * FIELD_STEP),
    }
    return shape, CodeBook(ids, codes | details)


def round_model(model: HeartModel) -> HeartModel:
    """Return the model as it will be after writing and reading.

    Args:
        model: the model.

    Returns:
        The model with rounded values.
    """
    shape, codes = decode_model(encode_model(model), UnifiedShape(**model.shape.settings()), list(model.codes.ids))
    return replace(model, shape=shape.eval(), codes=codes)


def round_template(shape: UnifiedShape, codes: CodeBook) -> CodeBook:
    """Quantise a shape's template, in place, and the fields of its codes as a file would.

    Args:
        shape: the shape.
        codes: its codes.

    Returns:
        The codes with quantised fields.
    """
    with torch.no_grad():
        shape.template.table.copy_(torch.from_numpy(_distance(_level(shape.template.table.cpu().numpy()), LEVELS_MM)))
        field = (codes.values["field"] / FIELD_STEP).round() * FIELD_STEP
    return CodeBook(codes.ids, {**codes.values, "field": field})


def _level(distance_mm: np.ndarray) -> np.ndarray:
    level = np.searchsorted((LEVELS_MM[1:] + LEVELS_MM[:-1]) / 2, np.abs(distance_mm))
    return (np.sign(distance_mm) * level).astype(np.int8)


def _distance(level: np.ndarray, levels_mm: np.ndarray) -> np.ndarray:
    return (np.sign(level) * levels_mm[np.abs(level)]).astype(np.float32)


def save_heart_model(path: Path, model: HeartModel) -> None:
    """Write a model as one file; the same model always gives the same bytes.

    Args:
        path: the file, replaced atomically.
        model: the model.
    """
    model = round_model(model)
    table = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "ids": list(model.codes.ids),
        "shape": model.shape.settings(), "anatomy": model.anatomy.model_dump(mode="json"),
        "thresholds": model.thresholds, "frames": {id: roi.to_dict() for id, roi in model.frames.items()},
        "absent": {id: names for id, names in model.absent.items() if names},
        "calibres": {name: asdict(calibre) for name, calibre in model.calibres.items()},
        "lowest_surface_noise_mm2": model.lowest_surface_noise_mm2, "metadata": model.metadata,
        "steps": _STEPS,
    }  # fmt: skip
    parts = {
        TENSORS: encode_tensors(encode_model(model)),
        TABLE: json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False, default=jsonable).encode(),
        CARD: model_card(model).encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, part in parts.items():
            entry = zipfile.ZipInfo(name, _FIXED_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, part, compresslevel=9)
    write_bytes(path, buffer.getvalue())


def load_heart_model(path: Path) -> HeartModel:
    """Load the model that `save_heart_model` wrote.

    Args:
        path: the file.

    Returns:
        The model.

    Raises:
        BadInputError: if the file is not a model, is damaged, or has another format version.
    """
    path = Path(path)
    try:
        with readable_file(path), open_members(path, _LIMITS) as members:
            table = _read_table(path, bytes(members.read(TABLE)))
            with members.open(TENSORS) as file:
                size, file_bytes = members.size(TENSORS), path.stat().st_size
                header = read_tensor_header(file, size)
                check_tensors(header, table.tensor_specs())
                check_memory_of_model(table, header, file_bytes)
                tensors = decode_tensors(read_rest(file, size - header.data_start), header)
        opened = check_values(tensors)
        check_memory_of_model(table, header, file_bytes, max(opened) + 1)
        shape, codes = decode_model(tensors, UnifiedShape(**table.shape.model_dump()), table.ids)
        return HeartModel(
            shape.eval(), codes, table.anatomy, dict(table.thresholds),
            {id: Roi.from_dict(table.frames[id].model_dump()) for id in table.frames},
            {id: tuple(names) for id, names in table.absent.items()},
            {name: Calibre(**calibre.model_dump()) for name, calibre in table.calibres.items()},
            dict(table.lowest_surface_noise_mm2), table.metadata,
        )  # fmt: skip
    except BadInputError as error:
        # The file is named, also where a grid or a case id of it has the error.
        raise (error if str(path) in str(error) else _not_a_model(path, error)) from error
    except _ERRORS as error:
        raise _not_a_model(path, error) from error


def _not_a_model(path: Path, error: Exception) -> BadInputError:
    if isinstance(error, ValidationError):
        reason = f"{TABLE}: {'; '.join(shorten(line, 240) for line in error_lines(error)[:3])}"
    elif isinstance(error, MemoryError | RecursionError):
        reason = type(error).__name__
    else:
        reason = str(error) or type(error).__name__
    return BadInputError(
        f"{path}: is not a heart model ({shorten(reason, 800)}); give a file that `heartmend unify` wrote, "
        "OUT/run/unify/model.zip"
    )


def _read_table(path: Path, data: bytes) -> ModelTable:
    table = parse_json(data)
    if not isinstance(table, dict):
        raise ValueError(f"{TABLE} is no table")
    _check_version(path, table)
    if (steps := table.get("steps")) != _STEPS:
        raise ValueError(f"its steps of quantisation are {shorten(repr(steps), 80)}, not {_STEPS}")
    return ModelTable.model_validate(table)


def _check_version(path: Path, table: dict[str, Any]) -> None:
    if table.get("format") != FORMAT:
        raise ValueError(f"its format is {shorten(repr(table.get('format')), 80)}, not {FORMAT!r}")
    version = table.get("format_version")
    if type(version) is not int:
        raise ValueError(f"its format_version is {shorten(repr(version), 80)}, not an integer")
    if version == FORMAT_VERSION:
        return
    if version < FORMAT_VERSION:
        action = "run `heartmend unify` again, or use the version of Heartmend that wrote the file"
    else:
        action = "update Heartmend"
    raise BadInputError(
        f"{path}: has model format {version}, this version of Heartmend reads {FORMAT_VERSION}: {action}"
    )
