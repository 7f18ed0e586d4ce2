"""Errors that all cases share as tables for the terminal and for CSV."""

from __future__ import annotations

import math
from collections import defaultdict

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from heartmend.io import tables
from heartmend.repair.shared_errors.estimate import Evidence
from heartmend.repair.shared_errors.regions import BESIDE
from heartmend.repair.shared_errors.report import SharedErrors

COLUMNS = (
    tables.Column("structure", str),
    tables.Column("region", str, title="named region of its surface"),
    tables.Column("evidence", str, title="measured, unclear (the cases do not agree) or none (no edge in the image)"),
    tables.Column("n_cases", int, tables.NO_UNIT),
    tables.Column("error_mm", float, "mm", "mean signed error over the cases; positive: the label is too wide"),
    tables.Column("ci95_low_mm", float, "mm"),
    tables.Column("ci95_high_mm", float, "mm"),
    tables.Column("case_sd_mm", float, "mm", "standard deviation over the cases: what is a case's own"),
    tables.Column("left_mm", float, "mm", "mean signed error after the correction"),
)
_SOURCES = {
    "image": "edges of the CTs of {n} cases", "trusted": "trusted label maps of {n} cases",
    "convention": "a convention, which is applied to {n} cases",
}  # fmt: skip


def describe_source(shared: SharedErrors) -> str:
    """Return what the surfaces were compared with.

    Args:
        shared: the errors.

    Returns:
        A part of a sentence.
    """
    return _SOURCES[shared.source].format(n=shared.n_cases)


def region_table(shared: SharedErrors) -> tables.Table:
    """Make a table of the errors of all regions, a row for each.

    Args:
        shared: the errors.

    Returns:
        The table; numbers that are not known are None.
    """
    rows = [
        {
            "structure": one.structure, "region": one.region, "evidence": one.evidence, "n_cases": one.n_cases,
            "error_mm": _known(one.mean_mm), "ci95_low_mm": _known(one.ci95_low_mm),
            "ci95_high_mm": _known(one.ci95_high_mm), "case_sd_mm": _known(one.case_sd_mm),
            "left_mm": _known(one.left_mm),
        }
        for one in shared.regions
    ]  # fmt: skip
    return tables.Table(COLUMNS, rows)


def shared_error_table(shared: SharedErrors) -> RenderableType:
    """Make a table of the measured regions for the terminal.

    Args:
        shared: the errors.

    Returns:
        The table and the regions that were not measured (rich).
    """
    title = f"Errors that all cases share, by {describe_source(shared)}"
    if shared.source == "convention":
        return Text(f"All surfaces are moved by {describe_source(shared)}.")
    table = Table(title=title, title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("structure", "region"):
        table.add_column(heading, overflow="fold")
    for heading in ("error, mm", "95 % interval", "SD of cases", "left, mm"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in shared.regions:
        if one.evidence == "measured":
            interval = f"{one.ci95_low_mm:+.2f} to {one.ci95_high_mm:+.2f}"
            left = "" if math.isnan(one.left_mm) else f"{one.left_mm:+.2f}"
            # An interval that excludes zero by more than the accuracy of the method is worth attention.
            style = "bold" if min(abs(one.ci95_low_mm), abs(one.ci95_high_mm)) > 0.2 and (
                one.ci95_low_mm * one.ci95_high_mm > 0
            ) else ""  # fmt: skip
            numbers = (f"{one.mean_mm:+.2f}", interval, f"{one.case_sd_mm:.2f}", left)
            table.add_row(one.structure, one.region, *numbers, style=style)
    notes = ["positive: the labels are too wide; negative: too thin"]
    texts: dict[Evidence, str] = {"unclear": "the cases do not agree", "none": "not measured, not changed"}
    for evidence, text in texts.items():
        if names := list_regions(shared, evidence):
            notes.append(f"{text}: {names}")
    return Group(table, *(Text(note, style="dim") for note in notes))


def list_regions(shared: SharedErrors, evidence: Evidence) -> str:
    """List the named regions with some evidence; the surfaces beside other structures are not named.

    Args:
        shared: the errors.
        evidence: the evidence.

    Returns:
        The regions with commas.
    """
    found = defaultdict[str, list[str]](list)
    for one in shared.regions:
        if one.evidence == evidence and not one.region.startswith(BESIDE):
            found[one.structure].append(one.region)
    return "; ".join(f"{structure} {', '.join(regions)}" for structure, regions in found.items())


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
