"""Figures of the demo: the cases with the largest changes, before and after."""

from __future__ import annotations

from pathlib import Path

from heartmend.anatomy.schema import Anatomy
from heartmend.figures.files import save
from heartmend.figures.planes import before_after_figure
from heartmend.figures.style import StructureStyle
from heartmend.figures.surfaces import surface_figure
from heartmend.figures.view import BeforeAfter
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels


def draw_pictures(cohort: Path, repaired: Path, out: Path, anatomy: Anatomy, count: int = 1) -> list[Path]:
    """Draw planes of the cases with the largest changes, and the surfaces of the first of them.

    Args:
        cohort: folder of a phantom cohort with labels_noisy/, labels_true/ and images/.
        repaired: folder of the repaired label maps.
        out: folder for the pictures.
        anatomy: the structures.
        count: number of cases.

    Returns:
        The paths of the pictures.
    """
    before = discover_cohort(cohort / "labels_noisy", cohort / "images", anatomy=anatomy)
    after = discover_cohort(repaired, anatomy=anatomy)
    pairs = {c.id: (before.read_labels(c), after.read_labels(after[c.id])) for c in before}
    changed = sorted(pairs, key=lambda id: -int((pairs[id][0].labels != pairs[id][1].labels).sum()))
    style = StructureStyle.of(anatomy)
    written = []
    for number, id in enumerate(changed[:count]):
        noisy, fixed = pairs[id]
        image = before.read_image(before[id], noisy.grid)
        truth = read_labels(cohort / "labels_true" / noisy.path.name, anatomy)
        maps = BeforeAfter(
            noisy.labels, fixed.labels, noisy.grid.spacing_mm, noisy.grid.axcodes,
            image=None if image is None else image.values, truth=truth.labels,
        )  # fmt: skip
        figures = {"planes": before_after_figure(maps, style, title=f"Phantom heart {id}")}
        if number == 0:
            figures["surface"] = surface_figure(maps, style, title=f"Phantom heart {id}")
        for kind, figure in figures.items():
            written.append(out / f"{id}_{kind}.png")
            save(figure, written[-1])
    return written
