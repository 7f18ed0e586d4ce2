"""Choice of the open detail nodes."""

import pytest
import torch

from heartmend.models.code_book import CodeBook
from heartmend.models.unified import UnifiedShape
from heartmend.training import detail_nodes
from heartmend.training.detail_nodes import add_detail_codes
from heartmend.training.sampling import CaseSamples
from support.hearts import samples_of, small_heart

IDS = (3, 5, 9)
SIDE = 16


@pytest.fixture(scope="module")
def cases() -> list[CaseSamples]:
    """Make two hearts of 32³ cells; the first has a vessel along x in the corner of y and z."""
    with_vessel = small_heart(1)
    with_vessel[5:25, 27, 27] = 9
    return [samples_of("a", with_vessel, IDS, far_share=0.2), samples_of("b", small_heart(2), IDS, far_share=0.2)]


def opened(cases: list[CaseSamples], error_mm: float) -> torch.Tensor:
    """(case, x, y, z) open nodes for a template that predicts -5 mm for LV and RV everywhere."""
    shape = UnifiedShape(("LV", "RV", "Coronary"), {"heads": ["LV", "RV"], "side": 8, "controls": 5}, SIDE, 4, 8)
    with torch.no_grad():
        shape.template.table.fill_(-5.0)
    codes = CodeBook(["a", "b"], shape.template.new_codes(2))
    return add_detail_codes(shape, codes, cases, error_mm).values["slot"].reshape(2, SIDE, SIDE, SIDE) > 0


def test_nodes_near_a_vessel_are_open(cases: list[CaseSamples]) -> None:
    a, b = opened(cases, 10.0)
    assert not b.any()
    x, y, z = a.nonzero().T
    # One node is two cells. The vessel has cells 5 to 24 along x; cell 27 is between nodes 13 and 14.
    assert set(y.tolist()) <= {12, 13, 14} and set(z.tolist()) <= {12, 13, 14}
    assert x.min() <= 2 and x.max() >= 12
    assert all(a[at, 13, 13] for at in range(3, 12))


def test_nodes_near_a_surface_error_are_open(cases: list[CaseSamples]) -> None:
    good, bad = opened(cases, 10.0), opened(cases, 1.0)
    assert (bad & good == good).all()
    assert bad[1].sum() > 50


def test_the_number_of_open_nodes_is_limited(cases: list[CaseSamples], monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes with the largest error are kept, before those of a vessel."""
    every = opened(cases, 1.0)
    monkeypatch.setattr(detail_nodes, "MAX_OPEN_NODES", 20)
    few = opened(cases, 1.0)
    assert few.sum(dim=(1, 2, 3)).tolist() == [20, 20]
    assert (every & few == few).all()
    assert not (few[0] & opened(cases, 10.0)[0]).any()
