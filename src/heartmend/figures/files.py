"""Figures as files and as parts of a page."""

from __future__ import annotations

import base64
import io
import os
import tempfile
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

WEBP_QUALITY = 82


def as_svg(figure: Figure) -> str:
    """Convert a figure into an SVG element, with text as text.

    Args:
        figure: the figure.

    Returns:
        The text of an <svg> element.
    """
    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "heartmend"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="none")
    found = text.getvalue()
    return found[found.index("<svg") :]


def as_webp(figure: Figure, dpi: int = 110) -> bytes:
    """Convert a figure into a WebP picture, which is a fifth of the size of a PNG.

    Args:
        figure: the figure.
        dpi: resolution.

    Returns:
        The bytes of the file.
    """
    file = io.BytesIO()
    figure.savefig(file, format="webp", dpi=dpi, facecolor=figure.get_facecolor(), pil_kwargs={"quality": WEBP_QUALITY})
    return file.getvalue()


def as_data_url(figure: Figure) -> str:
    """Convert a figure into a data URL of a WebP picture, for an HTML page.

    Args:
        figure: the figure.

    Returns:
        The URL.
    """
    return "data:image/webp;base64," + base64.b64encode(as_webp(figure)).decode("ascii")


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically.

    Args:
        figure: the figure.
        path: the file; its suffix (.png, .pdf, .svg) is the format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, format=path.suffix.lstrip(".") or "png", facecolor=figure.get_facecolor())
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
