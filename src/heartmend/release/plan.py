"""From decisions to what is released: which cases go in, which wait, and as what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from heartmend.release.compose import Plan
from heartmend.review.case_cache import read_summary
from heartmend.run_folder.decisions import VERB, Choice, Decision, Decisions
from heartmend.run_folder.finished import FinishedRun

Undecided = Literal["leave-out", "accept", "keep"]
UNDECIDED: tuple[Undecided, ...] = get_args(Undecided)


@dataclass(frozen=True)
class Plans:
    """Cases to release, cases that wait for a hand-corrected map, and cases left out with the reason."""

    release: tuple[Plan, ...]
    manual: tuple[Plan, ...]
    left_out: dict[str, str]


def plan_release(subject: FinishedRun, decisions: Decisions, undecided: Undecided = "leave-out") -> Plans:
    """What is to become of every case of a run. `undecided`: what to do where nobody decided."""
    by_case: dict[str, list[Decision]] = {}
    for d in decisions.current():
        by_case.setdefault(d.case, []).append(d)
    release, manual, left_out = [], [], dict(subject.left_out)
    ready = [c for c in subject if subject.run.case_path(VERB, c.id, ".json").is_file()]
    left_out |= {c.id: "could not be made ready for review" for c in subject if c not in ready}
    for case in ready:
        digest = read_summary(subject, case)
        # A decision on maps that were mended again since was made on something else.
        decided = {d.structure: d for d in by_case.get(case.id, []) if d.stamp == digest.stamp}
        choices: dict[str, Choice] = {s.name: "open" if s.changed_ml > 0 else "accept" for s in digest.structures}
        # A hand may also draw what did not change, or was not there.
        choices |= {d.structure: d.choice for d in decided.values()}
        plan = Plan(case, digest, choices, tuple(decided.values()))
        if undecided != "leave-out":
            plan = plan.with_open_as(undecided)
        if waiting := plan.having("open"):
            left_out[case.id] = f"not decided: {', '.join(waiting)}"
        elif plan.having("manual"):
            manual.append(plan)
        else:
            release.append(plan)
    return Plans(tuple(release), tuple(manual), dict(sorted(left_out.items())))
