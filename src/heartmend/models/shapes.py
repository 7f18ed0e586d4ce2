"""Registry of the implicit shapes by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from heartmend.errors import ConfigError
from heartmend.io.tensor_header import TensorSpec
from heartmend.models.base import Shape
from heartmend.models.decoder import DecoderShape
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape

SHAPES: dict[str, type[Shape]] = {shape.kind: shape for shape in (TemplateShape, DecoderShape, UnifiedShape)}

_DTYPES = {torch.float32: "F32", torch.int32: "I32", torch.int64: "I64", torch.bool: "BOOL"}


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


def weight_specs(kind: str, settings: Mapping[str, Any]) -> dict[str, TensorSpec]:
    """Return type and shape of every weight of a shape, without memory for them.

    Args:
        kind: a key of `SHAPES`.
        settings: arguments of the class.

    Returns:
        Type and shape by name of the weight.

    Example:
        >>> weight_specs("template", {"heads": ["LV"], "side": 8, "controls": 5})
        {'table': ('F32', (512, 1))}
    """
    # On the device "meta" a tensor has a shape but no memory.
    with torch.device("meta"):
        shape = make_shape(kind, settings)
    return {name: spec_of(weight) for name, weight in shape.state_dict().items()}


def spec_of(tensor: Tensor) -> TensorSpec:
    """Return type and shape of a tensor as a file describes them.

    Args:
        tensor: the tensor.

    Returns:
        Name of the type, and the shape.
    """
    return _DTYPES[tensor.dtype], tuple(tensor.shape)
