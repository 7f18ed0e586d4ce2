"""Tables with units, and the one writer of CSV."""

import csv
import io
import re
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.io.tables import (
    MAX_CELL_LENGTH,
    Column,
    format_csv,
    parse_csv,
    quote_formula,
    unquote_formula,
    write_csv,
    write_parquet,
)

SOURCE = Path(__file__).parents[2] / "src" / "heartmend"
COLUMNS = (Column("case", str), Column("n", int, "1", "cases"), Column("length_mm", float, "mm"), Column("ok", bool))
ROWS = [{"case": "a, b", "n": 3, "length_mm": 0.1, "ok": True}, {"case": "c", "ok": False, "length_mm": None}]
# Texts with many signs, blanks and quotes, besides any other character that a table can have.
texts = st.one_of(
    st.text(
        st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20\ufe62\u207a\t\r\n '\",;a1\u00a0\u200b\ufeff\u3000\x1f"),
        max_size=8,
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30),
)


def test_csv_has_names_and_empty_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "t.csv", COLUMNS, ROWS)
    text = (tmp_path / "new" / "t.csv").read_text(encoding="utf-8")
    assert text == 'case,n,length_mm,ok\n"a, b",3,0.1,True\nc,,,False\n'
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["t.csv"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_any_text_is_read_as_it_was_written(rows: list[tuple[str, str]], line_end: str) -> None:
    text = format_csv(("a", "b"), rows, line_end)
    for table in (text, text.encode(), b"\xef\xbb\xbf" + text.encode()):
        assert [(row["a"], row["b"]) for _, row in parse_csv(table, ("a", "b"), 10)] == rows
    # Another reader of CSV finds the same cells, with their quotes.
    others = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [tuple(map(unquote_formula, cells)) for cells in others] == rows


@settings(max_examples=400, deadline=None)
@given(st.one_of(texts, st.text()))
def test_a_quote_is_removed_exactly(text: str) -> None:
    quoted = quote_formula(text)
    assert unquote_formula(quoted) == text
    assert quoted in (text, f"'{text}")
    assert not quoted.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert not quoted.startswith(("\t", "\r"))


@pytest.mark.parametrize("before", ["", " ", "\n", "\t", "\r", "\r\n ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\x00"])
@pytest.mark.parametrize("sign", [*"=+-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"])
def test_no_text_is_a_formula(before: str, sign: str) -> None:
    text = f"{before}{sign}HYPERLINK(1)"
    assert quote_formula(text) == f"'{text}"
    assert quote_formula(f"x{text}") == f"x{text}"


def test_a_tab_or_carriage_return_before_the_first_character_is_quoted() -> None:
    for text in ("\tx", "\rx", " \tx", "\n\rx", "\t", "\r"):
        assert quote_formula(text) == f"'{text}"
    assert quote_formula("a\tb") == "a\tb"


def test_numbers_stay_numbers() -> None:
    assert format_csv(["-a"], [[-1], [-0.5], [float("-inf")], [True], [None], ["-1"]]) == (
        "'-a\n-1\n-0.5\n-inf\nTrue\n\"\"\n'-1\n"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "is empty; it needs the columns a, b"),
        (b"a\n1\n", "lacks the columns b"),
        (b"a,b,c\n1,2,3\n", "unknown columns: 'c'"),
        (b"a,b,b\n1,2,3\n", "columns twice: b"),
        (b"a,b\n1,2\n3\n", "line 3 of the table has 1 cells, the first line has 2"),
        (b"a,b\n\"x\ny\",2\n3,4,5\n", "line 4 of the table has 3 cells"),
        (b"a,b\r1,2\r", "line 1 of the table is not CSV: a carriage return"),
        (b"a,b\n1,2\rx\n", "line 2 of the table is not CSV: a carriage return"),
        (b'a,b\n1,"2\n', "line 2 of the table is not CSV: a quote .* is not closed"),
        (b'a,b\n1,"2"3\n', "line 2 of the table is not CSV: a quoted cell continues"),
        (b"a,b\n1,\x002\n", "line 2 of the table has a NUL"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-be"), "NUL"),
        ("a,b\n1,ä\n".encode("latin-1"), "line 2 of the table is not encoded in UTF-8"),
        (b"a,b\n1," + b"x" * (MAX_CELL_LENGTH + 1) + b"\n", "line 2 of the table has a cell of 100001 characters"),
        (b"a,b\n1," + b"x" * 1_000_000 + b"\n", "line 2 of the table is not CSV: a cell has too many characters"),
        (b"a,b\n" + b"1,2\n" * 1_000_000, "more than 10 rows"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_error_that_names_the_line(table: bytes, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        parse_csv(table, ("a", "b"), 10)


def test_optional_columns_and_the_lines_of_rows() -> None:
    rows = parse_csv('b,a,c\n"1\n1",2,3\n\n4,5,6\n', ("a", "b"), 10, optional=("c",))
    assert rows == [(2, {"b": "1\n1", "a": "2", "c": "3"}), (5, {"b": "4", "a": "5", "c": "6"})]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), texts.map(str.encode)))
def test_any_bytes_are_rows_or_one_error(table: bytes) -> None:
    for prefix in (b"", b"a,b\n"):
        with suppress(BadInputError):
            assert all(set(row) == {"a", "b"} for _, row in parse_csv(prefix + table, ("a", "b"), 10))


def test_every_csv_file_is_written_by_this_module() -> None:
    writer = re.compile(r"csv\.(writer|DictWriter)|DataFrame\.to_csv|^import csv|from csv import", re.MULTILINE)
    found = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if writer.search(p.read_text(encoding="utf-8"))}
    # The training log appends rows of numbers while it runs, and is read by its own run folder.
    assert found <= {"io/tables.py", "training/training_log.py", "run_folder/model_records.py"}


def test_parquet_keeps_types_nulls_and_units(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", COLUMNS, ROWS)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.to_pylist() == [ROWS[0], {"case": "c", "n": None, "length_mm": None, "ok": False}]
    assert table.schema.field("length_mm").metadata[b"unit"] == b"mm"
    assert table.schema.field("n").metadata == {b"unit": b"1", b"title": b"cases"}
    write_parquet(tmp_path / "none.parquet", COLUMNS, [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", COLUMNS, ROWS)
    before = (tmp_path / "t.parquet").read_bytes()
    with pytest.raises(Exception, match="str"):
        write_parquet(tmp_path / "t.parquet", COLUMNS, [{"length_mm": "long"}])
    assert (tmp_path / "t.parquet").read_bytes() == before
