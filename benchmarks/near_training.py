"""Training of NeAR as published: whole lattices with small random shifts, Adam, and a step schedule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from near_shape import NearShape
from torch import Tensor

from heartmend.io.atomic import atomic_write
from heartmend.models.code_book import CodeBook
from heartmend.types import Mask

LEARNING_RATE, MILESTONES, DECAY = 1e-3, (150, 700, 1200), 0.1
BATCH = 8
SHIFT = 0.01
REGULARISATION = 0.01

Epoch = Callable[[int, NearShape, CodeBook], None]
"""Called after each epoch with its number from 1, the shape and the codes."""


def fit_near(
    labels: npt.NDArray[np.bool_], images: npt.NDArray[np.float32] | None, epochs: int, lattice: int, seed: int,
    on_epoch: Epoch | None = None, *, compiled: bool = False, state: Path | None = None,
) -> tuple[NearShape, CodeBook]:  # fmt: skip
    """Train NeAR on masks, with or without images.

    A step evaluates eight cases on a lattice of `lattice`³ points between the outermost voxels, shifted along the
    diagonal by a normal draw of 0.01 for each case. The loss is the binary cross entropy with the labels, interpolated
    there, plus 0.01 times the length of the code. The learning rate falls at the published epochs (150, 700 and 1200 of
    1500). The networks compute in bfloat16.

    Args:
        labels: (case, n, n, n) bool.
        images: (case, n, n, n) float32 of about unit scale; None to train on shapes only.
        epochs: number of epochs.
        lattice: points along each axis of the lattice.
        seed: seed of all random numbers.
        on_epoch: is called after each epoch.
        compiled: whether to compile the step, which halves the time of an epoch and needs a C++ compiler.
        state: file of the state after each epoch, from which an interrupted training of the same data and seed is
            continued.

    Returns:
        The shape and the codes, by the number of the case.
    """
    torch.manual_seed(seed)
    side = 0 if images is None else images.shape[-1]
    shape = NearShape(("structure",), image_side=side)
    codes = shape.new_codes(len(labels), seed)
    if images is not None:
        codes["image"] = torch.from_numpy(images)
    book = CodeBook([str(case) for case in range(len(labels))], codes)
    optimised = [code.requires_grad_(name not in shape.frozen) for name, code in book.values.items()]
    optimiser = torch.optim.Adam(
        [*shape.parameters(), *(code for code in optimised if code.requires_grad)], lr=LEARNING_RATE
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, MILESTONES, DECAY)
    reference = torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    evaluate = torch.compile(_evaluate) if compiled else _evaluate
    stored = _State(shape, book, optimiser, schedule, generator, state)
    for epoch in range(stored.read() + 1, epochs + 1):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            shift = torch.randn(len(rows), 1, generator=generator) * SHIFT
            axis = torch.linspace(-1, 1, lattice) + shift
            drawn = book.at(rows)
            with torch.autocast("cpu", torch.bfloat16):
                logits = evaluate(shape, axis, drawn)
            loss = F.binary_cross_entropy_with_logits(logits.float(), _interpolate(reference[rows], axis))
            loss = loss + REGULARISATION * shape.regularisation(drawn)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
        stored.write(epoch)
        if on_epoch is not None:
            on_epoch(epoch, shape, book)
    return shape, book


@torch.no_grad()
def near_masks(shape: NearShape, book: CodeBook, side: int) -> list[Mask]:
    """Predict the mask (side, side, side) of every case, on the whole lattice at once."""
    axis = torch.linspace(-1, 1, side)
    with torch.autocast("cpu", torch.bfloat16):
        return [(shape.on_lattice((axis, axis, axis), book.of([id]))[0] > 0).numpy() for id in book.ids]


def _evaluate(shape: NearShape, axis: Tensor, codes: dict[str, Tensor]) -> Tensor:
    return shape.on_lattices((axis, axis, axis), codes)[:, 0]


class _State:
    """State of a training that can be continued."""

    def __init__(
        self, shape: NearShape, book: CodeBook, optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler, generator: torch.Generator, path: Path | None,
    ) -> None:  # fmt: skip
        self.parts = {"shape": shape, "optimiser": optimiser, "schedule": schedule}
        self.latent, self.generator, self.path = book.values["latent"], generator, path

    def read(self) -> int:
        """Load the state; returns its epoch, 0 if there is none."""
        if self.path is None or not self.path.exists():
            return 0
        stored = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(stored[name])
        with torch.no_grad():
            self.latent.copy_(stored["latent"])
        self.generator.set_state(stored["generator"])
        return int(stored["epoch"])

    def write(self, epoch: int) -> None:
        """Write the state after an epoch."""
        if self.path is None:
            return
        stored = {name: part.state_dict() for name, part in self.parts.items()}
        stored |= {"latent": self.latent.detach(), "generator": self.generator.get_state(), "epoch": epoch}
        with atomic_write(self.path) as file:
            torch.save(stored, file)


def _interpolate(labels: Tensor, axis: Tensor) -> Tensor:
    """Interpolate labels (case, n, n, n) on a lattice with coordinates (case, m) along every axis."""
    grid = torch.stack([torch.stack(torch.meshgrid(a, a, a, indexing="ij")[::-1], dim=-1) for a in axis])
    return F.grid_sample(labels[:, None].float(), grid, align_corners=True)[:, 0]
