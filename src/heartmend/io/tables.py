"""Tables with units, as CSV and as Parquet. All CSV files of Heartmend are written and read here."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from heartmend.errors import BadInputError
from heartmend.io.atomic import atomic_write, write_text

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN_ROWS = 60
"""Rows of a table that a notebook shows."""
NO_UNIT = "1"
"""Unit of ratios and counts (UCUM)."""
MAX_CELL_LENGTH = 100_000
"""Largest number of characters of a cell that is read."""
# A spreadsheet ignores blanks and invisible characters in front of a formula.
_INVISIBLE = r"\s\x00-\x20\u00ad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff"
_FIRST_VISIBLE = re.compile(f"[{_INVISIBLE}]*([^{_INVISIBLE}])")
_FORMULA_SIGNS = frozenset("=+-@\u2212")
_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its name.
        type: type of its values: int, float, str or bool.
        unit: unit of its numbers; `NO_UNIT` for ratios and counts.
        title: its meaning, in words.
    """

    name: str
    type: type
    unit: str = ""
    title: str = ""


def quote_formula(text: str) -> str:
    """Quote a text that a spreadsheet would evaluate as a formula.

    A formula starts, after any blanks and invisible characters, with `=`, `+`, `-` or `@` or one of their other
    forms, such as the full-width ones; or with a tab or carriage return.

    Args:
        text: text of a cell.

    Returns:
        The text, with `'` before it if it is a formula or starts with `'` itself.

    Example:
        >>> quote_formula("=1+1"), quote_formula(" ＠x"), quote_formula("aorta - distal")
        ("'=1+1", "' ＠x", 'aorta - distal')
    """
    return f"'{text}" if _is_quotable(text) else text


def unquote_formula(text: str) -> str:
    """Remove the quote of `quote_formula`.

    Args:
        text: text of a cell.

    Returns:
        The text before `quote_formula`.

    Example:
        >>> unquote_formula("'=1+1"), unquote_formula("'tis")
        ('=1+1', "'tis")
    """
    return text[1:] if text.startswith("'") and _is_quotable(text[1:]) else text


def format_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], line_end: str = "\n") -> str:
    r"""Format a table as CSV (RFC 4180). Texts are quoted by `quote_formula`, numbers are not.

    Args:
        header: names of the columns.
        rows: values of each row, in the order of the columns: texts, numbers, booleans, or None for an empty cell.
        line_end: end of each line.

    Returns:
        The text of the table.

    Example:
        >>> format_csv(["case", "error_mm"], [["-1", -0.5], ["a,b", None]])
        'case,error_mm\n\'-1,-0.5\n"a,b",\n'
    """
    lines = []
    for row in (header, *rows):
        line = ",".join(map(_format_cell, row))
        # An empty line would be no row.
        lines.append(line or '""')
    return "".join(f"{line}{line_end}" for line in lines)


