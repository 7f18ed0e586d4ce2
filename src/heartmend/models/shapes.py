"""Implicit shapes, one a file. Each answers `points (case, point, 3), codes -> logits (case, point, head)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heartmend.errors import ConfigError
from heartmend.models.base import Shape
from heartmend.models.decoder import DecoderShape
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape

SHAPES: dict[str, type[Shape]] = {shape.kind: shape for shape in (TemplateShape, DecoderShape, UnifiedShape)}


def make_shape(kind: str, settings: Mapping[str, Any]) -> Shape:
    """The shape of that kind; ConfigError, listing the kinds, when there is none."""
    if kind not in SHAPES:
        raise ConfigError(f"no shape is called {kind!r}; there are {', '.join(SHAPES)}")
    return SHAPES[kind](**settings)
