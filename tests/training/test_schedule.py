"""Phases of a fit: learning rate, curriculum, validation, and scaling to a cohort."""

import pytest
from pydantic import TypeAdapter, ValidationError

from heartmend.training.schedule import Phase, scale_steps_to_cohort


def phase(**settings: object) -> Phase:
    return Phase(**({"steps": 100, "code_lr": 0.01, "shape_lr": 0.1} | settings))


PHASES = (phase(steps=10), phase(steps=30))


def scaled(cases: int, **epochs: float) -> list[int]:
    return [one.steps for one in scale_steps_to_cohort(PHASES, cases, 10, **epochs)]


def test_the_rate_warms_up_then_falls_along_a_cosine() -> None:
    plain = phase()
    assert plain.rate_factor(0) == pytest.approx(1)
    assert plain.rate_factor(50) == pytest.approx(0.03 + 0.97 / 2)
    assert plain.rate_factor(100) == pytest.approx(0.03)
    warm = phase(warm_up=0.1)
    assert [warm.rate_factor(step) for step in range(10)] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert warm.rate_factor(10) == pytest.approx(1)
    falling = [warm.rate_factor(step) for step in range(10, 100)]
    assert falling == sorted(falling, reverse=True)


def test_band_shares_apply_to_equal_parts_of_the_phase() -> None:
    shares = [phase(band_shares=(0.5, 0.3, 0.1)).band_share(step) for step in range(100)]
    assert shares == [0.5] * 34 + [0.3] * 33 + [0.1] * 33
    assert phase(steps=1, band_shares=(0.5, 0.3)).band_share(0) == 0.5


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"code_lr": 0}, {"warm_up": 1.0}, {"regularisation": -1.0}])
def test_a_value_out_of_range_raises_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        phase(**wrong)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"stepps": 3}, {"steps": "many"}])
def test_a_table_of_settings_is_validated(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TypeAdapter(Phase).validate_python({"steps": 100, "code_lr": 0.01, "shape_lr": 0.1} | wrong)


def test_steps_for_a_number_of_epochs() -> None:
    """1,000 cases, 100 in each step, each drawn 20 times: 200 steps, a quarter of them in the first phase."""
    assert [one.steps for one in scale_steps_to_cohort(PHASES, 1000, 100, epochs=20)] == [50, 150]
    assert [one.steps for one in scale_steps_to_cohort(PHASES, 50, 100, epochs=20)] == [5, 15]
    assert [one.steps for one in scale_steps_to_cohort(PHASES, 50, 100, epochs=0.01)] == [1, 1]
    assert scale_steps_to_cohort(PHASES, 10, 10) == PHASES


def test_a_large_cohort_gets_more_steps() -> None:
    """40 steps of 10 cases draw each of 20 cases 20 times, each of 100 cases 4 times."""
    assert scaled(20, min_epochs=16) == [10, 30]
    assert scaled(100, min_epochs=16) == [40, 120]
    assert scaled(100, min_epochs=400) == [100, 300], "no more draws than for ten cases, all drawn in every step"
    assert scaled(5, min_epochs=400) == [10, 30]
    assert scaled(20, epochs=4, min_epochs=16) == [2, 6], "epochs may be fewer than min_epochs"


def test_the_factor_can_be_that_of_other_phases() -> None:
    reference = (phase(steps=400),)
    assert [one.steps for one in scale_steps_to_cohort(PHASES, 20, 10, epochs=100, reference=reference)] == [5, 15]
