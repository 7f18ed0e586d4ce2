"""NeAR fitted as it was published: whole lattices, shifted a little, Adam, two or three falls of the learning rate."""

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

RATE, FALLS, FALL = 1e-3, (150, 700, 1200), 0.1
BATCH = 8
SHIFT = 0.01
PENALTY = 0.01

Epoch = Callable[[int, NearShape, CodeBook], None]
"""ReportProgress after each pass over the cases: its number from 1, and the shape and the codes as they are."""


def fit_near(
    labels: npt.NDArray[np.bool_], images: npt.NDArray[np.float32] | None, epochs: int, lattice: int, seed: int,
    told: Epoch | None = None, *, compiled: bool = False, kept: Path | None = None,
) -> tuple[NearShape, CodeBook]:  # fmt: skip
    """NeAR for masks (case, n, n, n), with images of the same shape and about unit scale, or by shape alone.

    In a step eight cases are asked on a lattice of `lattice`³ points between the outermost voxels, shifted along the
    diagonal by a normal draw of 0.01 for each case, and told what their labels, read between voxels, say there: binary
    cross entropy, and 0.01 times the length of the code. The falls of the rate are at the published epochs (150, 700
    and 1200 of 1500). Networks compute in bfloat16.

    `compiled` has the step compiled, which halves an epoch's time and needs a C++ compiler. With `kept` the state after
    each pass is in that file, and a fit that was cut off goes on from there; the same seed and data are the caller's.
    """
    torch.manual_seed(seed)
    side = 0 if images is None else images.shape[-1]
    shape = NearShape(("structure",), image_side=side)
    codes = shape.new_codes(len(labels), seed)
    if images is not None:
        codes["image"] = torch.from_numpy(images)
    book = CodeBook([str(case) for case in range(len(labels))], codes)
    moved = [code.requires_grad_(name not in shape.frozen) for name, code in book.values.items()]
    optimiser = torch.optim.Adam([*shape.parameters(), *(code for code in moved if code.requires_grad)], lr=RATE)
    falls = torch.optim.lr_scheduler.MultiStepLR(optimiser, FALLS, FALL)
    truth = torch.from_numpy(labels)
    generator = torch.Generator().manual_seed(seed)
    answer = torch.compile(_answer) if compiled else _answer
    state = _State(shape, book, optimiser, falls, generator, kept)
    for epoch in range(state.read() + 1, epochs + 1):
        for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
            shift = torch.randn(len(rows), 1, generator=generator) * SHIFT
            axis = torch.linspace(-1, 1, lattice) + shift
            asked = book.at(rows)
            with torch.autocast("cpu", torch.bfloat16):
                logits = answer(shape, axis, asked)
            loss = F.binary_cross_entropy_with_logits(logits.float(), _read(truth[rows], axis))
            loss = loss + PENALTY * shape.regularisation(asked)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        falls.step()
        state.write(epoch)
        if told is not None:
            told(epoch, shape, book)
    return shape, book


@torch.no_grad()
def near_masks(shape: NearShape, book: CodeBook, side: int) -> list[Mask]:
    """What the shape says of every case, (side, side, side), asked on the whole lattice at once."""
    axis = torch.linspace(-1, 1, side)
    with torch.autocast("cpu", torch.bfloat16):
        return [(shape.on_lattice((axis, axis, axis), book.of([id]))[0] > 0).numpy() for id in book.ids]


def _answer(shape: NearShape, axis: Tensor, asked: dict[str, Tensor]) -> Tensor:
    return shape.on_lattices((axis, axis, axis), asked)[:, 0]


class _State:
    """What a fit must keep to go on where it was cut off."""

    def __init__(
        self, shape: NearShape, book: CodeBook, optimiser: torch.optim.Optimizer,
        falls: torch.optim.lr_scheduler.LRScheduler, generator: torch.Generator, path: Path | None,
    ) -> None:  # fmt: skip
        self.parts = {"shape": shape, "optimiser": optimiser, "falls": falls}
        self.latent, self.generator, self.path = book.values["latent"], generator, path

    def read(self) -> int:
        """Take up what is kept; the epoch that it is of, 0 if nothing is."""
        if self.path is None or not self.path.exists():
            return 0
        frozen = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(frozen[name])
        with torch.no_grad():
            self.latent.copy_(frozen["latent"])
        self.generator.set_state(frozen["generator"])
        return int(frozen["epoch"])

    def write(self, epoch: int) -> None:
        if self.path is None:
            return
        frozen = {name: part.state_dict() for name, part in self.parts.items()}
        frozen |= {"latent": self.latent.detach(), "generator": self.generator.get_state(), "epoch": epoch}
        with atomic_write(self.path) as part:
            torch.save(frozen, part)


def _read(labels: Tensor, axis: Tensor) -> Tensor:
    """Labels (case, n, n, n) between their voxels on a lattice with coordinates (case, m) along every axis."""
    grid = torch.stack([torch.stack(torch.meshgrid(a, a, a, indexing="ij")[::-1], dim=-1) for a in axis])
    return F.grid_sample(labels[:, None].float(), grid, align_corners=True)[:, 0]
