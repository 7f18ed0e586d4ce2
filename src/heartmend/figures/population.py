"""Figures of a population of hearts: mean, principal modes, interpolation and outliers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heartmend.compute.progress import Progress, as_progress
from heartmend.figures.files import save
from heartmend.figures.scatter import scatter_figure
from heartmend.figures.strips import strip_figure
from heartmend.figures.style import StructureStyle
from heartmend.io.atomic import write_text
from heartmend.io.tables import format_csv
from heartmend.models.heart_model import Heart, HeartModel, evaluate_labels
from heartmend.models.population import heart_from_form, interpolate_hearts, outlier_scores, principal_modes
from heartmend.types import Labels

STEPS_SD = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Positions along a mode in standard deviations."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Positions between two hearts."""
SPACING_MM = 1.2


def draw_population(
    model: HeartModel, out: Path, pair: Sequence[str] = (), count: int = 3, progress: Progress | None = None
) -> list[Path]:
    """Draw the mean heart, the principal modes and the outliers of a model.

    Args:
        model: the hearts.
        out: output folder; gets modes.png (mean and modes), hearts.png (scatter plot), hearts.csv (outlier scores and
            positions along the modes) and, with a pair, between_A_B.png.
        pair: ids of two cases to interpolate between; none if empty.
        count: number of modes to draw.
        progress: receiver of progress reports, one step for each heart that is rendered.

    Returns:
        The paths of the files.

    Raises:
        ConfigError: for an unknown case id, or too few hearts.
    """
    progress = as_progress(progress)
    style = StructureStyle.of(model.anatomy)
    written = []
    ends = [model.heart(id) for id in pair]
    # First, because it is an error for few hearts, and the pictures take minutes.
    outliers = outlier_scores(model)
    modes = principal_modes(model, max(count, 2))
    progress.start("population", len(STEPS_SD) * len(modes.directions[:count]) + (len(SHARES) if ends else 0))
    numbers = itertools.count(1)

    def rendered(heart: Heart) -> tuple[Labels, Sequence[float]]:
        picture = _render(model, heart)
        progress.advance(next(numbers))
        return picture

    if count:
        rows = [
            [rendered(heart_from_form(model, modes.mean + step * deviation * direction)) for step in STEPS_SD]
            for direction, deviation in zip(modes.directions[:count], modes.deviations_mm, strict=False)
        ]
        row_names = [f"mode {n + 1}, SD {modes.deviations_mm[n]:.1f} mm" for n in range(len(rows))]
        headings = [f"{step:+.0f} SD" if step else "mean heart" for step in STEPS_SD]
        written.append(out / "modes.png")
        save(strip_figure(rows, headings, row_names, style, "Principal modes of the population"), written[-1])
    axis_names = tuple(f"mode {n + 1}, standard deviations of {modes.deviations_mm[n]:.1f} mm" for n in range(2))
    figure = scatter_figure(
        modes.scores[:, :2], model.codes.ids, [score.outlier_z for score in outliers], (axis_names[0], axis_names[1]),
        "Hearts along the first two modes",
    )  # fmt: skip
    written.append(out / "hearts.png")
    save(figure, written[-1])
    columns = ["case", "distance_mm", "reconstruction_residual_mm", "outlier_z"]
    columns += [f"mode_{n + 1}_sd" for n in range(modes.scores.shape[1])]
    table = [
        [score.case_id, score.distance_mm, score.reconstruction_residual_mm, score.outlier_z, *np.round(scores, 3)]
        for score, scores in zip(outliers, modes.scores, strict=True)
    ]
    written.append(out / "hearts.csv")
    write_text(written[-1], format_csv(columns, table))
    if ends:
        first, second = pair
        strip = [rendered(interpolate_hearts(model, first, second, share)) for share in SHARES]
        headings = [first, *(f"{100 * share:.0f} %" for share in SHARES[1:-1]), second]
        title = f"Interpolation from heart {first} to heart {second}"
        written.append(out / f"between_{first}_{second}.png")
        save(strip_figure([strip], headings, [""], style, title), written[-1])
    return written


def _render(model: HeartModel, heart: Heart) -> tuple[Labels, Sequence[float]]:
    counts = [max(round(length / SPACING_MM), 8) for length in heart.frame.size_mm]
    grid = heart.frame.grid_at((counts[0], counts[1], counts[2]))
    return evaluate_labels(model, heart, grid), grid.spacing_mm
