"""Texts about one case of a release: its change log, and the instructions for a correction by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from heartmend.io.file_names import escape_markdown
from heartmend.review.plan import CasePlan
from heartmend.review.summary import ReviewChange
from heartmend.run_folder.decision_records import Choice, Decision

SOURCE_OF_CHOICE: Mapping[Choice, str] = {
    "accept": "repaired", "reject": "original", "corrected": "corrected by hand", "correct": "to be corrected by hand",
    "open": "open",
}  # fmt: skip
"""Source of a released structure, by choice."""


def case_changelog(plan: CasePlan, released_ml: Mapping[str, float]) -> str:
    """Write the change log of a released case.

    Args:
        plan: choices of the case.
        released_ml: released volume of each structure, in ml, by name.

    Returns:
        Markdown: the decision about each structure, then the changes that are released and those that are not.
    """
    decisions = {d.structure: d for d in plan.decisions if not d.change}
    head = "| structure | released | ml before | ml released | reviewer | time | note |"
    lines = [f"# Case {escape_markdown(plan.case.id)}", "", head, "|---|---|---|---|---|---|---|"]
    for s in plan.summary.structures:
        d = decisions.get(s.name)
        source = source_of(plan, s.name) if s.changed_ml else "unchanged"
        cells = (d.reviewer, d.decided_at, d.note) if d else ("", "", "")
        lines.append(
            f"| {s.name} | {source} | {s.before_ml:.2f} | {released_ml[s.name]:.2f} | "
            + " | ".join(escape_markdown(c) for c in cells) + " |"
        )  # fmt: skip
    by_hand = set(plan.structures_with("corrected"))
    changes = [c for c in plan.summary.changes if not c.key or not by_hand.issuperset(c.structures)]
    rejected = [c for c in changes if plan.choice_of(c) == "reject"]
    own = {d.change: d for d in plan.decisions if d.change}
    for title, found in (
        ("Changes that are released", [c for c in changes if c not in rejected]),
        ("Changes that are not released", [c for c in rejected if c.key]),
    ):
        lines += ["", f"## {title}", "", *([_change_line(c, own.get(c.key)) for c in found] or ["None."])]
    lines += [
        f"- acceptance test: original {s.name} kept ({escape_markdown(s.acceptance_failure)})"
        for s in plan.summary.structures
        if s.acceptance_failure
    ]
    return "\n".join(lines) + "\n"


def source_of(plan: CasePlan, name: str) -> str:
    """Describe where a released structure comes from.

    Args:
        plan: choices of the case.
        name: name of the structure.

    Returns:
        `repaired`, `original`, `repaired in part`, `corrected by hand` or `to be corrected by hand`.
    """
    return "repaired in part" if plan.states.get(name) == "mixed" else SOURCE_OF_CHOICE[plan.choices[name]]


def _change_line(one: ReviewChange, decision: Decision | None) -> str:
    change = one.change
    centre = ", ".join(f"{(a + b) / 2:.0f}" for a, b in zip(*change.box_mm, strict=True))
    note = f": {change.note}" if change.note else ""
    text = f"{change.structure or 'all'} {change.action}, {change.volume_mm3:.0f} mm³, at {centre} mm"
    by = ""
    if decision is not None and decision.choice != "open":
        said = f": {decision.note}" if decision.note else ""
        by = f" (decided by itself: {decision.reviewer}, {decision.decided_at}{said})"
    return f"- {change.rule}: {text}{escape_markdown(note)}{escape_markdown(by)}"


def correction_note(plan: CasePlan) -> str:
    """Write the instructions for the correction of a case by hand.

    Args:
        plan: choices of the case.

    Returns:
        Markdown.
    """
    changes = {c.key: c.change for c in plan.summary.changes}
    notes = []
    for d in plan.decisions:
        if d.choice != "correct":
            continue
        x, y, z = np.mean(changes[d.change].box_mm, axis=0) if d.change else (0, 0, 0)
        place = f" ({changes[d.change].action}, at {x:.0f}, {y:.0f}, {z:.0f} mm)" if d.change else ""
        notes.append(f"- {d.structure}{place}: {escape_markdown(d.note) or 'no note'} ({escape_markdown(d.reviewer)})")
    # Between back ticks only a back tick is markup.
    name = plan.case.id.replace("`", "'")
    segmentation = f"{name}.seg.nrrd"
    return "\n".join(
        (
            f"# Case {escape_markdown(plan.case.id)}: to be corrected by hand", "", *notes, "",
            f"1. Drag this folder into 3D Slicer: `{segmentation}` as a segmentation, the CT as a volume.",
            "2. Correct the structures above in the Segment Editor. Do not change the names of the segments.",
            f"3. Save the segmentation here as `{segmentation}`, or export it as a label map `{name}.nii.gz`.",
            "4. Import it: `heartmend import OUT FOLDER`, with FOLDER the folder `to_correct` that contains this one.",
        )
    ) + "\n"  # fmt: skip
