"""What a person reads about one case of a release."""

from __future__ import annotations

from collections.abc import Mapping

from heartmend.io.file_names import plain_markdown
from heartmend.release.compose import Plan
from heartmend.run_folder.decisions import Choice

CHOICE_TEXT: Mapping[Choice, str] = {
    "accept": "mended", "keep": "original", "corrected": "corrected by hand", "manual": "to be corrected by hand",
    "open": "not decided",
}  # fmt: skip


def case_changelog(plan: Plan, released_ml: Mapping[str, float]) -> str:
    """The changelog of a case (Markdown): each structure's decision, then what was changed in those that are mended."""
    decided = {d.structure: d for d in plan.decided}
    head = "| structure | released | ml before | ml released | decided by | when | note |"
    lines = [f"# Case {plain_markdown(plan.case.id)}", "", head,
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for s in plan.digest.structures:
        d = decided.get(s.name)
        choice = plan.choices[s.name]
        said = "unchanged" if not s.changed_ml else CHOICE_TEXT[choice]
        cells = (d.who, d.at, d.note) if d else ("", "", "")
        lines.append(
            f"| {s.name} | {said} | {s.before_ml:.2f} | {released_ml[s.name]:.2f} | "
            + " | ".join(plain_markdown(c) for c in cells) + " |"
        )  # fmt: skip
    mended = set(plan.having("accept"))
    changes = [
        c for c in plan.digest.changes if not c.structure or c.structure in mended or c.structure == "background"
    ]
    lines += ["", "## What the rules changed in the mended structures", ""]
    if not changes:
        lines.append("Nothing.")
    for c in changes:
        middle = ", ".join(f"{(a + b) / 2:.0f}" for a, b in zip(*c.box_mm, strict=True))
        note = f": {c.note}" if c.note else ""
        lines.append(
            f"- {c.rule}: {c.structure or 'all'} {c.action}, {c.volume_mm3:.0f} mm³, at {middle} mm"
            f"{plain_markdown(note)}"
        )
    not_accepted = [s for s in plan.digest.structures if s.kept]
    lines += [f"- do no harm: the mended {s.name} was not taken ({plain_markdown(s.kept)})" for s in not_accepted]
    return "\n".join(lines) + "\n"


def correction_note(plan: Plan) -> str:
    """What to do with a case that waits for a hand (Markdown)."""
    decided = {d.structure: d for d in plan.decided}
    wanted = plan.having("manual")
    notes = [
        f"- {s}: {plain_markdown(decided[s].note) or 'no note'} ({plain_markdown(decided[s].who)})" for s in wanted
    ]
    # Within back ticks nothing is markup, but for a back tick.
    name = plan.case.id.replace("`", "'")
    segmentation = f"{name}.seg.nrrd"
    return "\n".join(
        (
            f"# Case {plain_markdown(plan.case.id)}: to be corrected by hand", "", *notes, "",
            f"1. Drag this folder into 3D Slicer: `{segmentation}` as a segmentation, the CT as a volume.",
            "2. Correct the structures above in the Segment Editor. Leave the names of the segments as they are.",
            f"3. Save the segmentation here as `{segmentation}`, or export it as a label map `{name}.nii.gz`.",
            "4. `heartmend import OUT FOLDER` takes it back, with FOLDER the folder `manual` that holds this one.",
        )
    ) + "\n"  # fmt: skip
