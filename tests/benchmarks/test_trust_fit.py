"""Tests of the fit of the estimator, on errors with a known law."""

import re

import numpy as np
import pytest
from trust_fit import case_weights, fit, fit_log_error
from trust_judged import Tally, kinds_spread, leave_out
from trust_order import share_met
from trust_samples import ERRORS, Sample
from trust_tables import half_of_error, harm_table, ignored_table, tables, worse_table

from heartmend.anatomy.load import load_anatomy
from heartmend.repair.uncertainty.estimator import group_of, spread_at
from heartmend.repair.uncertainty.evidence import VoxelEvidence
from heartmend.repair.uncertainty.structures import STRUCTURE_FEATURES

HEART = load_anatomy("heart")
STRUCTURES = [HEART.by_id(id) for id in range(1, 11)]
AT = STRUCTURE_FEATURES.index("change")


def evidence(n: int, rng: np.random.Generator) -> VoxelEvidence:
    ids = rng.integers(1, 11, n).astype(np.uint8)
    mm = [rng.uniform(0, 3, n).astype(np.float32) for _ in range(8)]
    flags = [rng.random(n) < 0.5 for _ in range(3)]
    return VoxelEvidence(
        voxels=np.arange(n), label=ids, other=np.zeros(n, np.uint8), depth=mm[0], changed=flags[0],
        cleaned_differs=flags[1], shape=mm[1], has_shape=flags[2], local_change=mm[2], local_shape=mm[3],
        edge_precision=mm[4], edge=mm[5], original=mm[6],
    )  # fmt: skip


def cohort(fault: str, offset: float, rng: np.random.Generator, cases: int = 4) -> list[Sample]:
    """Logarithm of the error: -3 + the change + an offset of the kind of faults + noise."""
    found = []
    for case in range(cases):
        features = rng.standard_normal((10, len(STRUCTURE_FEATURES)))
        log = -3 + 0.5 * features[:, AT] + offset + 0.3 * rng.standard_normal(10)
        errors = np.ones((10, len(ERRORS)))
        errors[:, ERRORS.index("dice")] = 1 - np.clip(np.exp(log), 0, 0.99)
        errors[:, ERRORS.index("surface_mm")] = np.exp(log)
        voxels = evidence(300, rng)
        wrong = rng.random(300) < np.exp(-voxels.depth) / 2
        found.append(
            Sample(f"{fault}-own-alone", f"{case:03d}", STRUCTURES, features, errors, voxels, wrong, np.ones(300))
        )
    return found


