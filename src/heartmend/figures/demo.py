"""The pictures of the demo: the cases that changed most, before and after."""

from __future__ import annotations

from pathlib import Path

from heartmend.anatomy.schema import Anatomy
from heartmend.figures.files import save
from heartmend.figures.planes import before_after_figure
from heartmend.figures.surfaces import surface_figure
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels


def draw_pictures(cohort: Path, mended: Path, out: Path, anatomy: Anatomy, count: int = 1) -> list[Path]:
    """Planes of the `count` cases that changed most, and the surfaces of the first; returns the files."""
    before = discover_cohort(cohort / "labels_noisy", cohort / "images", anatomy=anatomy)
    after = discover_cohort(mended, anatomy=anatomy)
    maps = {c.id: (before.read_labels(c), after.read_labels(after[c.id])) for c in before}
    changed = sorted(maps, key=lambda id: -int((maps[id][0].labels != maps[id][1].labels).sum()))
    colours = {s.id: s.colour for s in anatomy.structures}
    names = {s.id: s.name for s in anatomy.structures}
    drawn = []
    for id in changed[:count]:
        was, now = maps[id]
        image = before.read_image(before[id], was.grid)
        truth = read_labels(cohort / "labels_true" / was.path.name, anatomy)
        figure = before_after_figure(
            was.labels, now.labels, was.grid.spacing_mm, colours, image=None if image is None else image.values,
            truth=truth.labels, names=names, axcodes=was.grid.axcodes, title=f"Phantom heart {id}",
        )  # fmt: skip
        drawn.append(out / f"{id}_planes.png")
        save(figure, drawn[-1])
    if changed:
        was, now = maps[changed[0]]
        figure = surface_figure(
            was.labels, now.labels, was.grid.spacing_mm, colours, names=names, axcodes=was.grid.axcodes,
            title=f"Phantom heart {changed[0]}",
        )  # fmt: skip
        drawn.append(out / f"{changed[0]}_surface.png")
        save(figure, drawn[-1])
    return drawn
