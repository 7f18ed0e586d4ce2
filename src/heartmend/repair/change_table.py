"""Tables of change logs for a terminal: the worst changes first, small ones summed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import ORIGINAL_KEPT, SEVERITIES, Change, Severity
from heartmend.wording import plural, some_of

SMALL_MM3 = 100.0
"""A smaller change with the severity `info` is summed with others of its rule."""
_STYLES: Mapping[Severity, str] = {"info": "", "review": "yellow", "warning": "bold red"}


def worst_first(changes: Iterable[Change]) -> list[Change]:
    """Sort changes: the most severe first, of these the largest.

    Args:
        changes: the changes.

    Returns:
        The changes in this order.
    """
    return sorted(changes, key=lambda c: (-SEVERITIES.index(c.severity), -c.volume_mm3))


def change_table(log: ChangeLog, show_all: bool = False) -> RenderableType:
    """Show a change log as a table for a terminal.

    Args:
        log: the change log.
        show_all: whether small changes are listed one by one, not summed.

    Returns:
        A renderable of rich: the structures whose repaired masks were rejected, and the changes.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("structure", no_wrap=True)
    table.add_column("mm³", justify="right", no_wrap=True)
    table.add_column("centre, mm", no_wrap=True)
    table.add_column("change")
    shown, small = list[Change](), list[Change]()
    for c in worst_first(log.changes):
        is_small = not show_all and c.severity == "info" and c.volume_mm3 < SMALL_MM3
        (small if is_small else shown).append(c)
    for c in shown:
        centre = " ".join(f"{(a + b) / 2:.0f}" for a, b in zip(*c.box_mm, strict=True))
        volume = f"{c.volume_mm3:,.0f}" if c.voxels else ""
        text = f"{c.action} ({c.rule})" + (f": {c.note}" if c.note else "")
        severity = "" if c.severity == "info" else c.severity
        table.add_row(severity, c.structure or "all", volume, centre, text, style=_STYLES[c.severity])
    for row in _summed(small):
        table.add_row(*row, style="dim")
    title = f"{log.case_id}: {plural(len(log.changes), 'change')}"
    if small:
        title += f", {len(small):,} of them small (--all lists them)"
    lines: list[RenderableType] = [Text(title, style="bold")]
    lines += [
        Text(f"{v.structure}: {ORIGINAL_KEPT}: {v.reason}", style="bold red") for v in log.verdicts if not v.accepted
    ]
    if log.changes:
        lines.append(table)
    if log.estimates:
        expected = ", ".join(
            f"{one.structure} {one.dice:.3f} ({one.dice_low:.3f} to {one.dice_high:.3f})" for one in log.estimates
        )
        lines.append(Text(f"expected Dice (90 % interval): {expected}", style="dim"))
    if log.segments:
        named = ", ".join(f"{one.segment} {one.length_mm:.0f} mm ({one.confidence:.2f})" for one in log.segments)
        lines.append(Text(f"segments with length and confidence: {named}", style="dim"))
    return Group(*lines)


def _summed(small: Sequence[Change]) -> list[tuple[str, str, str, str, str]]:
    """One row for the small changes of each rule and action, the largest sum first."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for c in small:
        groups.setdefault((c.rule, c.action), []).append(c)
    rows = []
    for (rule, action), found in sorted(groups.items(), key=lambda g: -sum(c.volume_mm3 for c in g[1])):
        names = list(dict.fromkeys(c.structure or "all" for c in found))
        structures = names[0] if len(names) == 1 else plural(len(names), "structure")
        where = f" in {some_of(names, 3)}" if len(names) > 1 else ""
        count = f"{len(found):,} small changes: " if len(found) > 1 else ""
        text = f"{count}{action} ({rule}){where}"
        rows.append(("", structures, f"{sum(c.volume_mm3 for c in found):,.0f}", "", text))
    return rows


def summary_table(logs: Iterable[ChangeLog]) -> Table:
    """Summarise the change logs of a cohort as a table for a terminal.

    Args:
        logs: the change logs.

    Returns:
        A row for each structure with rejected masks; then one for each rule, structure and action with the numbers of
        cases and changes, the volume and the numbers of severities, the worst first.
    """
    rows: dict[tuple[str, str, str], list[tuple[str, Change]]] = {}
    rejected: dict[str, list[str]] = {}
    for log in logs:
        for c in log.changes:
            rows.setdefault((c.rule, c.structure or "all", c.action), []).append((log.case_id, c))
        for v in log.verdicts:
            if not v.accepted:
                rejected.setdefault(v.structure, []).append(log.case_id)
    table = Table(
        title="Changes in all cases", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False,
        collapse_padding=True,
    )  # fmt: skip
    for heading in ("rule", "structure"):
        table.add_column(heading, no_wrap=True)
    table.add_column("action", overflow="fold")
    for heading in ("cases", "changes", "mm³", "review", "warning"):
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, ids in rejected.items():
        table.add_row("acceptance", structure, ORIGINAL_KEPT, str(len(ids)), "", "", "", str(len(ids)))
    counted = []
    for key, found in rows.items():
        warning, review = (sum(c.severity == s for _, c in found) for s in ("warning", "review"))
        counted.append((warning, review, sum(c.volume_mm3 for _, c in found), key, found))
    for warning, review, volume, key, found in sorted(counted, key=lambda row: (-row[0], -row[1], -row[2], row[3])):
        cases = str(len({case for case, _ in found}))
        numbers = (cases, f"{len(found):,}", f"{volume:,.0f}", str(review or ""), str(warning or ""))
        table.add_row(*key, *numbers, style=_STYLES["warning" if warning else "info"])
    return table
