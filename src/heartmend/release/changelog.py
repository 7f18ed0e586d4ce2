"""Texts about one case of a release: its change log, and the instructions for a correction by hand."""

from __future__ import annotations

from collections.abc import Mapping

from heartmend.io.file_names import escape_markdown
from heartmend.release.plan import CasePlan
from heartmend.run_folder.decisions import Choice

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
        Markdown: the decision about each structure, then the changes in the accepted structures.
    """
    decisions = {d.structure: d for d in plan.decisions}
    head = "| structure | released | ml before | ml released | reviewer | time | note |"
    lines = [f"# Case {escape_markdown(plan.case.id)}", "", head, "|---|---|---|---|---|---|---|"]
    for s in plan.summary.structures:
        d = decisions.get(s.name)
        source = SOURCE_OF_CHOICE[plan.choices[s.name]] if s.changed_ml else "unchanged"
        cells = (d.reviewer, d.decided_at, d.note) if d else ("", "", "")
        lines.append(
            f"| {s.name} | {source} | {s.before_ml:.2f} | {released_ml[s.name]:.2f} | "
            + " | ".join(escape_markdown(c) for c in cells) + " |"
        )  # fmt: skip
    accepted = set(plan.structures_with("accept"))
    changes = [
        c for c in plan.summary.changes if not c.structure or c.structure in accepted or c.structure == "background"
    ]
    lines += ["", "## Changes in the accepted structures", ""]
    if not changes:
        lines.append("None.")
    for c in changes:
        centre = ", ".join(f"{(a + b) / 2:.0f}" for a, b in zip(*c.box_mm, strict=True))
        note = f": {c.note}" if c.note else ""
        lines.append(
            f"- {c.rule}: {c.structure or 'all'} {c.action}, {c.volume_mm3:.0f} mm³, at {centre} mm"
            f"{escape_markdown(note)}"
        )
    lines += [
        f"- acceptance test: original {s.name} kept ({escape_markdown(s.acceptance_failure)})"
        for s in plan.summary.structures
        if s.acceptance_failure
    ]
    return "\n".join(lines) + "\n"


def correction_note(plan: CasePlan) -> str:
    """Write the instructions for the correction of a case by hand.

    Args:
        plan: choices of the case.

    Returns:
        Markdown.
    """
    decisions = {d.structure: d for d in plan.decisions}
    notes = [
        f"- {s}: {escape_markdown(decisions[s].note) or 'no note'} ({escape_markdown(decisions[s].reviewer)})"
        for s in plan.structures_with("correct")
    ]
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
