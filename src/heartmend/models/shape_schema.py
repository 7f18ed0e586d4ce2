"""Settings of implicit shapes in a model file, and the tensors of a shape and its codes, without creating them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.anatomy.validation import shorten
from heartmend.io.tensor_header import TensorSpec
from heartmend.models.shape_limits import (
    MAX_CHANNELS,
    MAX_CODE_SIZE,
    MAX_CONTROLS,
    MAX_DETAIL_SIDE,
    MAX_HEADS,
    MAX_TEMPLATE_SIDE,
    MAX_WIDTH,
    MIN_CONTROLS,
    MIN_SIDE,
)

Head = Annotated[str, Field(min_length=1, max_length=63)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    heads: Annotated[list[Head], Field(min_length=1, max_length=MAX_HEADS)]

    @model_validator(mode="after")
    def _heads_are_unique(self) -> Self:
        if len(set(self.heads)) != len(self.heads):
            raise ValueError("heads: a structure is named twice; name each once")
        return self


class TemplateSettings(_Settings):
    """Settings of a `TemplateShape`.

    Attributes:
        heads: names of the structures.
        side: cells along each side of the table.
        controls: control points along each side of the fields.
    """

    side: Annotated[int, Field(strict=True, ge=MIN_SIDE, le=MAX_TEMPLATE_SIDE)]
    controls: Annotated[int, Field(strict=True, ge=MIN_CONTROLS, le=MAX_CONTROLS)]

    def code_specs(self, cases: int) -> dict[str, TensorSpec]:
        """Return type and shape of the codes of a number of cases.

        Args:
            cases: number of cases.

        Returns:
            Type and shape by name of the code.
        """
        return {"affine": ("F32", (cases, 3, 4)), "field": ("F32", (cases, 3, *(self.controls,) * 3))}


class DecoderSettings(_Settings):
    """Settings of a `DecoderShape`.

    Attributes:
        heads: names of the structures.
        code_size: length of a latent code.
    """

    code_size: Annotated[int, Field(strict=True, ge=1, le=MAX_CODE_SIZE)]

    def code_specs(self, cases: int) -> dict[str, TensorSpec]:
        """Return type and shape of the codes of a number of cases.

        Args:
            cases: number of cases.

        Returns:
            Type and shape by name of the code.
        """
        return {"latent": ("F32", (cases, self.code_size))}


class UnifiedSettings(_Settings):
    """Settings of a `UnifiedShape`.

    Attributes:
        heads: names of the structures.
        template: settings of its template, whose heads are some of `heads`.
        side: nodes along each side of the details.
        channels: features of each node.
        width: hidden units of the network.
    """

    template: TemplateSettings
    side: Annotated[int, Field(strict=True, ge=MIN_SIDE, le=MAX_DETAIL_SIDE)]
    channels: Annotated[int, Field(strict=True, ge=1, le=MAX_CHANNELS)]
    width: Annotated[int, Field(strict=True, ge=1, le=MAX_WIDTH)]

    @model_validator(mode="after")
    def _template_has_some_heads(self) -> Self:
        if unknown := [name for name in self.template.heads if name not in self.heads]:
            raise ValueError(f"template.heads names {unknown[0]!r}, which is none of heads")
        return self

    def code_specs(self, cases: int) -> dict[str, TensorSpec]:
        """Return type and shape of the codes of a number of cases.

        Args:
            cases: number of cases.

        Returns:
            Type and shape by name of the code.
        """
        details: dict[str, TensorSpec] = {
            "slot": ("I32", (cases, self.side**3)),
            "detail": ("F32", (cases, None, self.channels)),
        }
        return self.template.code_specs(cases) | details


ShapeSettings = TemplateSettings | DecoderSettings | UnifiedSettings
SCHEMAS: Mapping[str, type[ShapeSettings]] = {
    "template": TemplateSettings, "decoder": DecoderSettings, "unified": UnifiedSettings,
}  # fmt: skip
"""Schemas of the settings, by the kind of the shape."""


def check_settings(kind: object, settings: object) -> ShapeSettings:
    """Check the settings of a shape from a file.

    Args:
        kind: kind of the shape.
        settings: arguments of its class.

    Returns:
        The settings.

    Raises:
        ValueError: if there is no such kind, or a setting is wrong.

    Example:
        >>> check_settings("decoder", {"heads": ["LV"], "code_size": 16}).code_specs(3)
        {'latent': ('F32', (3, 16))}
    """
    if not isinstance(kind, str) or kind not in SCHEMAS:
        raise ValueError(f"unknown shape {shorten(repr(kind), 60)}, not one of {', '.join(SCHEMAS)}")
    return SCHEMAS[kind].model_validate(settings)
