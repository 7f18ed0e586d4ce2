"""Registry of the implicit shapes by kind."""

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
    """Construct a shape from its kind and settings.

    Args:
        kind: a key of `SHAPES`.
        settings: arguments of the class, as its method `settings` returns them.

    Returns:
        The shape, with initial weights.

    Raises:
        ConfigError: if no shape has this kind.

    Example:
        >>> make_shape("template", {"heads": ["LV"], "side": 8, "controls": 5}).heads
        ('LV',)
    """
    if kind not in SHAPES:
        raise ConfigError(f"unknown shape {kind!r}; choose one of {', '.join(SHAPES)}")
    return SHAPES[kind](**settings)
