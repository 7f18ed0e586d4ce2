#!/usr/bin/env python3
"""Speed, arithmetic and accuracy of `fit` and `unify` for a thousand hearts on one GPU, and of the published NeAR.

usage: gpu_cohort.py [--cases 998] [--side 128] [--visits 1530] [--details 400] [--near-epochs 2] [--compile]

Makes a cohort of phantom hearts of ten structures on the device (device_phantoms.py), each a smooth warp of one of a
few, fits all structures of all cases (`fit`, then `unify`), and trains the published NeAR with the settings of the
reference project for a few epochs. Needs torch, NumPy and SciPy beside Heartmend's training modules, and no file.
Without a GPU it runs at a small size.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from device_phantoms import HEADS, make_cohort
from device_sampling import distances_mm, sample_maps
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from volume_dice import compute_volume_dice

from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape
from heartmend.training.alignment import align_to_medoid, find_medoid
from heartmend.training.detail_nodes import add_detail_codes
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.point_set import PointSet
from heartmend.training.schedule import DETAIL_PHASES, TEMPLATE_PHASES, Phase, scale_steps_to_cohort

try:
    from near_shape import NearShape
except ImportError:
    NearShape = None

SIZE_MM = 160.0
FINE_PHASES = (
    *TEMPLATE_PHASES,
    Phase(steps=350, code_lr=0.005, shape_lr=0.05, side=128, controls=16, tolerance_mm=1.0),
    Phase(steps=400, code_lr=0.005, shape_lr=0.05, side=128, controls=20, tolerance_mm=1.0, regularisation=3e-6),
)
"""`fit` with finer fields than the repair uses: these label maps have no noise that a shape could reproduce."""
THIN = ("Coronary",)
CHAMBERS = ("LV", "RV", "LA", "RA")
log = functools.partial(print, flush=True)


@dataclass(frozen=True)
class Size:
    """Size of a run.

    Attributes:
        cases: number of hearts.
        side: cells along each side of a label map.
        cases_per_step: cases in each step.
        points: points of each case in a step.
        visits: how often each case is sampled in `fit`.
        details: how often each case is sampled in `unify`.
        near_epochs: epochs of NeAR.
        near_cases: cases of NeAR.
        near_points: points of each case in a step of NeAR.
        measured: cases whose Dice is measured.
    """

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
    """Cost and result of a fit."""

    name: str
    structures: int
    epochs: float
    seconds: float
    points: int
    flops: float
    peak_bytes: int
    dice: Tensor


class StepPrinter:
    """Observer that prints a line every 500 steps."""

    def on_step(self, step: Step) -> None:
        if step.number % 500 == 0:
            log(f"  step {step.number} of {step.total}: loss {step.loss:.4f}, Dice {step.dice.mean():.4f}")

    def on_checkpoint(self, fit: Fit) -> None: ...

    def on_memory_halved(self, points: int) -> None:
        log(f"  out of memory: {points} points in a case from here")


def timed_fit(name: str, fit: Fit, cases: int, maps: Sequence[Tensor], heads: Sequence[str], measured: int) -> Row:
    """Run a fit; measure its time, points and arithmetic, and the Dice (head,) of whole volumes of some cases."""
    flops, device = flops_of_step(fit), fit.sampler.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _wait(device)
    started = time.perf_counter()
    fit.run(StepPrinter())
    _wait(device)
    seconds = time.perf_counter() - started
    drawn = min(fit.cases_per_step, cases) * fit.gradient_accumulation
    steps = fit.total_steps
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    rows = range(0, cases, max(cases // measured, 1))
    ids = [HEADS[head] for head in heads]
    dices = [
        compute_volume_dice(fit.shape, fit.codes.at(torch.tensor([row], device=device)), maps[row], ids) for row in rows
    ]
    dice = torch.stack(dices).mean(dim=0)
    row = Row(
        name, len(heads), steps * drawn / cases, seconds, steps * drawn * fit.position.points, steps * flops, peak, dice
    )
    log(f"{name}: {seconds:.1f} s for {steps} steps, {1e3 * seconds / steps:.2f} ms each")
    return row


def flops_of_step(fit: Fit) -> float:
    """Count the floating-point operations of one step, forward and backward: those of matrices and convolutions by
    torch, and those of the interpolation of tables."""
    shape = fit.shape
    batch = fit.sampler.draw(0, fit.cases_per_step, fit.position.points, 0.8)
    with FlopCounterMode(display=False) as counter:
        shape(batch.points, fit.code_optimiser.copy_codes(batch.cases)).sum().backward()
    fit.shape.zero_grad(set_to_none=True)
    points = batch.points.shape[0] * batch.points.shape[1]
    features = {"template": 3 + len(shape.heads), "unified": 3 + 12 + len(shape.heads)}.get(shape.kind, 0)
    # Eight cells for each point, once forward and twice backward.
    return fit.gradient_accumulation * (counter.get_total_flops() + 3 * 2 * 8 * features * points)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the peak arithmetic of the device by a large product of matrices."""
    n = 8192 if device.type == "cuda" else 512
    a = torch.randn(n, n, device=device, dtype=dtype)
    for _ in range(3):
        a @ a
    _wait(device)
    started, times = time.perf_counter(), 20
    for _ in range(times):
        a @ a
    _wait(device)
    return times * 2 * n**3 / (time.perf_counter() - started)


