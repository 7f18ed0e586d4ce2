"""A heart model as one file: a zip of model.safetensors, model.json and MODEL_CARD.md.

All numbers are in model.safetensors, rounded to what is worth keeping: the template in eighths of a millimetre about
its surfaces, details in eighths and of open nodes alone. What is not a number is in model.json. No pickle, and any zip
tool opens it.
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
from safetensors import SafetensorError
from safetensors.numpy import load as decode_tensors
from safetensors.numpy import save as encode_tensors

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import jsonable, write_bytes
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_card import model_card
from heartmend.models.unified import UnifiedShape, details_at, stacked

FORMAT, FORMAT_VERSION = "heartmend-model", 1
TENSORS, TABLE, CARD = "model.safetensors", "model.json", "MODEL_CARD.md"
LEVELS_MM = np.concatenate([np.arange(17) / 8, np.arange(3, 7)]).astype(np.float32)
"""What a distance is rounded to, on either side: exact about the surface, coarse where only the side matters."""
DETAIL_STEP = 1 / 8
FIELD_STEP = 1 / 512
"""Of the half box: about 0.15 mm, so at most 0.08 mm off."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, SafetensorError, KeyError, TypeError, ValueError, RuntimeError)
"""What reading a broken file can raise."""


def pack(model: HeartModel) -> dict[str, np.ndarray]:
    """The model's numbers, rounded, by name. Codes have the case as their first axis, in the order of the ids."""
    shape, codes = model.shape, {name: code.detach().cpu().numpy() for name, code in model.codes.values.items()}
    values = np.clip(np.rint(codes["detail"] / DETAIL_STEP), -127, 127).astype(np.int8)
    # What was rounded to nothing is closed, as slot 0 is.
    open_ = np.stack([told.any(axis=1)[slot] for told, slot in zip(values, codes["slot"], strict=True)])
    details = [told[slot[is_open]] for told, slot, is_open in zip(values, codes["slot"], open_, strict=True)]
    field = np.clip(np.rint(codes["field"] / FIELD_STEP), -(2**15), 2**15 - 1).astype(np.int16)
    tensors = {
        # One structure after the other, which packs far better than one cell after the other.
        "template.level": _level(shape.template.table.detach().cpu().numpy()).T,
        "template.levels_mm": LEVELS_MM,
        **{f"net.{name}": w.detach().cpu().numpy().astype(np.float16) for name, w in shape.net.state_dict().items()},
        "codes.affine": codes["affine"].astype(np.float32),
        # The high and the low byte apart: most high bytes are 0 or -1.
        "codes.field.high": (field >> 8).astype(np.int8),
        "codes.field.low": (field & 255).astype(np.uint8),
        "codes.detail.open": np.packbits(open_, axis=1),
        "codes.detail.values": np.concatenate(details),
    }
    # As the bytes lie in the file; a field that was refined lies otherwise in memory.
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def unpack(tensors: dict[str, np.ndarray], shape: UnifiedShape, ids: list[str]) -> tuple[UnifiedShape, CodeBook]:
    """Fill a shape of the right settings, and the codes of these cases, from what `pack` gave."""
    nodes = shape.side**3
    open_ = np.unpackbits(tensors["codes.detail.open"], axis=1, count=nodes).astype(bool)
    values = torch.from_numpy(tensors["codes.detail.values"].astype(np.float32) * DETAIL_STEP)
    cases = torch.from_numpy(open_)
    details = stacked([details_at(*case) for case in zip(cases, values.split(cases.sum(dim=1).tolist()), strict=True)])
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


def rounded(model: HeartModel) -> HeartModel:
    """The model as it will be when it was written and read."""
    shape, codes = unpack(pack(model), UnifiedShape(**model.shape.settings()), list(model.codes.ids))
    return replace(model, shape=shape.eval(), codes=codes)


def rounded_template(shape: UnifiedShape, codes: CodeBook) -> CodeBook:
    """Round the shape's template as a file would, in place; returns the codes with their fields rounded so too."""
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
    """Write a model as one file, whole or not at all; the same model always gives the same bytes."""
    model = rounded(model)
    table = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "ids": list(model.codes.ids),
        "shape": model.shape.settings(), "anatomy": model.anatomy.model_dump(mode="json"),
        "thresholds": model.thresholds, "frames": {id: roi.to_dict() for id, roi in model.frames.items()},
        "absent": {id: names for id, names in model.absent.items() if names},
        "calibres": {name: asdict(calibre) for name, calibre in model.calibres.items()},
        "lowest_surface_noise_mm2": model.lowest_surface_noise_mm2, "about": model.about,
        "steps": {"codes.field": FIELD_STEP, "codes.detail": DETAIL_STEP},
    }  # fmt: skip
    parts = {
        TENSORS: encode_tensors(pack(model)),
        TABLE: json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False, default=jsonable).encode(),
        CARD: model_card(model).encode(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, part in parts.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, part, compresslevel=9)
    write_bytes(path, buffer.getvalue())


def load_heart_model(path: Path) -> HeartModel:
    """The model that `save_heart_model` wrote. BadInputError when the file is none, damaged, or of another version."""
    try:
        with zipfile.ZipFile(path) as archive:
            table: dict[str, Any] = json.loads(archive.read(TABLE))
            tensors = decode_tensors(archive.read(TENSORS))
        found = (table["format"], table["format_version"])
        if found != (FORMAT, FORMAT_VERSION):
            raise BadInputError(
                f"{path}: is of {found[0]} {found[1]}, this version reads {FORMAT} {FORMAT_VERSION}; "
                "make it again with `heartmend unify`"
            )
        shape, codes = unpack(tensors, UnifiedShape(**table["shape"]), table["ids"])
        return HeartModel(
            shape.eval(), codes, Anatomy.model_validate(table["anatomy"]), table["thresholds"],
            {id: Roi.from_dict(frame) for id, frame in table["frames"].items()},
            {id: tuple(names) for id, names in table["absent"].items()},
            {name: Calibre(**calibre) for name, calibre in table["calibres"].items()},
            table["lowest_surface_noise_mm2"], table["about"],
        )  # fmt: skip
    except _ERRORS as error:
        raise BadInputError(f"{path}: is no heart model of Heartmend ({error}); give a file that `heartmend unify` "
                            "wrote, OUT/run/unify/model.zip") from error  # fmt: skip
