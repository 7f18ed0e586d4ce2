"""Work for several processes that fit together, in a module that they can import."""

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
from heartmend.training.details import with_details
from heartmend.training.initialise import initialise_template
from heartmend.training.joint_training import JointSampler
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from support.hearts import HEADS, small_hearts, target_of

CASES = 5
TEMPLATE = Phase(steps=12, code_lr=0.01, shape_lr=0.1, side=12, controls=5, tolerance_mm=3.0)
FINER = Phase(steps=8, code_lr=0.006, shape_lr=0.05, side=16, controls=6)
DECODER = Phase(steps=6, code_lr=0.01, shape_lr=1e-3, loss="dice_focal", regularisation=1e-2)
DETAILS = Phase(steps=8, code_lr=0.06, shape_lr=0.003, loss="joint", tolerance_mm=1.0, regularisation=1e-1)


class Teller:
    """Tells every step that it is told of."""

    def __init__(self, tell: Callable[..., None] | None) -> None:
        self._tell = tell

    def stepped(self, step: Step) -> None:
        if self._tell is not None:
            self._tell(step.number, step.loss, step.dice.tolist())

    def reached(self, fit: Fit) -> None: ...

    def halved(self, points: int) -> None: ...


def fit_small(ranks: Ranks, folder: Path, tell: Callable[..., None] | None) -> dict[str, np.ndarray]:
    """Every kind of fit in a few steps, one case at a time among them; all weights and codes, on the leader."""
    torch.set_num_threads(1)
    cases = small_hearts(CASES)
    own = ranks.own([target_of(case.case_id, case.labels, list(HEADS.values())) for case in cases])
    ids = [target.case_id for target in own]
    outlines = ranks.all_gather([target.outline for target in own])
    assert [outline.case_id for outline in outlines] == [case.case_id for case in cases]
    found: dict[str, np.ndarray] = {}

    def done(name: str, fit: Fit) -> None:
        fit.run(Teller(tell))
        save_fit(folder / f"{name}.safetensors", fit)
        codes = fit.whole_codes()
        if codes is not None:
            assert codes.ids == tuple(case.case_id for case in cases)
            found.update({f"{name} {key}": value.numpy() for key, value in fit.shape.state_dict().items()})
            found.update({f"{name} {key}": value.detach().numpy() for key, value in codes.values.items()})

    shape, codes = initialise_template(HEADS, outlines, lambda _: (cases[0].source, cases[0].roi), 12, 5)
    template = Fit(
        shape, CodeBook(ids, codes.of(ids)), PointSampler(own, ranks.device, 1, ranks), [TEMPLATE, FINER],
        cases_per_step=3, points=300,
    )  # fmt: skip
    done("template", template)
    torch.manual_seed(0)
    decoder = DecoderShape(tuple(HEADS), 8)
    whole = CodeBook([case.case_id for case in cases], decoder.new_codes(CASES))
    sampler = PointSampler(own, ranks.device, 1, ranks)
    # In each step all processes but one have no case.
    book = CodeBook(ids, whole.of(ids))
    done("decoder", Fit(decoder, book, sampler, [DECODER], cases_per_step=1, points=300, gradient_accumulation=2))
    torch.manual_seed(0)
    unified = UnifiedShape(tuple(HEADS), shape.settings(), side=8, channels=4, width=16)
    unified.template.load_state_dict(shape.state_dict())
    book = with_details(unified, template.codes, own, 0.1, ranks)
    joint = JointSampler(own, ranks.device, 3, ranks, positives=60)
    done("unified", Fit(unified, book, joint, [DETAILS], cases_per_step=2, points=300))
    return found


def die_at(number: int, work: Callable[..., Any], ranks: Ranks, job: Any, tell: Callable[..., None] | None) -> Any:
    """The same work, but the last process is killed in the middle of a step."""
    step = Fit._step

    def deadly(self: Fit, phase: Phase, at: int, tells: bool) -> Any:
        if at == number and ranks.rank == ranks.count - 1 > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, phase, at, tells)

    Fit._step = deadly  # type: ignore[method-assign]
    try:
        return work(ranks, job, tell)
    finally:
        Fit._step = step  # type: ignore[method-assign]
