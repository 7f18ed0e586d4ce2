"""Contacts of a template by the votes of label maps, on two halves of a box."""

import numpy as np
import pytest
import torch

from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.template import TemplateShape
from heartmend.training.contact_votes import ContactVote, move_contacts, vote_on_contacts
from heartmend.types import Labels

SIDE = 40
MM = (1.0, 1.0, 1.0)
ROI = Roi(Grid((SIDE,) * 3, np.eye(4)), (0, 0, 0), (SIDE,) * 3)
PAIR = ("LAA", "LA")
IDS = {PAIR: (8, 2)}


def atrium(contact: int, third: int = 0) -> Labels:
    """A box of 10 to 30 along each axis: the appendage is below `contact` along x, the atrium above."""
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[10:30, 10:30, 10:30] = 2
    labels[10:contact, 10:30, 10:30] = 8
    if third:
        labels[10:30, 10:14, 10:30] = third
    return labels


def template(contact: int) -> TemplateShape:
    shape, labels = TemplateShape(PAIR, side=SIDE, controls=6), atrium(contact)
    distances = [signed_distance_mm(labels == id, MM) for id in (8, 2)]
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(distances, axis=-1).reshape(shape.table.shape)))
    return shape


def first_of_atrium(shape: TemplateShape) -> int:
    """The first place along x that belongs to the atrium, in the middle of the box."""
    appendage, main = shape.distances_mm[:, 20, 20].T
    return int(np.argmax((main > 0) & (main > appendage)))


def votes(shape: TemplateShape, contacts: list[int]) -> list[dict[tuple[str, str], ContactVote]]:
    code, placed = shape.new_codes(1), atrium(first_of_atrium(shape))
    return [vote_on_contacts(shape, code, atrium(contact), placed, ROI, IDS) for contact in contacts]


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([17, 17, 17, 17], 17),  # all agree
        ([14, 14, 14, 20], 20),  # a quarter of them gives the appendage more
        ([14, 14, 14, 14, 20], 14),  # less than a quarter
        ([19, 19], 19),
        ([19], 16),  # a single vote moves nothing
        ([], 16),
    ],
)
def test_the_smaller_structure_has_what_a_quarter_of_the_label_maps_give_it(contacts: list[int], expected: int) -> None:
    before = template(16)
    after = move_contacts(before, votes(before, contacts), MM)
    assert first_of_atrium(after) == expected
    assert first_of_atrium(before) == 16


def test_the_surface_of_both_together_stays() -> None:
    before = template(16)
    after = move_contacts(before, votes(before, [20, 20, 20]), MM)
    for shape in (before, after):
        assert ((shape.distances_mm.max(axis=-1) > 0) == (atrium(16) > 0)).all()


def test_only_voxels_of_the_two_structures_in_both_maps_vote() -> None:
    shape = template(16)
    vote = vote_on_contacts(shape, shape.new_codes(1), atrium(20, third=3), atrium(16), ROI, IDS)[PAIR]
    x, y, _ = np.unravel_index(vote.cells, (SIDE,) * 3)
    assert y.min() == 14 and y.max() == 29
    # Less than 8 mm beyond the larger of the two appendages, which ends at 19.
    assert x.min() == 10 and x.max() == 26
    assert {*zip(x.tolist(), vote.shares.tolist(), strict=True)} == {(at, float(at < 20)) for at in range(10, 27)}


def test_a_label_map_without_the_smaller_structure_has_no_vote() -> None:
    shape, none = template(16), atrium(10)
    assert vote_on_contacts(shape, shape.new_codes(1), none, none, ROI, IDS) == {}
