"""Placement of a fitted template in one new case: its table stays frozen, only the case's code is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from heartmend.geometry.distance import STEP_MM
from heartmend.models.code_book import CodeBook
from heartmend.models.splines import refine_controls
from heartmend.models.template import TemplateShape
from heartmend.training.alignment import fit_affine
from heartmend.training.initialise import summarise_template
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.sampling import CaseSamples
from heartmend.training.schedule import Phase

PLACEMENT = (
    Phase(steps=60, code_lr=0.010, shape_lr=0, controls=6, tolerance_mm=3.0),
    Phase(steps=60, code_lr=0.008, shape_lr=0, controls=8, tolerance_mm=3.0),
    Phase(steps=80, code_lr=0.006, shape_lr=0, controls=10),
    Phase(steps=200, code_lr=0.005, shape_lr=0, controls=12, tolerance_mm=1.5, regularisation=3e-5),
)
"""The phases of `fit` for one case: coarse to fine, and as stiff."""
POINTS = 3000
"""Points in each step."""
ERROR_POINTS = 20_000
"""Points at which the error of a placement is measured, at most."""


@dataclass(frozen=True)
class PlacementSchedule:
    """Schedule of a placement.

    Attributes:
        phases: phases of the fit, coarse to fine.
        points: points in each step.
        seed: seed of the sampled points.
    """

    phases: tuple[Phase, ...] = PLACEMENT
    points: int = POINTS
    seed: int = 0


def place_template(
    template: TemplateShape,
    size_mm: tuple[float, float, float],
    samples: CaseSamples,
    names: Sequence[str],
    schedule: PlacementSchedule,
) -> dict[str, torch.Tensor]:
    """Fit the code of one case to its samples.

    Args:
        template: the fitted template, which is not changed.
        size_mm: mean extent of the boxes of the cases that it was fitted to, in mm.
        samples: samples of the case, with one head for each of `names`.
        names: structures of the template that the case has.
        schedule: the schedule.

    Returns:
        The affine map (1, 3, 4) and the field (1, 3, m, m, m) of the case, with the template's number of controls.
    """
    shape = select_heads(template, names)
    shape.controls = schedule.phases[0].controls or shape.controls
    codes = shape.new_codes(1)
    codes["affine"][0] = torch.from_numpy(fit_affine(samples, summarise_template(shape, size_mm))).float()
    book = CodeBook([samples.case_id], codes)
    phases = [replace(phase, side=template.side) for phase in schedule.phases]
    sampler = PointSampler([samples], torch.device("cpu"), schedule.seed)
    Fit(shape, book, sampler, phases, cases_per_step=1, points=schedule.points).run(NoObserver())
    found = {name: code.detach() for name, code in book.values.items()}
    return {**found, "field": refine_controls(found["field"], template.controls)}


@dataclass(frozen=True)
class PlacementError:
    """How far the surfaces of a placed template are from those of the case.

    Attributes:
        whole_mm: median absolute difference in mm of the distances within 1 mm of the surfaces of the case.
        of_structure_mm: the same for each structure by itself, by name; infinite where it has no sample.
    """

    whole_mm: float
    of_structure_mm: Mapping[str, float]


def measure_placement(
    template: TemplateShape, samples: CaseSamples, names: Sequence[str], code: Mapping[str, torch.Tensor]
) -> PlacementError:
    """Measure how far the surfaces of a placed template are from those of the case.

    Args:
        template: the template.
        samples: samples of the case, with one head for each of `names`.
        names: structures of the template that the case has.
        code: the code of the case.

    Returns:
        The error.
    """
    picked = np.linspace(0, samples.band - 1, min(samples.band, ERROR_POINTS)).astype(int)
    cells = np.stack(np.unravel_index(samples.voxels[picked], samples.counts), axis=-1)
    points = torch.from_numpy((2 * (cells + 0.5) / np.array(samples.counts) - 1).astype(np.float32))
    wanted = samples.distances[picked].astype(np.float32) * STEP_MM
    with torch.no_grad():
        found = select_heads(template, names)(points[None], code)[0].numpy()
    difference_mm, near = np.abs(found - wanted), np.abs(wanted) < 1
    columns = zip(names, difference_mm.T, near.T, strict=True)
    return PlacementError(
        _median_where(difference_mm, near), {name: _median_where(values, at) for name, values, at in columns}
    )


def _median_where(values: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> float:
    return float(np.median(values[mask])) if mask.any() else float("inf")


def select_heads(template: TemplateShape, names: Sequence[str]) -> TemplateShape:
    """Copy a template with some of its structures.

    Args:
        template: the template.
        names: the structures.

    Returns:
        The copy.
    """
    part = TemplateShape(tuple(names), template.side, template.controls)
    columns = [template.heads.index(name) for name in names]
    with torch.no_grad():
        part.table.copy_(template.table[:, columns])
    return part


class NoObserver:
    """Observer of a fit that takes seconds."""

    def on_step(self, step: Step) -> None:
        """Ignore a step.

        Args:
            step: the step.
        """

    def on_checkpoint(self, fit: Fit) -> None:
        """Write no checkpoint.

        Args:
            fit: the fit.
        """

    def on_memory_halved(self, points: int) -> None:
        """Ignore a smaller number of points.

        Args:
            points: points in each step from now on.
        """
