"""Review decisions as records, and what may be written of them."""

from __future__ import annotations

import getpass
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from heartmend.errors import BadInputError

Choice = Literal["accept", "reject", "correct", "corrected", "open"]
"""`accept`: take what was changed. `reject`: keep the original voxels. `correct`: to be corrected by hand. `corrected`:
taken from a hand-corrected label map. `open`: not decided."""
CHOICES: tuple[str, ...] = get_args(Choice)
MAX_NOTE_LENGTH, MAX_REVIEWER_LENGTH, MAX_NAME_LENGTH = 2000, 80, 300
MAX_AHEAD = timedelta(days=1)
"""Clocks of two machines may differ; a decision of a later time would outlast all later ones."""
EXAMPLE_TIME = "2026-01-31T12:00:00+00:00"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|\+00:00)", re.ASCII)


@dataclass(frozen=True)
class Decision:
    """Decision about one change of a case, or about a whole structure of it.

    Attributes:
        number: number of the decision in the database, in the order of writing.
        case: case id.
        structure: name of the structure; of a change, the one that it belongs to.
        choice: what was decided.
        note: free text of the reviewer.
        reviewer: name of the person.
        decided_at: time in UTC, ISO 8601.
        stamp: stamp of the two label maps that were reviewed (`FinishedRun.stamp`).
        change: key of the change (`repair.change_voxels`); empty for the whole structure.
    """

    number: int
    case: str
    structure: str
    choice: Choice
    note: str
    reviewer: str
    decided_at: str
    stamp: str
    change: str = ""

    @property
    def target(self) -> tuple[str, str, str]:
        """What it is about: case, structure and change."""
        return self.case, self.structure, self.change


@dataclass(frozen=True)
class DecisionRequest:
    """Decision to be written.

    Attributes:
        case: case id.
        structure: name of the structure.
        choice: what is decided.
        note: free text of the reviewer.
        stamp: stamp of the two label maps that were reviewed.
        follows: number of the current decision that the reviewer knew; 0 for none.
        change: key of the change; empty for the whole structure.
    """

    case: str
    structure: str
    choice: Choice
    note: str
    stamp: str
    follows: int
    change: str = ""

    @property
    def target(self) -> tuple[str, str, str]:
        """What it is about: case, structure and change."""
        return self.case, self.structure, self.change


@dataclass(frozen=True)
class DecisionBatch:
    """Decisions of one reviewer at one time.

    Attributes:
        requests: the decisions.
        reviewer: name of the person who decides.
        decided_at: time in UTC, ISO 8601; now if None.
    """

    requests: Sequence[DecisionRequest]
    reviewer: str
    decided_at: str | None = None


@dataclass(frozen=True)
class Undone:
    """What `Decisions.undo` did.

    Attributes:
        undone: the decisions that are not current any more.
        restored: the decisions that are current in their places.
    """

    undone: tuple[Decision, ...] = ()
    restored: tuple[Decision, ...] = ()


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second.

    Returns:
        For example `2026-01-31T12:00:00+00:00`.
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


def parse_time(text: str) -> datetime:
    """Parse the time of a decision strictly.

    Args:
        text: time in UTC, ISO 8601 with date, `T`, time to the second or finer, and `Z` or `+00:00`.

    Returns:
        The time, in UTC.

    Raises:
        BadInputError: if it is no such time, or more than `MAX_AHEAD` in the future.

    Example:
        >>> parse_time("2026-01-31T12:00:00Z").isoformat()
        '2026-01-31T12:00:00+00:00'
    """
    if not _TIME.fullmatch(text):
        raise BadInputError(f"{text[:40]!r} is no time in UTC; write it as {EXAMPLE_TIME}")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError(f"{text!r} is no time ({error}); write it as {EXAMPLE_TIME}") from error
    if time > datetime.now(UTC) + MAX_AHEAD:
        raise BadInputError(f"the time {text!r} is in the future; correct it, or the clock of this machine")
    return time


def find_text_error(case: str, structure: str, note: str, reviewer: str, stamp: str = "", change: str = "") -> str:
    """Find an error of the texts of a decision.

    Args:
        case: case id.
        structure: name of the structure.
        note: free text of the reviewer.
        reviewer: name of the person.
        stamp: stamp of the reviewed label maps.
        change: key of the change.

    Returns:
        The message; empty if they can be stored.
    """
    if not reviewer.strip() or len(reviewer) > MAX_REVIEWER_LENGTH:
        return f"the name of the reviewer must have 1 to {MAX_REVIEWER_LENGTH} characters: {reviewer[:100]!r}"
    if len(note) > MAX_NOTE_LENGTH:
        place = f"{case[:80]} {structure[:80]}"
        return f"the note on {place} has {len(note)} characters; at most {MAX_NOTE_LENGTH} are allowed"
    for name, text in (("case id", case), ("structure", structure), ("note", note), ("reviewer", reviewer),
                       ("stamp", stamp), ("key of the change", change)):  # fmt: skip
        if name != "note" and len(text) > MAX_NAME_LENGTH:
            return f"the {name} has {len(text)} characters; at most {MAX_NAME_LENGTH} are allowed"
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            return f"the {name} has a character that cannot be stored: {text[:40]!r}; remove it"
    return ""


def check_batches(batches: Sequence[DecisionBatch]) -> None:
    """Check all requests before any is written.

    Args:
        batches: the batches that are to be written.

    Raises:
        BadInputError: if a change or structure is decided twice, a choice is unknown, a text is too long or cannot be
            stored, or a time is not in UTC or in the future.
    """
    positions = defaultdict(list)
    requests = [(batch, r) for batch in batches for r in batch.requests]
    for position, (batch, r) in enumerate(requests, start=1):
        if r.choice not in CHOICES:
            raise BadInputError(f"unknown choice {r.choice!r}; give one of {', '.join(CHOICES)}")
        if error := find_text_error(r.case, r.structure, r.note, batch.reviewer, r.stamp, r.change):
            raise BadInputError(error)
        positions[r.target].append(position)
    for batch in batches:
        if error := find_text_error("", "", "", batch.reviewer):
            raise BadInputError(error)
        if batch.decided_at is not None:
            parse_time(batch.decided_at)
    if error := describe_repeated(positions, "entries"):
        raise BadInputError(error)


def describe_repeated(positions: Mapping[tuple[str, str, str], Sequence[int]], word: str) -> str:
    """Describe what is decided more than once.

    Args:
        positions: where each target is decided, by case id, structure and change.
        word: what the positions are, in the plural.

    Returns:
        The message; empty if there are none.
    """
    repeated = [(key, places) for key, places in positions.items() if len(places) > 1]
    if not repeated:
        return ""
    texts = []
    for (case, structure, change), places in repeated[:10]:
        more = f" and {len(places) - 10} more" if len(places) > 10 else ""
        what = " ".join(filter(None, (case, structure, change)))
        texts.append(f"{what} ({word} {', '.join(map(str, places[:10]))}{more})")
    rest = f"; and {len(repeated) - 10} more" if len(repeated) > 10 else ""
    return f"decided more than once: {'; '.join(texts)}{rest}; keep one decision on each change or structure of a case"


def user_name() -> str:
    """Return the name of the user of this machine; empty if there is none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
