import pytest
from pydantic import TypeAdapter, ValidationError

from heartmend.training.schedule import Phase, cohort_step_factor, scale_steps


def phase(**settings: object) -> Phase:
    return Phase(**({"steps": 100, "code_lr": 0.01, "shape_lr": 0.1} | settings))


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


def test_the_curriculum_goes_over_equal_parts() -> None:
    shares = [phase(band_shares=(0.5, 0.3, 0.1)).band_share(step) for step in range(100)]
    assert shares == [0.5] * 34 + [0.3] * 33 + [0.1] * 33
    assert phase(steps=1, band_shares=(0.5, 0.3)).band_share(0) == 0.5


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"code_lr": 0}, {"warm_up": 1.0}, {"penalty": -1.0}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        phase(**wrong)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"stepps": 3}, {"steps": "many"}])
def test_a_table_of_settings_is_held_to_the_same(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TypeAdapter(Phase).validate_python({"steps": 100, "code_lr": 0.01, "shape_lr": 0.1} | wrong)


def test_steps_for_so_many_draws_of_each_case() -> None:
    """1,000 cases, 100 a step, each drawn 20 times: 200 steps, a quarter of them in the first phase."""
    phases = (phase(steps=10), phase(steps=30))
    assert [p.steps for p in scale_steps(phases, cohort_step_factor(phases, 1000, 100, 20))] == [50, 150]
    assert [p.steps for p in scale_steps(phases, cohort_step_factor(phases, 50, 100, 20))] == [5, 15]
    assert [p.steps for p in scale_steps(phases, cohort_step_factor(phases, 50, 100, 0.01))] == [1, 1]
    assert scale_steps(phases, 1) == phases


def test_a_large_cohort_takes_more_steps() -> None:
    """40 steps of 10 cases draw each of 20 cases 20 times, each of 100 cases 4 times."""
    phases = (phase(steps=10), phase(steps=30))
    assert cohort_step_factor(phases, 20, 10, None, 16) == 1
    assert cohort_step_factor(phases, 100, 10, None, 16) == 4
    assert cohort_step_factor(phases, 100, 10, None, 400) == 10, "no more often than ten cases, which every step draws"
    assert cohort_step_factor(phases, 5, 10, None, 400) == 1
    assert cohort_step_factor(phases, 20, 10, 4, 16) == 0.2, "what is asked exactly may be less than the least"
