"""Tables with units, as CSV and as Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from heartmend.io.atomic import atomic_write, write_text

NO_UNIT = "1"
"""Unit of ratios and counts (UCUM)."""


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


def write_csv(path: str | os.PathLike[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table atomically as CSV, with the names of the columns in the first line.

    Args:
        path: the file.
        columns: the columns.
        rows: a mapping from column name to value for each row; a missing or None value is an empty cell.

    Raises:
        OutputError: if the system cannot write it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [column.name for column in columns], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({c.name: row[c.name] for c in columns if row.get(c.name) is not None} for row in rows)
    write_text(path, text.getvalue())


def write_parquet(path: str | os.PathLike[str], columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table atomically as Parquet, with units and titles as metadata of the columns.

    Args:
        path: the file.
        columns: the columns.
        rows: a mapping from column name to value for each row; a missing or None value is null.

    Raises:
        OutputError: if the system cannot write it.
    """
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

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV."""
        write_csv(path, self.columns, self.rows)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the table as Parquet."""
        write_parquet(path, self.columns, self.rows)

    def to_pandas(self) -> Any:
        """Convert the table into a pandas.DataFrame.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        names = [column.name for column in self.columns]
        return pd.DataFrame([{name: row.get(name) for name in names} for row in self.rows], columns=names)
