"""What a model is, for people who were not there when it was made: its card, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heartmend import __version__

if TYPE_CHECKING:
    from heartmend.models.heart_model import HeartModel


def model_card(model: HeartModel) -> str:
    """The card of a model."""
    codes = model.codes.values
    shared = sum(weight.numel() for weight in model.shape.parameters())
    own = sum(int((code != 0).sum()) for code in codes.values()) // max(len(model.codes.ids), 1)
    dice = model.about.get("dice", {})
    rows = "\n".join(
        f"| {s.id} | {s.name} | {model.thresholds.get(s.name, 0.5):.2f} | "
        f"{f'{dice[s.name]:.3f}' if s.name in dice else '-'} |"
        for s in model.anatomy.structures
        if s.name in model.shape.heads
    )
    spacings = sorted(min(roi.grid.spacing_mm) for roi in model.frames.values())
    extent = f"{spacings[0]:.2f} to {spacings[-1]:.2f} mm" if spacings else "no"
    thin = [f"{name} {calibre.mean_mm:.2f} mm" for name, calibre in model.calibres.items()]
    return f"""\
# Model card: {model.anatomy.title or model.anatomy.name}, {len(model.codes.ids)} cases

Made by Heartmend {__version__}, `heartmend unify`.

**What it is.** One implicit function with {len(model.shape.heads)} heads and a code for each case. Given a case's code
and a point it answers, for each structure, how many millimetres the point lies inside (or, negative, outside); the
probability of being inside is sigmoid(mm / 0.25). It holds every heart of the data set, at any resolution.

**What it learned.** The mended label maps of {len(model.codes.ids)} cases (voxels of {extent}), not images and not
ground truth. {shared:,} numbers that all share, and about
{own:,} for each case.

| id | structure | threshold | Dice on the maps it learned |
|---|---|---|---|
{rows}

Order in which structures claim a voxel: {", ".join(model.anatomy.priority)}.
{f"Mean radius of thin vessels: {', '.join(thin)}." if thin else ""}

**How to use it.** `heartmend render` (label maps at any resolution), `heartmend mesh` (surfaces), `heartmend embed`
(new hearts, and label maps mended with it), `heartmend hearts` (mean, modes, between two hearts, how usual a heart is).

**Files.** `model.safetensors`: all numbers, rounded; codes have the case as first axis. `model.json`: case ids in that
order, the shape's settings, anatomy, thresholds, each case's frame (its box on the grid that it came on), steps by
which the rounded numbers are multiplied.

**What it cannot do.** It knows no heart that is unlike those it learned, no CT, and no fault that most of its label
maps share. Details (thin vessels above all) are each case's own: between two cases they fade. It is not a medical
device, and nobody may be treated on what it says. Case ids and grids are inside: look at them before you pass it on.
"""