def parse_csv(
    table: str | bytes, columns: Sequence[str], max_rows: int, optional: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """Parse a CSV table strictly, and remove the quotes of `quote_formula`.

    Args:
        table: its text, or its bytes in UTF-8. Lines end with LF or CRLF.
        columns: names of the columns that it must have, in any order.
        max_rows: largest number of rows.
        optional: names of the columns that it may have.

    Returns:
        For each row the number of its first line, and its cells by column.

    Raises:
        BadInputError: if the text is not UTF-8 or not CSV, or has other columns or too many rows. The message contains
            the number of the line.
    """
    text = _decode(table) if isinstance(table, bytes) else table
    if (position := text.find("\0")) >= 0:
        raise BadInputError(f"line {_line_of(text, position)} of the table has a NUL character; save it as text (CSV)")
    # Split at LF only: then a lone CR outside of quotes is an error of the reader, and one inside of them is kept.
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    header: list[str] | None = None
    rows: list[tuple[int, dict[str, str]]] = []
    line = 1
    try:
        for cells in reader:
            first_line, line = line, reader.line_num + 1
            if header is None:
                header = [unquote_formula(cell) for cell in cells]
                _check_columns(header, columns, optional)
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                raise BadInputError(
                    f"line {first_line} of the table has {len(cells)} cells, the first line has {len(header)}; "
                    "correct that line"
                )
            if (length := max(map(len, cells))) > MAX_CELL_LENGTH:
                raise BadInputError(
                    f"line {first_line} of the table has a cell of {length} characters; at most {MAX_CELL_LENGTH} are "
                    "allowed"
                )
            if len(rows) == max_rows:
                raise BadInputError(f"the table has more than {max_rows} rows; import it in parts")
            rows.append((first_line, dict(zip(header, map(unquote_formula, cells), strict=True))))
    except csv.Error as error:
        raise BadInputError(f"line {line} of the table is not CSV: {_plain(str(error))}") from error
    if header is None:
        raise BadInputError(f"the table is empty; it needs the columns {', '.join(columns)}")
    return rows


def write_csv(path: str | os.PathLike[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table atomically as CSV, with the names of the columns in the first line.

    Args:
        path: the file.
        columns: the columns.
        rows: a mapping from column name to value for each row; a missing or None value is an empty cell. Texts are
            quoted by `quote_formula`.

    Raises:
        OutputError: if the system cannot write it.
    """
    names = [column.name for column in columns]
    write_text(path, format_csv(names, ([row.get(name) for name in names] for row in rows)))


def write_parquet(path: str | os.PathLike[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table atomically as Parquet, with units and titles as metadata of the columns.

    Args:
        path: the file.
        columns: the columns.
        rows: a mapping from column name to value for each row; a missing or None value is null.

    Raises:
        OutputError: if the system cannot write it.
    """
    # Only some tables are written as Parquet, and the library takes long to load.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    schema = pa.schema([pa.field(c.name, types[c.type], metadata={"unit": c.unit, "title": c.title}) for c in columns])
    table = pa.Table.from_pylist([{c.name: row.get(c.name) for c in columns} for row in rows], schema=schema)
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with named, typed columns; pandas-compatible.

    Attributes:
        columns: the columns.
        rows: a mapping from column name to value for each row; a missing or None value is an empty cell.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {', '.join(self.column_names)})"

    def _repr_html_(self) -> str:
        """Show the table in a notebook; long tables end with dots."""
        lines = [self.column_names]
        lines += [[_cell(row.get(name)) for name in self.column_names] for row in self.rows[:SHOWN_ROWS]]
        if len(self) > SHOWN_ROWS:
            lines.append(["..."] * len(self.columns))
        tags = ["th", *["td"] * (len(lines) - 1)]
        text = (
            "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in line) for tag, line in zip(tags, lines, strict=True)
        )
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in text)}</table>"

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV.

        Args:
            path: the file.

        Raises:
            OutputError: if the system cannot write it.
        """
        write_csv(path, self.columns, self.rows)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the table as Parquet, with units and titles as metadata of the columns.

        Args:
            path: the file.

        Raises:
            OutputError: if the system cannot write it.
        """
        write_parquet(path, self.columns, self.rows)

    def to_pandas(self) -> DataFrame:
        """Convert the table into a pandas data frame.

        Returns:
            The data frame; empty cells are None or NaN.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        names = self.column_names
        return pd.DataFrame([{name: row.get(name) for name in names} for row in self.rows], columns=names)


def _cell(value: object) -> str:
    """The text of a cell for a reader."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_quotable(text: str) -> bool:
    if text.startswith(("'", "\t", "\r")):
        return True
    found = _FIRST_VISIBLE.match(text)
    invisible = text[: found.start(1)] if found else text
    if "\t" in invisible or "\r" in invisible:
        return True
    # The compatibility form of a full-width, small or raised sign is the sign.
    return found is not None and unicodedata.normalize("NFKC", found[1])[:1] in _FORMULA_SIGNS


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    text = quote_formula(value) if isinstance(value, str) else str(value)
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


def _decode(table: bytes) -> str:
    if table.startswith(_UTF16_MARKS):
        raise BadInputError("the table is encoded in UTF-16; save it as CSV in UTF-8")
    try:
        # Some spreadsheets write a byte order mark.
        return table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.count(b"\n", 0, error.start) + 1
        raise BadInputError(f"line {line} of the table is not encoded in UTF-8; save it as CSV in UTF-8") from error


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _check_columns(header: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> None:
    if missing := [name for name in columns if name not in header]:
        raise BadInputError(f"the table lacks the columns {', '.join(missing)}; it needs {', '.join(columns)}")
    known = {*columns, *optional}
    if unknown := [name for name in header if name not in known]:
        names = ", ".join(repr(name[:40]) for name in unknown[:10])
        raise BadInputError(f"the table has unknown columns: {names}; remove them, it needs {', '.join(columns)}")
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise BadInputError(f"the table has columns twice: {', '.join(twice)}; remove one of them")


def _plain(error: str) -> str:
    """Explain an error of the module csv."""
    if "new-line character" in error:
        return "a carriage return (CR) stands alone; save the table with line ends LF or CRLF"
    if "field larger" in error:
        return f"a cell has too many characters; at most {MAX_CELL_LENGTH} are allowed"
    if "unexpected end" in error:
        return 'a quote (") is not closed before the end of the table'
    if "expected after" in error:
        return 'a quoted cell continues after its closing quote ("); write a quote inside of a cell as ""'
    return error
