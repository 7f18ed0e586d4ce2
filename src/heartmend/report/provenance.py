"""Where a report comes from: command, dates and versions of the run, and what reviewers decided so far."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from heartmend.report.changes import CaseChange
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.version import __version__
from heartmend.wording import plural

_DONE = {"accept": "accepted", "reject": "rejected", "correct": "to be corrected", "corrected": "corrected by hand"}


def run_facts(
    finished: FinishedRun, changes: Sequence[CaseChange], now: datetime | None = None
) -> list[tuple[str, str]]:
    """List the facts about a run that stand below the verdict.

    Args:
        finished: the run.
        changes: changes of its cases.
        now: time of the report; None: now.

    Returns:
        Name and text of each fact: command, date, version, review. Paths are shortened to their last part.
    """
    run, now = finished.run, now or datetime.now(UTC)
    facts = []
    if history := run.history():
        facts.append(("command", _shown(history[-1].command)))
        again = f"; last continued {_day(history[-1].started_at)}" if len(history) > 1 else ""
        facts.append(("run", f"started {_day(history[0].started_at)}{again}"))
    known = run.versions()
    packages = ", ".join(f"{name} {known[key]}" for key, name in _SHOWN.items() if key in known)
    facts.append(("versions", packages))
    facts.append(("report", f"written {_day(now.isoformat())} with Heartmend {__version__}"))
    facts.append(("review", review_text(finished, changes)))
    return facts


_SHOWN = {"heartmend": "Heartmend", "python": "Python", "torch": "torch", "numpy": "NumPy", "SimpleITK": "SimpleITK"}


def review_text(finished: FinishedRun, changes: Sequence[CaseChange]) -> str:
    """Count what reviewers decided about the label maps as they are now.

    Args:
        finished: the run.
        changes: changes of its cases.

    Returns:
        One sentence.
    """
    changed = {(c.case, name) for c in changes for name in c.changed_structures}
    decided = _current(finished)
    choices = Counter(choice for choice, _ in decided.values())
    reviewers = Counter(reviewer for _, reviewer in decided.values())
    n_open = len(changed - {(case, structure) for case, structure, _ in decided})
    if not decided:
        return f"nothing is decided yet; {plural(n_open, 'changed structure')} in {plural(len(changes), 'case')}"
    what = ", ".join(f"{choices[choice]:,} {text}" for choice, text in _DONE.items() if choices[choice])
    who = ", ".join(f"{name} ({count:,})" for name, count in reviewers.most_common())
    n_changes = sum(bool(change) for _, _, change in decided)
    counts = [(len(decided) - n_changes, "structure"), (n_changes, "single change")]
    found = " and ".join(plural(count, noun) for count, noun in counts if count)
    return f"{found} decided by {who}: {what}; {plural(n_open, 'structure')} open"


def _current(finished: FinishedRun) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Choice and reviewer of each decision that is valid for the label maps as they are now."""
    path = finished.run.decisions_path
    if not path.is_file():
        return {}
    cases = {case.id: case for case in finished}
    stamps = dict[str, str]()
    found = {}
    for d in Decisions(path).current():
        if d.choice == "open" or d.case not in cases:
            continue
        if d.case not in stamps:
            stamps[d.case] = finished.stamp(cases[d.case])
        if d.stamp == stamps[d.case]:
            found[d.target] = (str(d.choice), d.reviewer)
    return found


def _shown(command: Sequence[str]) -> str:
    """A command line without the folders of this machine."""
    return shlex.join(word.rstrip(os.sep).rpartition(os.sep)[2] or word for word in command)


def _day(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
