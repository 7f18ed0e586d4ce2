"""Fixtures of placements: a heart of three balls."""

import pytest

from heartmend.models.template import TemplateShape
from support.ball_heart import ball_template


@pytest.fixture
def few_image_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heart of three balls needs fewer points than one of nine structures."""
    monkeypatch.setattr("heartmend.training.image_placement.POINTS", 1000)


@pytest.fixture(scope="module")
def template() -> TemplateShape:
    return ball_template()
