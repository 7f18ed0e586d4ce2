"""Training of NeAR: it learns, is reproducible, and uses an image."""

import numpy as np
import torch
from near_training import fit_near, near_masks

from support.sheets import sheets


def test_it_learns_two_shapes_and_predicts_on_any_lattice() -> None:
    masks = np.stack(sheets(2, side=16))
    losses = []

    def validate(epoch: int, shape: torch.nn.Module, book: object) -> None:
        found = near_masks(shape, book, 16)
        losses.append(float(np.mean([(a != b).mean() for a, b in zip(found, masks, strict=True)])))

    shape, book = fit_near(masks, None, epochs=15, lattice=12, seed=0, on_epoch=validate)
    assert len(losses) == 15
    assert losses[-1] < masks.mean()
    assert near_masks(shape, book, 20)[0].shape == (20, 20, 20)


def test_the_image_is_interpolated_at_the_points_of_the_label() -> None:
    """The image is the mask itself."""
    masks = np.stack(sheets(2, side=16))
    shape, book = fit_near(masks, masks.astype(np.float32), epochs=1, lattice=12, seed=0)
    assert shape.image_side == 16
    assert torch.equal(book.of(["1"])["image"][0], torch.from_numpy(masks[1]).float())
    again, _ = fit_near(masks, masks.astype(np.float32), epochs=1, lattice=12, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(shape.parameters(), again.parameters(), strict=True))
