"""JSON of files that somebody was given: within limits, without NaN, and without a key that is given twice."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

MAX_DEPTH = 64
"""Deepest nesting of objects and arrays."""
_MAX_DIGITS = 19


def parse_json(data: bytes) -> Any:
    """Parse JSON strictly.

    Args:
        data: JSON in UTF-8; the caller limits its size.

    Returns:
        Its value.

    Raises:
        ValueError: if it is not JSON, or contains NaN, infinity, an integer of more than 19 digits, a text with half a
            character, a key that is given twice, or more than `MAX_DEPTH` levels.

    Example:
        >>> parse_json(b'{"side": 80}')
        {'side': 80}
    """
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_unique_keys, parse_constant=_not_a_number, parse_int=_integer,
            parse_float=_number,
        )  # fmt: skip
    except RecursionError as error:
        raise ValueError(f"objects and arrays are nested more than {MAX_DEPTH} deep") from error
    _check(value)
    return value


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {counts.most_common(1)[0][0][:40]!r} is given twice")
    return table


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"an integer has {len(text)} digits, the limit is {_MAX_DIGITS}")
    return int(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _check(value: Any) -> None:
    """Check depth and texts without recursion."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        values: list[Any] = []
        for one in level:
            values += one
            if isinstance(one, dict):
                values += one.values()
        for text in values:
            if isinstance(text, str) and not text.isascii():
                # An error for a surrogate, which no file name and no other file could contain.
                text.encode()
        level = [inner for inner in values if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValueError(f"objects and arrays are nested more than {MAX_DEPTH} deep")
