"""Fits for several processes, in a module that they can import."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heartmend.compute.ranks import Ranks
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.models.unified import UnifiedShape
from heartmend.training.checkpoint import save_fit
from heartmend.training.detail_nodes import add_detail_codes
from heartmend.training.initialise import initialise_template
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from support.hearts import HEADS, samples_of, small_hearts

CASES = 5
TEMPLATE = Phase(steps=12, code_lr=0.01, shape_lr=0.1, side=12, controls=5, tolerance_mm=3.0)
FINER = Phase(steps=8, code_lr=0.006, shape_lr=0.05, side=16, controls=6)
DECODER = Phase(steps=6, code_lr=0.01, shape_lr=1e-3, loss="dice_focal", regularisation=1e-2)
DETAILS = Phase(steps=8, code_lr=0.06, shape_lr=0.003, loss="joint", tolerance_mm=1.0, regularisation=1e-1)


class StepForwarder:
    """Observer that passes every step on."""

    def __init__(self, report: Callable[..., None] | None) -> None:
        self._report = report

    def on_step(self, step: Step) -> None:
        if self._report is not None:
            self._report(step.number, step.loss, step.dice.tolist())

    def on_checkpoint(self, fit: Fit) -> None: ...

    def on_memory_halved(self, points: int) -> None: ...


def fit_small(ranks: Ranks, folder: Path, report: Callable[..., None] | None) -> dict[str, np.ndarray]:
    """Run every kind of fit for a few steps; returns all weights and codes on the main process."""
    torch.set_num_threads(1)
    cases = small_hearts(CASES)
    own = ranks.own([samples_of(case.case_id, case.cube, list(HEADS.values())) for case in cases])
    ids = [samples.case_id for samples in own]
    summaries = ranks.all_gather([samples.summary for samples in own])
    assert [summary.case_id for summary in summaries] == [case.case_id for case in cases]
    found: dict[str, np.ndarray] = {}

    def run(name: str, fit: Fit) -> None:
        fit.run(StepForwarder(report))
        save_fit(folder / f"{name}.safetensors", fit)
        codes = fit.gather_codes()
        if codes is not None:
            assert codes.ids == tuple(case.case_id for case in cases)
            found.update({f"{name} {key}": value.numpy() for key, value in fit.shape.state_dict().items()})
            found.update({f"{name} {key}": value.detach().numpy() for key, value in codes.values.items()})

    shape, codes = initialise_template(HEADS, summaries, lambda _: (cases[0].cleaned, cases[0].roi), 12, 5)
    template = Fit(
        shape, CodeBook(ids, codes.of(ids)), PointSampler(own, ranks.device, 1, ranks), [TEMPLATE, FINER],
        cases_per_step=3, points=300,
    )  # fmt: skip
    run("template", template)
    torch.manual_seed(0)
    decoder = DecoderShape(tuple(HEADS), 8)
    all_codes = CodeBook([case.case_id for case in cases], decoder.new_codes(CASES))
    sampler = PointSampler(own, ranks.device, 1, ranks)
    # In each step only one process has a case.
    book = CodeBook(ids, all_codes.of(ids))
    run("decoder", Fit(decoder, book, sampler, [DECODER], cases_per_step=1, points=300, gradient_accumulation=2))
    torch.manual_seed(0)
    unified = UnifiedShape(tuple(HEADS), shape.settings(), side=8, channels=4, width=16)
    unified.template.load_state_dict(shape.state_dict())
    book = add_detail_codes(unified, template.codes, own, 0.1, ranks)
    joint = JointSampler(own, ranks.device, 3, ranks, positives=60)
    run("unified", Fit(unified, book, joint, [DETAILS], cases_per_step=2, points=300))
    return found


def die_at(number: int, work: Callable[..., Any], ranks: Ranks, job: Any, report: Callable[..., None] | None) -> Any:
    """Do the same work, but kill the last process in the middle of a step."""
    step = Fit._step

    def killing_step(self: Fit, phase: Phase, at: int, reports: bool) -> Any:
        if at == number and ranks.rank == ranks.count - 1 > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, phase, at, reports)

    Fit._step = killing_step  # type: ignore[method-assign]
    try:
        return work(ranks, job, report)
    finally:
        Fit._step = step  # type: ignore[method-assign]
