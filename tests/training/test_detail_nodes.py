"""Where a case's details are opened."""

import pytest
import torch

from heartmend.models.code_book import CodeBook
from heartmend.models.unified import UnifiedShape
from heartmend.training import details
from heartmend.training.sampling import CaseSamples
from heartmend.training.detail_nodes import add_detail_codes
from support.hearts import small_heart, target_of

IDS = (3, 5, 9)
SIDE = 16


@pytest.fixture(scope="module")
def targets() -> list[CaseSamples]:
    """Two hearts of 32 cells a side; the first has a vessel along x in the corner of y and z."""
    with_vessel = small_heart(1)
    with_vessel[5:25, 27, 27] = 9
    return [target_of("a", with_vessel, IDS, far_share=0.2), target_of("b", small_heart(2), IDS, far_share=0.2)]


def opened(targets: list[CaseSamples], error_mm: float) -> torch.Tensor:
    """(case, x, y, z) of a template that says everywhere that LV and RV lie 5 mm away."""
    shape = UnifiedShape(("LV", "RV", "Coronary"), {"heads": ["LV", "RV"], "side": 8, "controls": 5}, SIDE, 4, 8)
    with torch.no_grad():
        shape.template.table.fill_(-5.0)
    codes = CodeBook(["a", "b"], shape.template.new_codes(2))
    return add_detail_codes(shape, codes, targets, error_mm).values["slot"].reshape(2, SIDE, SIDE, SIDE) > 0


def test_about_a_vessel_alone_where_the_template_is_good_enough(targets: list[CaseSamples]) -> None:
    a, b = opened(targets, 10.0)
    assert not b.any()
    x, y, z = a.nonzero().T
    # Two cells of the map are one node; the vessel has cells 5 to 24, and 27 is the middle between nodes 13 and 14.
    assert set(y.tolist()) <= {12, 13, 14} and set(z.tolist()) <= {12, 13, 14}
    assert x.min() <= 2 and x.max() >= 12
    assert all(a[at, 13, 13] for at in range(3, 12))


def test_and_where_it_misses_a_surface(targets: list[CaseSamples]) -> None:
    good, bad = opened(targets, 10.0), opened(targets, 1.0)
    assert (bad & good == good).all()
    assert bad[1].sum() > 50


def test_one_wrecked_map_takes_no_more_than_its_share(
    targets: list[CaseSamples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many nodes those stay whose error is largest, before those of a vessel."""
    every = opened(targets, 1.0)
    monkeypatch.setattr(details, "MOST_OPEN", 20)
    few = opened(targets, 1.0)
    assert few.sum(dim=(1, 2, 3)).tolist() == [20, 20]
    assert (every & few == few).all()
    assert not (few[0] & opened(targets, 10.0)[0]).any()
