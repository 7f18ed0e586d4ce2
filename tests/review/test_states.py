"""Tests of the states that follow from decisions."""

import pytest

from heartmend.repair.changes import Change
from heartmend.review.priority import ReviewPriority
from heartmend.review.states import CaseDecisions
from heartmend.review.summary import ReviewChange, ReviewSummary, StructureChange
from heartmend.run_folder.decision_records import Decision

BOX = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def change(key: str, *structures: str) -> ReviewChange:
    return ReviewChange(Change("r", structures[0], "filled", 1, 1.0, BOX), key, structures, (0, 0, 0))


def summary() -> ReviewSummary:
    """LA has changes 1 and 2, RA has 2 and 3, LV none; a remark has no key."""
    names = ("LA", "LV", "RA")
    structures = tuple(StructureChange(n, 1, 1, float(n != "LV"), 0, "info", "", None) for n in names)
    changes = (change("c1", "LA"), change("", "LA"), change("c2", "LA", "RA"), change("c3", "RA"))
    return ReviewSummary("1", "s", ReviewPriority(0, 0, 0, 0), "info", 1, structures, changes, (1, 1, 1), (), False)


def decided(**choices: str) -> CaseDecisions:
    """Decisions by structure, or by key of a change."""
    rows = [
        Decision(n, "1", "LA" if name.startswith("c") else name, choice, "", "A", "", "s", name * name.startswith("c"))  # type: ignore[arg-type]
        for n, (name, choice) in enumerate(choices.items(), start=1)
    ]
    return CaseDecisions.of(summary(), rows)


@pytest.mark.parametrize(
    ("choices", "la", "ra", "case"),
    [
        ({}, "open", "open", "open"),
        ({"c1": "accept"}, "open", "open", "begun"),
        ({"c1": "accept", "c2": "accept"}, "accepted", "open", "begun"),
        ({"c1": "accept", "c2": "reject", "c3": "reject"}, "mixed", "rejected", "decided"),
        ({"LA": "accept"}, "accepted", "open", "begun"),
        ({"LA": "accept", "RA": "reject"}, "accepted", "rejected", "decided"),
        ({"LA": "accept", "RA": "accept", "c1": "reject"}, "mixed", "accepted", "decided"),
        # A change that is open again follows its structure.
        ({"LA": "accept", "RA": "accept", "c1": "open"}, "accepted", "accepted", "decided"),
        ({"LA": "correct", "RA": "accept"}, "flagged", "accepted", "flagged"),
        ({"c1": "correct", "LA": "accept", "RA": "accept"}, "flagged", "accepted", "flagged"),
        ({"c1": "correct", "LA": "corrected", "RA": "accept"}, "corrected", "accepted", "decided"),
    ],
)
def test_the_state_of_a_structure_follows_from_its_changes(
    choices: dict[str, str], la: str, ra: str, case: str
) -> None:
    found = decided(**choices)
    assert found.states == {"LA": la, "LV": "unchanged", "RA": ra}
    assert found.case_state == case


def test_what_is_open_can_be_closed_and_own_decisions_stay() -> None:
    found = decided(c1="reject").with_open_as("accept")
    assert found.states == {"LA": "mixed", "LV": "unchanged", "RA": "accepted"}


def test_a_decision_about_other_voxels_does_not_count() -> None:
    """The key of a change pins its voxels, whatever the stamp; a structure needs the stamp of its maps."""
    rows = [
        Decision(1, "1", "LA", "reject", "", "A", "", "earlier"),
        Decision(2, "1", "LA", "reject", "", "A", "", "earlier", "c9"),
        Decision(3, "1", "LA", "accept", "", "A", "", "earlier", "c1"),
        Decision(4, "2", "LA", "reject", "", "A", "", "s"),
    ]
    found = CaseDecisions.of(summary(), rows)
    assert [d.number for d in found.outdated] == [1, 2]
    assert [d.number for d in found.valid] == [3]
    assert found.states["LA"] == "open"
