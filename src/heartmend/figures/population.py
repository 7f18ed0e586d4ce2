"""Pictures of the space of hearts: the mean, the modes, the way between two, and how usual each heart is."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from heartmend.figures.files import save
from heartmend.figures.scatter import scatter_figure
from heartmend.figures.strips import strip_figure
from heartmend.io.atomic import write_text
from heartmend.models.heart_model import Heart, HeartModel, labels_on
from heartmend.models.population import between, heart_of_form, plausibility, principal_modes
from heartmend.types import Labels

STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SPACING_MM = 1.2


def draw_hearts(
    model: HeartModel, out: Path, pair: Sequence[str] = (), count: int = 3,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:  # fmt: skip
    """Write modes.png (the mean heart in the middle), hearts.png and hearts.csv (where each heart lies, how usual it
    is) and, for a pair of cases, between_A_B.png; returns the files. ConfigError for too few hearts. progress: called
    with how many hearts are asked, and of how many."""
    colours = {s.id: s.colour for s in model.anatomy.structures}
    names = {s.id: s.name for s in model.anatomy.structures}
    drawn = []
    ends = [model.heart(id) for id in pair]
    modes = principal_modes(model, max(count, 2))
    total = len(STEPS) * len(modes.directions[:count]) + (len(SHARES) if ends else 0)
    numbers = itertools.count(1)

    def seen(heart: Heart) -> tuple[Labels, Sequence[float]]:
        picture = _seen(model, heart)
        if progress is not None:
            progress(next(numbers), total)
        return picture

    if count:
        rows = [
            [seen(heart_of_form(model, modes.mean + step * deviation * direction)) for step in STEPS]
            for direction, deviation in zip(modes.directions[:count], modes.deviations_mm, strict=False)
        ]
        rows_named = [f"mode {n + 1}, SD {modes.deviations_mm[n]:.1f} mm" for n in range(len(rows))]
        headings = [f"{step:+.0f} SD" if step else "mean heart" for step in STEPS]
        figure = strip_figure(rows, headings, rows_named, colours, names, "How these hearts differ")
        drawn.append(out / "modes.png")
        save(figure, drawn[-1])
    usual = plausibility(model)
    axis_names = tuple(f"mode {n + 1}, standard deviations of {modes.deviations_mm[n]:.1f} mm" for n in range(2))
    figure = scatter_figure(
        modes.scores[:, :2], model.codes.ids, [p.unusual for p in usual], (axis_names[0], axis_names[1]),
        "Where each heart lies",
    )  # fmt: skip
    drawn.append(out / "hearts.png")
    save(figure, drawn[-1])
    table = io.StringIO()
    lines = csv.writer(table, lineterminator="\n")
    columns = [f"mode_{n + 1}_sd" for n in range(modes.scores.shape[1])]
    lines.writerow(["case", "distance_mm", "reconstruction_residual_mm", "unusual", *columns])
    for row, p in enumerate(usual):
        lines.writerow(
            [p.case_id, p.distance_mm, p.reconstruction_residual_mm, p.unusual, *np.round(modes.scores[row], 3)]
        )
    drawn.append(out / "hearts.csv")
    write_text(drawn[-1], table.getvalue())
    if ends:
        first, second = pair
        strip = [seen(between(model, first, second, share)) for share in SHARES]
        headings = [first, *(f"{100 * share:.0f} %" for share in SHARES[1:-1]), second]
        title = f"From heart {first} to heart {second}"
        drawn.append(out / f"between_{first}_{second}.png")
        save(strip_figure([strip], headings, [""], colours, names, title), drawn[-1])
    return drawn


def _seen(model: HeartModel, heart: Heart) -> tuple[Labels, Sequence[float]]:
    counts = [max(round(length / SPACING_MM), 8) for length in heart.frame.size_mm]
    grid = heart.frame.grid_at((counts[0], counts[1], counts[2]))
    return labels_on(model, heart, grid), grid.spacing_mm
