"""Messages about the errors of a file of settings: all of them at once, in at most ten short lines."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from heartmend.wording import plural

MAX_LISTED = 8
"""Errors that a message lists: with its first and its last line it has ten lines."""
_MAX_LINE, _MAX_VALUE, _MAX_KEY = 240, 40, 64
_WITHOUT_VALUE = ("missing", "extra_forbidden", "value_error", "assertion_error")
"""Kinds of errors whose message names its value itself, or which have none."""


def list_errors(where: str, errors: Sequence[str]) -> str:
    """Write one message about all errors of a file.

    Args:
        where: name of the file.
        errors: the errors, one line each.

    Returns:
        At most ten lines: the number of errors, the first eight, and how many more there are.

    Example:
        >>> print(list_errors("a.toml", ["fit.points: is 3, must be 64 or more"]))
        a.toml: 1 error:
          - fit.points: is 3, must be 64 or more
    """
    listed = [f"\n  - {shorten(error, _MAX_LINE)}" for error in errors[:MAX_LISTED]]
    more = [f"\n  ... and {len(errors) - MAX_LISTED} more"] if len(errors) > MAX_LISTED else []
    return f"{where}: {plural(len(errors), 'error')}:{''.join(listed + more)}"


def error_lines(error: ValidationError) -> list[str]:
    """Write one line for each error that pydantic found: its place, what is expected, and the value.

    Args:
        error: the error.

    Returns:
        The lines.
    """
    lines = []
    for found in error.errors(include_url=False, include_context=False):
        where = ".".join(place(part) for part in found["loc"])
        message = message_of(found["type"], found["msg"], found["input"])
        lines.append(f"{where}: {message}" if where else message)
    return lines


def place(part: int | str) -> str:
    """Write a key or a position within a file, shortened and without control characters.

    Args:
        part: the key or the position.

    Returns:
        The text.
    """
    return shorten(str(part), _MAX_KEY)


def message_of(kind: str, message: str, value: object) -> str:
    """Add the value to a message of pydantic, where it is one number, text or truth value.

    Args:
        kind: type of the error, as pydantic names it.
        message: the message.
        value: the value that was given.

    Returns:
        The message with the value.
    """
    message = message.removeprefix("Value error, ")
    if kind in _WITHOUT_VALUE or not isinstance(value, str | int | float | bool | None):
        return message
    return f"{message}, not {shorten(repr(value), _MAX_VALUE)}"


def shorten(text: str, limit: int) -> str:
    """Shorten a text to a number of characters, with escape sequences for what a terminal would not display.

    Args:
        text: the text.
        limit: the largest number of characters.

    Returns:
        The text, with "..." at its end where it was longer.

    Example:
        >>> shorten("a" * 100, 10)
        'aaaaaaa...'
    """
    visible = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return visible if len(visible) <= limit else visible[: limit - 3] + "..."
