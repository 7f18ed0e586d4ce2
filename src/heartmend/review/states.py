"""States of the changes, structures and cases of a review: what follows from the decisions that are valid now.

A change has its own decision, or that of the structures that it touches. A decision about a structure is one about all
of its changes that have none of their own. So the state of a structure follows from its changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from heartmend.review.summary import ReviewChange, ReviewSummary
from heartmend.run_folder.decision_records import Choice, Decision

State = Literal["open", "accepted", "rejected", "mixed", "flagged", "corrected", "unchanged"]
"""State of a structure. `open`: a change of it is not decided. `accepted`, `rejected`: all its changes are. `mixed`:
some are accepted, the others rejected. `flagged`: it is to be corrected by hand. `corrected`: it was. `unchanged`."""
CaseState = Literal["open", "begun", "flagged", "decided"]
"""State of a case. `open`: nothing is decided. `begun`: something is open still. `flagged`: all is decided, and
something is to be corrected by hand. `decided`: it can be released."""


@dataclass(frozen=True)
class CaseDecisions:
    """The valid decisions about a case.

    Attributes:
        summary: review summary of the case.
        of_structures: decision about each whole structure, by name.
        of_changes: decision about each change, by its key.
        outdated: decisions about voxels that are not those of the case any more; they do not count.
        open_as: choice that stands for what is not decided.
    """

    summary: ReviewSummary
    of_structures: Mapping[str, Decision]
    of_changes: Mapping[str, Decision]
    outdated: tuple[Decision, ...] = ()
    open_as: Choice = "open"

    @classmethod
    def of(cls, summary: ReviewSummary, decisions: Iterable[Decision]) -> CaseDecisions:
        """Select the valid decisions about a case.

        A decision about a structure is valid for the two label maps that were reviewed; one about a change as long as
        the case has a change of exactly these voxels.

        Args:
            summary: review summary of the case.
            decisions: current decisions, also about other cases.

        Returns:
            The valid ones.
        """
        keys = {c.key for c in summary.changes if c.key}
        structures, changes, outdated = {}, {}, []
        for d in decisions:
            if d.case != summary.case:
                continue
            if d.change and d.change in keys:
                changes[d.change] = d
            elif not d.change and d.stamp == summary.stamp:
                structures[d.structure] = d
            else:
                outdated.append(d)
        return cls(summary, structures, changes, tuple(outdated))

    def with_open_as(self, choice: Choice) -> CaseDecisions:
        """Close what is open.

        Args:
            choice: choice for it.

        Returns:
            New decisions.
        """
        return replace(self, open_as=choice)

    @property
    def valid(self) -> tuple[Decision, ...]:
        """All valid decisions, those about structures first."""
        return (*self.of_structures.values(), *self.of_changes.values())

    @cached_property
    def _changes_of(self) -> Mapping[str, list[ReviewChange]]:
        found: dict[str, list[ReviewChange]] = {s.name: [] for s in self.summary.structures}
        for change in self.summary.changes:
            if change.key:
                for name in change.structures:
                    found.setdefault(name, []).append(change)
        return found

    def own_choice(self, change: ReviewChange) -> Choice | None:
        """Return the choice about a change alone.

        Args:
            change: a change of the case.

        Returns:
            The choice; None where there is none of its own.
        """
        found = self.of_changes.get(change.key)
        return None if found is None or found.choice == "open" else found.choice

    def choice_of_structure(self, name: str) -> Choice:
        """Return the choice about a whole structure.

        Args:
            name: name of the structure.

        Returns:
            The choice; `open_as` where there is none.
        """
        found = self.of_structures.get(name)
        return self.open_as if found is None or found.choice == "open" else found.choice

    def choices(self, name: str) -> list[Choice]:
        """Return the choice about each change that touches a structure.

        Args:
            name: name of the structure.

        Returns:
            The choices, in the order of the changes.
        """
        whole = self.choice_of_structure(name)
        return [self.own_choice(change) or whole for change in self._changes_of.get(name, [])]

    def state(self, name: str) -> State:
        """Return the state of a structure.

        Args:
            name: name of the structure.

        Returns:
            The state, from its changes.
        """
        whole = self.choice_of_structure(name)
        choices = self.choices(name)
        if whole == "corrected":
            return "corrected"
        if whole == "correct" or "correct" in choices:
            return "flagged"
        if not choices:
            return "unchanged"
        if "open" in choices:
            return "open"
        if len(set(choices)) > 1:
            return "mixed"
        return "accepted" if choices[0] == "accept" else "rejected"

    @cached_property
    def states(self) -> Mapping[str, State]:
        """State of each structure of the case, and of each that has a decision, by name."""
        names = dict.fromkeys([*(s.name for s in self.summary.structures), *self.of_structures])
        return {name: self.state(name) for name in names}

    @property
    def case_state(self) -> CaseState:
        """State of the case."""
        states = [state for state in self.states.values() if state != "unchanged"]
        if "open" in states:
            is_begun = any(d.choice != "open" for d in self.valid)
            return "begun" if is_begun else "open"
        return "flagged" if "flagged" in states else "decided"
