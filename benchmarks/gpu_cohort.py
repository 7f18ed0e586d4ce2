#!/usr/bin/env python3
"""A thousand hearts on one device: how fast stage 1 and stage 3 are, and how well they hold the hearts.

usage: gpu_cohort.py [--cases 998] [--side 128] [--visits 1530] [--details 400] [--near-epochs 2] [--compile]

Makes a cohort of phantom hearts of ten structures on the device, each another smooth warp of one of a few, fits all
structures of all cases at once (stage 1, then stage 3), and runs the published NeAR with the reference's settings for a
few epochs beside it. Needs torch, NumPy and SciPy beside Heartmend's training modules, and no file. Without a GPU it
runs small. The hearts are made by `device_hearts.py` beside this file.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from device_hearts import HEADS, make_cohort
from device_maps import distances_mm, listing_of_maps
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.training.alignment import align_to_medoid, medoid
from heartmend.training.details import with_details
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.schedule import DETAIL_PHASES, TEMPLATE_PHASES, Phase, cohort_step_factor, scale_steps
from heartmend.training.volume_dice import dice_of_volume

try:
    from near_shape import NearShape
except ImportError:
    NearShape = None

SIZE_MM = 160.0
LEADING = (
    *TEMPLATE_PHASES,
    Phase(steps=350, code_lr=0.005, shape_lr=0.05, side=128, controls=16, tolerance_mm=1.0),
    Phase(steps=400, code_lr=0.005, shape_lr=0.05, side=128, controls=20, tolerance_mm=1.0, regularisation=3e-6),
)
"""Stage 1, led on to finer fields than mending takes: these maps have no noise that a shape could follow."""
THIN = ("Coronary",)
CHAMBERS = ("LV", "RV", "LA", "RA")
say = functools.partial(print, flush=True)


@dataclass(frozen=True)
class Size:
    """How large a run is."""

    cases: int
    side: int
    cases_per_step: int
    points: int
    visits: int
    details: int
    near_epochs: int
    near_cases: int
    near_points: int
    measured: int


ON_GPU = Size(998, 128, 128, 2500, 1530, 400, 2, 998, 32_768, 100)
SMALL = Size(6, 48, 6, 600, 80, 40, 1, 4, 2048, 3)


@dataclass(frozen=True)
class Row:
    """What a fit took and came to."""

    name: str
    structures: int
    epochs: float
    seconds: float
    points: int
    flops: float
    peak_bytes: int
    dice: Tensor


class Quiet:
    """Looks on and says where a fit stands, not often."""

    def stepped(self, step: Step) -> None:
        if step.number % 500 == 0:
            say(f"  step {step.number} of {step.total}: loss {step.loss:.4f}, Dice {step.dice.mean():.4f}")

    def reached(self, fit: Fit) -> None: ...

    def halved(self, points: int) -> None:
        say(f"  out of memory: {points} points in a case from here")


def timed_fit(name: str, fit: Fit, cases: int, maps: Sequence[Tensor], heads: Sequence[str], measured: int) -> Row:
    """Run a fit; its time, points and arithmetic, and Dice (head,) on whole volumes of some of the cases."""
    flops, device = flops_of_step(fit), fit.sampler.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _wait(device)
    began = time.perf_counter()
    fit.run(Quiet())
    _wait(device)
    seconds = time.perf_counter() - began
    drawn = min(fit.cases_per_step, cases) * fit.gradient_accumulation
    steps = fit.total
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    rows = range(0, cases, max(cases // measured, 1))
    ids = [HEADS[head] for head in heads]
    dices = [
        dice_of_volume(fit.shape, fit.codes.at(torch.tensor([row], device=device)), maps[row], ids) for row in rows
    ]
    dice = torch.stack(dices).mean(dim=0)
    row = Row(
        name, len(heads), steps * drawn / cases, seconds, steps * drawn * fit.position.points, steps * flops, peak, dice
    )
    say(f"{name}: {seconds:.1f} s for {steps} steps, {1e3 * seconds / steps:.2f} ms each")
    return row


def flops_of_step(fit: Fit) -> float:
    """Multiplications and additions of one step, forward and backward: those of matrices and convolutions as torch
    counts them, and those of the tables that are read between their cells."""
    shape = fit.shape
    batch = fit.sampler.draw(0, fit.cases_per_step, fit.position.points, 0.8)
    with FlopCounterMode(display=False) as counter:
        shape(batch.points, fit.moves.drawn(batch.cases)).sum().backward()
    fit.shape.zero_grad(set_to_none=True)
    points = batch.points.shape[0] * batch.points.shape[1]
    features = {"template": 3 + len(shape.heads), "unified": 3 + 12 + len(shape.heads)}.get(shape.kind, 0)
    # Eight cells a point, once forward and twice backward.
    return fit.gradient_accumulation * (counter.get_total_flops() + 3 * 2 * 8 * features * points)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """What the device can do, by a large product of matrices, measured here and now."""
    n = 8192 if device.type == "cuda" else 512
    a = torch.randn(n, n, device=device, dtype=dtype)
    for _ in range(3):
        a @ a
    _wait(device)
    began, times = time.perf_counter(), 20
    for _ in range(times):
        a @ a
    _wait(device)
    return times * 2 * n**3 / (time.perf_counter() - began)


def main() -> None:
    """Make, fit, measure, print."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    default = ON_GPU if device.type == "cuda" else SMALL
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in Size.__dataclass_fields__:
        ask.add_argument(f"--{field.replace('_', '-')}", type=int, default=getattr(default, field))
    ask.add_argument("--compile", action="store_true", help="torch.compile, where it works")
    asked = vars(ask.parse_args())
    compiled, size = asked.pop("compile"), Size(**asked)
    torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    say(f"{name}, torch {torch.__version__}: {size.cases} hearts at {size.side} cubed")
    began = time.perf_counter()
    maps = make_cohort(size.cases, size.side, SIZE_MM, device)
    _wait(device)
    say(f"cohort made: {time.perf_counter() - began:.1f} s, {maps.nbytes / 2**30:.2f} GiB")
    began = time.perf_counter()
    listing, outlines = listing_of_maps(list(maps), list(HEADS.values()), SIZE_MM)
    _wait(device)
    frozen = listing.voxels.nbytes + listing.distances.nbytes
    say(f"points listed: {time.perf_counter() - began:.1f} s, {len(listing.voxels):,} points, {frozen / 2**30:.2f} GiB")

    drawn = min(size.cases_per_step, size.cases)
    middle = outlines[medoid(outlines)]
    table = distances_mm(maps[int(middle.case_id)], list(HEADS.values()), SIZE_MM).flatten(1).T.cpu()
    first, rows = scale_steps(LEADING, cohort_step_factor(LEADING, size.cases, drawn, size.visits)), []
    shape, codes = align_to_medoid(middle, table, tuple(HEADS), outlines, first[0].side or 48, first[0].controls or 6)
    shape, codes = shape.to(device), codes.to(device)
    stage1 = Fit(
        shape, codes, PointSampler(listing, device), first, cases_per_step=drawn, points=size.points,
        compiled=compiled and compiles(shape, codes, device),
    )  # fmt: skip
    rows.append(timed_fit("stage 1", stage1, size.cases, maps, tuple(HEADS), size.measured))
    rows.append(stage3(shape, codes, listing, size, maps, compiled))
    if NearShape is None:
        say("the published NeAR is not in this version; left out")
    else:
        rows.append(published(listing, size, maps))
    peaks = {"float32": peak_flops(device, torch.float32), "bfloat16": peak_flops(device, torch.bfloat16)}
    print_table(rows, peaks)