def test_intervals_contain_the_spread_between_kinds_of_faults() -> None:
    """Kinds differ by more than the structures of one: an interval from left-out hearts would cover a third."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(10):
        samples = [one for k in range(14) for one in cohort(f"kind{k}", rng.normal(0, 0.8), rng)]
        values = [np.log(one.error("surface_mm")) for one in samples]
        found, _ = fit_log_error(samples, case_weights(samples), values)
        for k in range(40):
            for one in cohort(f"new{k}", rng.normal(0, 0.8), rng, cases=1):
                mean = found.logarithms(STRUCTURES, one.features)
                for structure, m, true in zip(STRUCTURES, mean, np.log(one.error("surface_mm")), strict=True):
                    spread = spread_at(found.spread[group_of(structure)], m)
                    q = found.quantiles[structure.kind]
                    covered.append(m + q.low * spread <= true <= m + q.high * spread)
    assert 0.85 < np.mean(covered) < 0.95, np.mean(covered)


def test_what_the_evidence_means_is_learned_within_the_kinds() -> None:
    """The kind with the largest errors has the smallest change: across the kinds the slope is negative."""
    rng, samples = np.random.default_rng(1), []
    for k, offset in enumerate((-1.0, -0.5, 0.0, 0.5, 1.0)):
        for one in cohort(f"kind{k}", offset, rng, cases=30):
            one.features[:, AT] -= offset
            samples.append(one)
    values = [np.log(one.error("surface_mm")) for one in samples]
    found, _ = fit_log_error(samples, case_weights(samples), values)
    solid = found.mean["solid"]
    assert solid.coefficients[solid.features.index("change")] > 0


def test_every_kind_has_the_same_weight_and_every_label_set_in_it() -> None:
    rng = np.random.default_rng(2)
    samples = [*cohort("a", 0, rng, 2), *cohort("b", 0, rng, 8)]
    assert case_weights(samples).tolist() == [2.5, 2.5] + [0.625] * 8


def test_a_fit_gives_probabilities_that_fall_with_the_depth() -> None:
    rng = np.random.default_rng(3)
    samples = [one for k in range(4) for one in cohort(f"kind{k}", 0.0, rng)]
    estimator = fit(samples)
    one = samples[0]
    p = estimator.probability(one.evidence, one.structures, one.features)
    shallow, deep = p[one.evidence.depth < 0.5].mean(), p[one.evidence.depth > 2.5].mean()
    assert shallow == pytest.approx(np.exp(-0.25) / 2, abs=0.12) and deep == pytest.approx(np.exp(-2.75) / 2, abs=0.06)


def test_measures_of_the_tables_by_hand() -> None:
    errors = np.array([0.1, 0.4, 0.2, 0.3])
    assert half_of_error(errors, errors) == 0.5 and half_of_error(errors, -errors) == 0.75
    assert share_met(errors, errors, 0.25) == pytest.approx(0.4) and share_met(errors, -errors, 0.5) == pytest.approx(
        0.3
    )


def tally(p_less_wrong: float, inside: float) -> Tally:
    """Four cases alike: Dice 0.8, expected 0.9; the probability less the error in the first bin."""
    structures = np.tile([10, 8, 9, 10 * inside, 5, 6, 10 * inside], (4, 1))
    bins = np.zeros((4, 15))
    bins[:, 0] = p_less_wrong
    return Tally(structures, np.tile([0.1, 0.1 + p_less_wrong], (4, 1)), bins)


def test_means_of_a_label_set_and_of_kinds_by_hand() -> None:
    means, spans = tally(0.2, 0.9).spread()
    np.testing.assert_allclose(means, [0.8, 0.9, 0.9, 0.5, 0.6, 0.9, 0.1, 0.3, 0.2])
    np.testing.assert_allclose(spans, [means, means])
    # What is too high for one kind by 0.2 and too low for the other by 0.1 is together too high by 0.05. The two label
    # sets of a kind count as one.
    together, spans = kinds_spread([("a", tally(0.2, 1.0)), ("a", tally(0.2, 0.9)), ("b", tally(-0.1, 0.5))])
    np.testing.assert_allclose(together[[0, 2, 8]], [0.8, 0.725, 0.05])
    # Of two kinds a draw may have one twice.
    np.testing.assert_allclose(spans[:, 2], [0.5, 0.95])
    np.testing.assert_allclose(spans[1, 8], 0.2)


def test_tables_have_a_row_for_each_label_set_and_one_for_all() -> None:
    rng = np.random.default_rng(5)
    samples = [one for k in range(3) for one in cohort(f"kind{k}", 0.0, rng)]
    found = leave_out(samples, lambda sample: sample.fault, fit)
    for made in tables("kinds", found):
        assert list(made.columns[0].cells) == ["kind0", "kind1", "kind2", "mean of kinds"]
    # The true Dice is about 1 - exp(-3).
    first = next(iter(tables("kinds", found)[0].columns[2].cells))
    mean, low, high = (float(number) for number in re.findall(r"\d\.\d+", str(first)))
    assert low < mean < high and 0.85 < mean < 0.97
    ignored = ignored_table("kinds", found)
    assert ignored.row_count == 9


def test_the_map_with_the_lower_true_error_is_never_worse() -> None:
    """Half of the structures are worse by 0.1 after the repair, the others better by 0.1."""
    rng = np.random.default_rng(4)
    samples = [one for k in range(3) for one in cohort(f"kind{k}", 0.0, rng)]
    change = np.repeat([-0.1, 0.1], 5)
    for one in samples:
        for name in ("dice", "nsd"):
            one.errors[:, ERRORS.index(f"{name}_before")] = 0.8
            one.errors[:, ERRORS.index(name)] = 0.8 + change
    worse, removed = ([*column.cells] for column in harm_table(samples).columns[2:])
    assert worse[0].startswith("60 of 120 ") and worse[2].startswith("0 of 120 ")
    assert removed[0].lstrip("-") == "0.000 (0.000 to 0.000)" and removed[2] == "0.250 (0.250 to 0.250)"
    worse, removed = ([*column.cells] for column in worse_table(samples).columns[1:])
    assert all(str(one).startswith("20 of 40 ") for one in worse)
    # Half of the structures lose half of their Dice error of 0.2, the others gain as much.
    assert [str(one) for one in removed] == ["0.00 (0.00 to 0.00)"] * 3
