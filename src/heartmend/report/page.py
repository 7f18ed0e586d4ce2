"""HTML page and Markdown text of a report, rendered from templates that escape every value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from heartmend.anatomy.schema import Anatomy
from heartmend.figures.files import as_svg
from heartmend.io.file_names import escape_markdown
from heartmend.report.changes import CaseChange
from heartmend.report.pictures import CasePictures
from heartmend.report.run_summary import RuleRow
from heartmend.report.shared_errors import SharedErrorSection
from heartmend.report.tables import ReportTable
from heartmend.report.verdict import RunVerdict
from heartmend.version import __version__
from heartmend.wording import plural


@dataclass(frozen=True, eq=False)
class Content:
    """Content of a report.

    Attributes:
        name: name of the run.
        verdict: the verdict on the run.
        facts: name and text of each fact about the run: its command, dates, versions, review.
        anatomy: anatomy of the label maps.
        versions: version of each software package.
        stages: name and description of each stage.
        left_out: reason for each case that is left out, by case id.
        tables: tables of the structures.
        distributions: chart of the structures over the cases.
        fit: chart of the fit; None where nothing was fitted.
        rules: changes by rule.
        changes: changes by case.
        shown: pictures of the selected cases, with the reason of the selection.
        has_images: whether the run has CTs.
        shared_errors: errors that all cases share; None where they were not measured.
    """

    name: str
    verdict: RunVerdict
    facts: Sequence[tuple[str, str]]
    anatomy: Anatomy
    versions: Mapping[str, str]
    stages: Sequence[tuple[str, str]]
    left_out: Mapping[str, str]
    tables: Sequence[ReportTable]
    distributions: Figure
    fit: Figure | None
    rules: Sequence[RuleRow]
    changes: Sequence[CaseChange]
    shown: Sequence[tuple[CasePictures, str]]
    has_images: bool
    shared_errors: SharedErrorSection | None = None


def as_html(content: Content) -> str:
    """Render a report as one HTML page that needs no other file.

    Args:
        content: content of the report.

    Returns:
        HTML with pictures, styles, the 3D view and its surfaces.
    """
    values: dict[str, Any] = {
        "distributions_svg": Markup(as_svg(content.distributions)),
        "fit_svg": None if content.fit is None else Markup(as_svg(content.fit)),
        "style": _static("report.css"),
        "scripts": [_static("ogl/ogl.min.js"), _static("viewer.js")] if content.shown or content.shared_errors else [],
        "reasons_of": _reasons_of(content),
        "shown_ids": {pictures.case: number for number, (pictures, _) in enumerate(content.shown, start=1)},
    }
    return _environment(True).get_template("report.html.j2").render(c=content, version=__version__, **values)


def as_markdown(content: Content) -> str:
    """Render the short version of a report.

    Args:
        content: content of the report.

    Returns:
        Markdown that refers to report_structures.png and report_fit.png in the same folder.
    """
    return _environment(False).get_template("report.md.j2").render(c=content, version=__version__)


def _reasons_of(content: Content) -> Callable[[CaseChange], tuple[str, ...]]:
    """Return what gives the reasons to look at a case; none for most cases."""
    reasons = {one.case: one.reasons for one in content.verdict.to_look_at}
    return lambda change: reasons.get(change.case, ())


@lru_cache
def _environment(html: bool) -> Environment:
    # Markdown has no autoescape; every value is escaped by `finalize`.
    environment = Environment(
        loader=PackageLoader("heartmend.report"), autoescape=html, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=None if html else _finalize, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["plural"] = plural
    environment.filters["hex"] = lambda colour: "#{:02x}{:02x}{:02x}".format(*colour)
    return environment


def _finalize(value: object) -> str:
    return escape_markdown(value)


def _static(name: str) -> Markup:
    """Read a static file for a <style> or <script> element, whose text must not be escaped."""
    return Markup((files("heartmend.report") / "static" / name).read_text(encoding="utf-8"))