def stage3(shape: Shape, codes: CodeBook, listing: PointSet, size: Size, maps: Tensor, compiled: bool) -> Row:
    """All heads in one function: stage 1's template of the bulky structures, and details for what it lacks."""
    device, heads = listing.device, tuple(HEADS)
    columns = [at for at, head in enumerate(heads) if head not in THIN]
    template = TemplateShape([heads[at] for at in columns], shape.side, shape.controls)
    whole = UnifiedShape(heads, template.settings())
    with torch.no_grad():
        whole.template.table.copy_(shape.table[:, columns])
    whole = whole.to(device)
    began = time.perf_counter()
    book = with_details(whole, codes, listing, 0.35)
    sampler = JointSampler(listing, device, positives=1000 * max(size.cases_per_step // 32, 1))
    _wait(device)
    opened = float((book.values["slot"] > 0).float().mean())
    say(f"details opened: {time.perf_counter() - began:.1f} s, {opened:.1%} of the nodes")
    drawn = min(size.cases_per_step, size.cases)
    phases = scale_steps(DETAIL_PHASES, cohort_step_factor(DETAIL_PHASES, size.cases, drawn, size.details))
    fit = Fit(
        whole, book, sampler, phases, cases_per_step=drawn,
        points=size.points, compiled=compiled and compiles(whole, book, device),
    )  # fmt: skip
    return timed_fit("stage 3", fit, size.cases, maps, heads, size.measured)


def published(listing: PointSet, size: Size, maps: Tensor) -> Row:
    """The published NeAR as the reference runs it: one structure, a case at a time, four accumulated, 0.7 Dice + 0.3
    focal. Ten structures are ten such fits."""
    device, cases, head = listing.device, min(size.near_cases, size.cases), "LV"
    end = listing.spans()[cases - 1][2]
    column = list(HEADS).index(head)
    part = replace(
        listing, voxels=listing.voxels[:end], distances=listing.distances[:end, column : column + 1].clone(),
        starts=listing.starts[:cases], bands=listing.bands[:cases], rests=listing.rests[:cases],
        far_shares=listing.far_shares[:cases], present=listing.present[:cases, column : column + 1],
        sizes_mm=listing.sizes_mm[:cases], counts=listing.counts[:cases],
    )  # fmt: skip
    torch.manual_seed(0)
    shape = NearShape((head,))
    codes = CodeBook([str(row) for row in range(cases)], shape.new_codes(cases))
    steps = max(size.near_epochs * cases // 4, 1)
    phase = Phase(steps, 2e-3, 5e-4, loss="dice_focal", regularisation=1e-4, band_shares=(0.5, 0.3, 0.1), warm_up=0.03)
    fit = Fit(
        shape.to(device), codes.to(device), PointSampler(part, device), [phase], cases_per_step=1, gradient_accumulation=4,
        points=size.near_points, autocast=torch.bfloat16 if device.type == "cuda" else None,
    )  # fmt: skip
    return timed_fit("published NeAR", fit, cases, maps, (head,), min(size.measured, cases))


def compiles(shape: Shape, codes: CodeBook, device: torch.device) -> bool:
    """Whether torch.compile works here on this shape; it is told when it does not."""
    try:
        asked = torch.compile(shape, dynamic=False)
        asked(torch.zeros(2, 64, 3, device=device), codes.at(torch.arange(2, device=device))).sum().backward()
        shape.zero_grad(set_to_none=True)
        codes.zero_grad(set_to_none=True)
    except Exception as error:  # noqa: BLE001  (a compiler may fail in any way, and then we go on without)
        say(f"torch.compile is left out: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
        return False
    return True


def print_table(rows: Sequence[Row], peaks: dict[str, float]) -> None:
    """All fits, one a line, and Dice by structure below."""
    say(
        "peak arithmetic, measured: " + ", ".join(f"{kind} {value / 1e12:.1f} TFLOP/s" for kind, value in peaks.items())
    )
    say(f"{'':16}{'heads':>6}{'epochs':>9}{'s':>9}{'s/epoch':>9}{'Mpoints/s':>11}{'TFLOP/s':>9}{'of float32':>11}"
        f"{'of bfloat16':>12}{'peak GiB':>10}{'Dice':>7}")  # fmt: skip
    for row in rows:
        speed = row.flops / row.seconds
        shares = [f"{speed / peaks[kind]:.2%}" for kind in ("float32", "bfloat16")]
        peak = f"{row.peak_bytes / 2**30:.1f}" if row.peak_bytes else "-"
        say(f"{row.name:16}{row.structures:>6}{row.epochs:>9.1f}{row.seconds:>9.1f}{row.seconds / row.epochs:>9.3f}"
            f"{row.points / row.seconds / 1e6:>11.2f}{speed / 1e12:>9.3f}{shares[0]:>11}{shares[1]:>12}{peak:>10}"
            f"{float(row.dice.mean()):>7.3f}")  # fmt: skip
    for row in rows:
        heads = tuple(HEADS) if row.structures > 1 else ("LV",)
        said = "  ".join(f"{head} {dice:.3f}" for head, dice in zip(heads, row.dice.tolist(), strict=True))
        say(f"Dice on whole volumes, {row.name}: {said}")
        if row.structures > 1:
            worst = min(float(row.dice[heads.index(head)]) for head in CHAMBERS)
            say(f"  the worst chamber {worst:.3f}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
