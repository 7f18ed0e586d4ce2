"""Implicit shapes, one a file. Each answers `points (case, point, 3), codes -> logits (case, point, head)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartmend.errors import ConfigError
from heartmend.shapes.base import Codes, Shape
from heartmend.shapes.codes import CodeBook
from heartmend.shapes.decoder import DecoderShape
from heartmend.shapes.near import NearShape
from heartmend.shapes.template import TemplateShape
from heartmend.shapes.unified import UnifiedShape

SHAPES: dict[str, type[Shape]] = {shape.kind: shape for shape in (TemplateShape, DecoderShape, UnifiedShape, NearShape)}


def make_shape(kind: str, settings: Mapping[str, Any]) -> Shape:
    """The shape of that kind; ConfigError, listing the kinds, when there is none."""
    if kind not in SHAPES:
        raise ConfigError(f"no shape is called {kind!r}; there are {', '.join(SHAPES)}")
    return SHAPES[kind](**settings)


__all__ = [
    "SHAPES", "CodeBook", "Codes", "DecoderShape", "NearShape", "Shape", "TemplateShape", "UnifiedShape", "make_shape",
]  # fmt: skip
