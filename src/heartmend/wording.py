"""Words of messages: counts with their nouns, and lists that stop after a few names."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, noun: str, many: str = "") -> str:
    """Return a count with its noun in singular or plural.

    Args:
        count: how many.
        noun: the singular.
        many: the plural, by default the singular with an s.

    Returns:
        Count and noun.

    Example:
        >>> plural(1, "case"), plural(20, "case"), plural(0, "case")
        ('1 case', '20 cases', '0 cases')
    """
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def some_of(names: Sequence[str], limit: int = 4) -> str:
    """Return names with commas, the first of them where there are many.

    Args:
        names: the names.
        limit: how many are named.

    Returns:
        Such as "001, 002, 003, 004 and 16 more".

    Example:
        >>> some_of(["1", "2"]), some_of(["1", "2", "3"], limit=2)
        ('1, 2', '1, 2 and 1 more')
    """
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"


def cases_named(ids: Sequence[str], limit: int = 4) -> str:
    """Return case ids after the word case or cases, the first of them where there are many.

    Args:
        ids: the case ids, at least one.
        limit: how many are named.

    Returns:
        Such as "case 001" or "cases 001, 002, 003, 004 and 16 more".

    Example:
        >>> cases_named(["1"]), cases_named(["1", "2", "3"], limit=2)
        ('case 1', 'cases 1, 2 and 1 more')
    """
    return f"{'case' if len(ids) == 1 else 'cases'} {some_of(ids, limit)}"
