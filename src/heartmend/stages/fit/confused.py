"""The codes of confused label maps after a fit: their label maps are placed anew, each as a whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from heartmend.anatomy.schema import Anatomy
from heartmend.metrics.overlap import dice
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.repair.confused_labels import is_confused_beside, place_whole
from heartmend.repair.placed_shape import labels_of
from heartmend.run_folder.fit_maps import FitMaps
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context
from heartmend.training.image_placement import usual_affine

T = TypeVar("T")
MAX_SHARE = 0.75
"""If more of the label maps disagree with the fitted shapes, the fit is poor and not the label maps."""
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
    jobs = [_Job(maps, id, heads, context.cohort.anatomy) for id in case_ids]
    confused = [job for job, is_so in _each(context, _is_confused, jobs) if is_so]
    if len(confused) > MAX_SHARE * len(jobs):
        log.warning(
            "fit: the names of %d of %d label maps disagree with the fitted shapes: the fit is taken for poor, and no "
            "label map is placed anew; give more steps, or check the label maps", len(confused), len(jobs),
        )  # fmt: skip
        confused = []
    placed = {job.case_id: found for job, found in _each(context, _place, confused)}
    if placed:
        values = {name: code.detach().clone() for name, code in codes.values.items()}
        for id, one in placed.items():
            for name, code in one.code.items():
                values[name][codes.ids.index(id)] = torch.from_numpy(code[0])
        run.write_fitted(shape, CodeBook(codes.ids, values))
    return PlacedAnew({id: one.dices for id, one in placed.items()}, (run.write_confused_cases(sorted(placed)),))


def _each(context: Context[Any], work: Callable[[_Job], T], jobs: Sequence[_Job]) -> Iterator[tuple[_Job, T]]:
    """The results of some work for each case; a case that fails keeps its code."""
    if jobs:
        context.progress.start(PLACEMENT, len(jobs))
    for done, (job, found, error) in enumerate(context.compute.each(work, jobs), start=1):
        if error is not None or found is None:
            log.warning("fit: %s: its label map was not placed anew: %s", job.case_id, error)
        else:
            yield job, found
        context.progress.advance(done, job.case_id)


@dataclass(frozen=True, eq=False)
class _Job:
    maps: FitMaps
    case_id: str
    heads: dict[str, int]
    anatomy: Anatomy


@dataclass(frozen=True, eq=False)
class _Placed:
    """Code and Dice of a case. A tensor that a worker returns would keep a file open in the main process."""

    code: dict[str, npt.NDArray[np.float32]]
    dices: dict[str, float]


def _is_confused(job: _Job) -> bool:
    shape, codes = _fitted(job)
    case = job.maps.read(job.case_id)
    code = codes.of([job.case_id])
    return is_confused_beside(shape, code, case.cleaned, case.roi, job.heads, job.anatomy)


def _place(job: _Job) -> _Placed:
    shape, codes = _fitted(job)
    case = job.maps.read(job.case_id)
    labels, roi = case.cleaned, case.roi
    code = place_whole(shape, labels, roi, job.heads, usual_affine(codes))
    found = labels_of(shape, code, roi, job.heads)
    dices = {name: dice(labels == id, found == id) for name, id in job.heads.items()}
    return _Placed({name: value.numpy() for name, value in code.items()}, dices)


def _fitted(job: _Job) -> tuple[TemplateShape, CodeBook]:
    shape, codes = RunFolder.at(job.maps.output).fitted_once()
    assert isinstance(shape, TemplateShape)
    return shape, codes
