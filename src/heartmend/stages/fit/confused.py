"""The codes of confused label maps after a fit: their label maps are placed anew, each as a whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heartmend.metrics.overlap import dice
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.repair.confused_labels import place_if_confused
from heartmend.repair.placed_shape import labels_of
from heartmend.run_folder.fit_maps import FitMaps
from heartmend.stages.contract import Context
from heartmend.training.checkpoint import load_shape_and_codes

PLACEMENT = "placement"
"""Name of the task for the user."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PlacedAnew:
    """Cases whose label maps were placed anew.

    Attributes:
        dices: Dice of each structure of these cases, by case id and name.
        files: the record of the cases.
    """

    dices: Mapping[str, Mapping[str, float]]
    files: tuple[Path, ...]


def place_confused_cases(context: Context[Any], maps: FitMaps, case_ids: Sequence[str]) -> PlacedAnew:
    """Place the template anew in the label maps whose structures are confused, and write the fit with their codes.

    Args:
        context: run, with a fit, and resources.
        maps: reads the label maps of the fit.
        case_ids: ids of the cases.

    Returns:
        What was placed anew.
    """
    run, heads = context.run, dict(context.plan.shaped)
    shape, codes = run.fitted()
    if not isinstance(shape, TemplateShape):
        return PlacedAnew({}, (run.write_confused_cases(()),))
    usual = codes.values["affine"].detach().median(dim=0, keepdim=True).values
    placed = {}
    jobs = [_Job(maps, run.fitted_path(), id, heads, usual) for id in case_ids]
    context.progress.start(PLACEMENT, len(jobs))
    for done, (job, found, error) in enumerate(context.compute.each(_place, jobs), start=1):
        if error is not None:
            log.warning("fit: %s: its label map was not placed anew: %s", job.case_id, error)
        if found is not None:
            placed[job.case_id] = found
        context.progress.advance(done, job.case_id)
    if placed:
        values = {name: code.detach().clone() for name, code in codes.values.items()}
        for id, one in placed.items():
            for name, code in one.code.items():
                values[name][codes.ids.index(id)] = code[0]
        run.write_fitted(shape, CodeBook(codes.ids, values))
    return PlacedAnew({id: one.dices for id, one in placed.items()}, (run.write_confused_cases(sorted(placed)),))


@dataclass(frozen=True, eq=False)
class _Job:
    maps: FitMaps
    model: Path
    case_id: str
    heads: dict[str, int]
    usual_affine: torch.Tensor


@dataclass(frozen=True, eq=False)
class _Placed:
    code: Codes
    dices: dict[str, float]


def _place(job: _Job) -> _Placed | None:
    shape, codes = load_shape_and_codes(job.model)
    assert isinstance(shape, TemplateShape)
    case = job.maps.read(job.case_id)
    labels, roi = case.cleaned, case.roi
    code = place_if_confused(shape, codes.of([job.case_id]), labels, roi, job.heads, job.usual_affine)
    if code is None:
        return None
    found = labels_of(shape, code, roi, job.heads)
    return _Placed(code, {name: dice(labels == id, found == id) for name, id in job.heads.items()})