def main() -> None:
    """Make the cohort, run the fits, print the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    default = ON_GPU if device.type == "cuda" else SMALL
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in Size.__dataclass_fields__:
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, default=getattr(default, field))
    parser.add_argument("--compile", action="store_true", help="compile the shapes, where that works")
    arguments = vars(parser.parse_args())
    compiled, size = arguments.pop("compile"), Size(**arguments)
    torch.set_float32_matmul_precision("high")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    log(f"{name}, torch {torch.__version__}: {size.cases} hearts at {size.side} cubed")
    started = time.perf_counter()
    maps = make_cohort(size.cases, size.side, SIZE_MM, device)
    _wait(device)
    log(f"cohort made: {time.perf_counter() - started:.1f} s, {maps.nbytes / 2**30:.2f} GiB")
    started = time.perf_counter()
    points, summaries = sample_maps(list(maps), list(HEADS.values()), SIZE_MM)
    _wait(device)
    size_bytes = points.voxels.nbytes + points.distances.nbytes
    log(
        f"points sampled: {time.perf_counter() - started:.1f} s, {len(points.voxels):,} points, "
        f"{size_bytes / 2**30:.2f} GiB"
    )

    drawn = min(size.cases_per_step, size.cases)
    medoid = summaries[find_medoid(summaries)]
    table = distances_mm(maps[int(medoid.case_id)], list(HEADS.values()), SIZE_MM).flatten(1).T.cpu()
    phases, rows = scale_steps_to_cohort(FINE_PHASES, size.cases, drawn, epochs=size.visits), []
    shape, codes = align_to_medoid(
        medoid, table, tuple(HEADS), summaries, phases[0].side or 48, phases[0].controls or 6
    )
    shape, codes = shape.to(device), codes.to(device)
    stage1 = Fit(
        shape, codes, PointSampler(points, device), phases, cases_per_step=drawn, points=size.points,
    )  # fmt: skip
    if compiled and can_compile(shape, codes, device):
        stage1.evaluate = torch.compile(shape, dynamic=False)
    rows.append(timed_fit("fit", stage1, size.cases, maps, tuple(HEADS), size.measured))
    rows.append(stage3(shape, codes, points, size, maps, compiled))
    if NearShape is None:
        log("near_shape.py is not here; NeAR is skipped")
    else:
        rows.append(published(points, size, maps))
    peaks = {"float32": peak_flops(device, torch.float32), "bfloat16": peak_flops(device, torch.bfloat16)}
    print_table(rows, peaks)


def stage3(shape: Shape, codes: CodeBook, points: PointSet, size: Size, maps: Tensor, compiled: bool) -> Row:
    """Fit all heads in one function: the template of the bulky structures of `fit`, and details."""
    device, heads = points.device, tuple(HEADS)
    columns = [at for at, head in enumerate(heads) if head not in THIN]
    template = TemplateShape([heads[at] for at in columns], shape.side, shape.controls)
    unified = UnifiedShape(heads, template.settings())
    with torch.no_grad():
        unified.template.table.copy_(shape.table[:, columns])
    unified = unified.to(device)
    started = time.perf_counter()
    book = add_detail_codes(unified, codes, points, 0.35)
    sampler = JointSampler(points, device, positives=1000 * max(size.cases_per_step // 32, 1))
    _wait(device)
    opened = float((book.values["slot"] > 0).float().mean())
    log(f"details opened: {time.perf_counter() - started:.1f} s, {opened:.1%} of the nodes")
    drawn = min(size.cases_per_step, size.cases)
    phases = scale_steps_to_cohort(DETAIL_PHASES, size.cases, drawn, epochs=size.details)
    fit = Fit(
        unified, book, sampler, phases, cases_per_step=drawn, points=size.points,
    )  # fmt: skip
    if compiled and can_compile(unified, book, device):
        fit.evaluate = torch.compile(unified, dynamic=False)
    return timed_fit("unify", fit, size.cases, maps, heads, size.measured)


def published(points: PointSet, size: Size, maps: Tensor) -> Row:
    """Fit the published NeAR as the reference project does: one structure, one case in a step, four steps accumulated,
    0.7 Dice + 0.3 focal. Ten structures need ten such fits."""
    device, cases, head = points.device, min(size.near_cases, size.cases), "LV"
    end = points.spans()[cases - 1][2]
    column = list(HEADS).index(head)
    part = replace(
        points, voxels=points.voxels[:end], distances=points.distances[:end, column : column + 1].clone(),
        starts=points.starts[:cases], bands=points.bands[:cases], rests=points.rests[:cases],
        shares=points.shares[:cases], present=points.present[:cases, column : column + 1],
        sizes_mm=points.sizes_mm[:cases], counts=points.counts[:cases],
    )  # fmt: skip
    torch.manual_seed(0)
    shape = NearShape((head,))
    codes = CodeBook([str(row) for row in range(cases)], shape.new_codes(cases))
    steps = max(size.near_epochs * cases // 4, 1)
    phase = Phase(steps, 2e-3, 5e-4, loss="dice_focal", regularisation=1e-4, band_shares=(0.5, 0.3, 0.1), warm_up=0.03)
    fit = Fit(
        shape.to(device), codes.to(device), PointSampler(part, device), [phase], cases_per_step=1,
        gradient_accumulation=4, points=size.near_points, autocast=torch.bfloat16 if device.type == "cuda" else None,
    )  # fmt: skip
    return timed_fit("published NeAR", fit, cases, maps, (head,), min(size.measured, cases))


def can_compile(shape: Shape, codes: CodeBook, device: torch.device) -> bool:
    """Whether torch.compile works for this shape here; prints the reason if not."""
    try:
        evaluate = torch.compile(shape, dynamic=False)
        evaluate(torch.zeros(2, 64, 3, device=device), codes.at(torch.arange(2, device=device))).sum().backward()
        shape.zero_grad(set_to_none=True)
        codes.zero_grad(set_to_none=True)
    except Exception as error:  # noqa: BLE001  (a compiler can fail in any way)
        log(f"torch.compile is not used: {type(error).__name__}: {str(error).splitlines()[0][:100]}")
        return False
    return True


def print_table(rows: Sequence[Row], peaks: dict[str, float]) -> None:
    """Print one line for each fit, and its Dice by structure."""
    log(
        "peak arithmetic, measured: " + ", ".join(f"{kind} {value / 1e12:.1f} TFLOP/s" for kind, value in peaks.items())
    )
    log(f"{'':16}{'heads':>6}{'epochs':>9}{'s':>9}{'s/epoch':>9}{'Mpoints/s':>11}{'TFLOP/s':>9}{'of float32':>11}"
        f"{'of bfloat16':>12}{'peak GiB':>10}{'Dice':>7}")  # fmt: skip
    for row in rows:
        speed = row.flops / row.seconds
        shares = [f"{speed / peaks[kind]:.2%}" for kind in ("float32", "bfloat16")]
        peak = f"{row.peak_bytes / 2**30:.1f}" if row.peak_bytes else "-"
        log(f"{row.name:16}{row.structures:>6}{row.epochs:>9.1f}{row.seconds:>9.1f}{row.seconds / row.epochs:>9.3f}"
            f"{row.points / row.seconds / 1e6:>11.2f}{speed / 1e12:>9.3f}{shares[0]:>11}{shares[1]:>12}{peak:>10}"
            f"{float(row.dice.mean()):>7.3f}")  # fmt: skip
    for row in rows:
        heads = tuple(HEADS) if row.structures > 1 else ("LV",)
        values = "  ".join(f"{head} {dice:.3f}" for head, dice in zip(heads, row.dice.tolist(), strict=True))
        log(f"Dice on whole volumes, {row.name}: {values}")
        if row.structures > 1:
            worst = min(float(row.dice[heads.index(head)]) for head in CHAMBERS)
            log(f"  the worst chamber {worst:.3f}")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
