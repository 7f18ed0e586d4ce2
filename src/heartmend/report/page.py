"""The page and the supplement: what they say, rendered from templates in which everything is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from heartmend import __version__
from heartmend.anatomy.schema import Anatomy
from heartmend.figures.files import as_svg
from heartmend.io.file_names import escape_markdown
from heartmend.report.changes import CaseChange
from heartmend.report.run_summary import RuleRow
from heartmend.report.tables import Table
from heartmend.report.pictures import CasePictures


@dataclass(frozen=True, eq=False)
class Content:
    """All that the page says."""

    name: str
    anatomy: Anatomy
    versions: Mapping[str, str]
    steps: Sequence[tuple[str, str]]
    cases: int
    left_out: Mapping[str, str]
    tables: Sequence[Table]
    spreads: Figure
    fit: Figure | None
    rules: Sequence[RuleRow]
    changes: Sequence[CaseChange]
    shown: Sequence[tuple[CasePictures, str]]
    has_images: bool


def as_html(content: Content) -> str:
    """One HTML page that holds all it needs: pictures, styles, the 3D view and its surfaces."""
    own: dict[str, Any] = {
        "spreads_svg": Markup(as_svg(content.spreads)),
        "fit_svg": None if content.fit is None else Markup(as_svg(content.fit)),
        "style": _static("report.css"),
        "scripts": [_static("ogl/ogl.min.js"), _static("viewer.js")] if content.shown else [],
        "shown_ids": {pictures.case: number for number, (pictures, _) in enumerate(content.shown, start=1)},
    }
    return _environment(True).get_template("report.html.j2").render(c=content, version=__version__, **own)


def as_markdown(content: Content) -> str:
    """The same in short, as Markdown; the charts lie beside it."""
    return _environment(False).get_template("report.md.j2").render(c=content, version=__version__)


@lru_cache
def _environment(html: bool) -> Environment:
    # In Markdown every text goes through the filter `plain` as the last step.
    environment = Environment(
        loader=PackageLoader("heartmend.report"), autoescape=html, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, finalize=None if html else _finalize, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["hex"] = lambda colour: "#{:02x}{:02x}{:02x}".format(*colour)
    return environment


def _finalize(value: object) -> str:
    return escape_markdown(value)


def _static(name: str) -> Markup:
    """A file of ours for a <style> or <script> element, where nothing may be escaped."""
    return Markup((files("heartmend.report") / "static" / name).read_text(encoding="utf-8"))
