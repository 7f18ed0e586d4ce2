"""Tests of decisions as a CSV table."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError, ConflictError
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.decisions_table import ImportCounts, decisions_to_csv, import_csv, import_file

RUN = {"1": ("LA", "LV"), "2": ("LA",)}
HEAD = "case,structure,choice,note,reviewer,decided_at,stamp\n"
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts, texts.filter(lambda t: t.strip() != ""))
def test_an_imported_table_is_exported_unchanged_by_another_database(tmp_path: Path, note: str, reviewer: str) -> None:
    for name in ("first.sqlite", "second.sqlite"):
        (tmp_path / name).unlink(missing_ok=True)
    first, second = Decisions(tmp_path / "first.sqlite"), Decisions(tmp_path / "second.sqlite")
    first.write(
        [DecisionRequest("1", "LA", "reject", note, "s", 0), DecisionRequest("1", "LV", "correct", "", "s", 0),
         DecisionRequest("1", "LA", "accept", note, "s", 0, "c0123456789ab")],
        reviewer,
    )  # fmt: skip
    text = decisions_to_csv(first.current())
    assert import_csv(text, second, RUN) == ImportCounts(3, 0, 0)
    assert decisions_to_csv(second.current()) == text
    assert import_csv(text, second, RUN) == ImportCounts(0, 3, 0)


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x", "'=1", "'", " =1", "\uff1d1", "\u3000\uff20x"])
def test_no_cell_starts_a_formula(tmp_path: Path, note: str) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    database.write([DecisionRequest("1", "LA", "reject", note, "s", 0)], "Anna")
    assert decisions_to_csv(database.current()).splitlines()[1].split(",")[4] == f"'{note}"


def test_a_newer_decision_of_the_database_stays_current(tmp_path: Path) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    database.write([DecisionRequest("1", "LA", "reject", "", "s", 0)], "Anna", "2026-02-01T00:00:00+00:00")
    rows = "1,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n2,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n"
    assert import_csv(HEAD + rows, database, RUN) == ImportCounts(written=1, known=0, older=1)
    assert {(d.case, d.choice, d.reviewer) for d in database.current()} == {
        ("1", "reject", "Anna"),
        ("2", "accept", "Ben"),
    }
    newer = HEAD + "1,LA,accept,,Ben,2026-02-01T03:00:00Z,s\n"
    assert import_csv(newer, database, RUN).written == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,LA,reject,,Anna,2026-01-01T00:00:00+00:00,s", "line 3: no case '9'"),
        ("2,LV,reject,,Anna,2026-01-01T00:00:00+00:00,s", "no structure 'LV'"),
        ("1,LA,maybe,,Anna,2026-01-01T00:00:00+00:00,s", "'maybe'"),
        ("1,LA,reject,,,2026-01-01T00:00:00+00:00,s", "1 to 80 characters"),
        ("1,LA,reject,,Anna,yesterday,s", "'yesterday' is no time in UTC"),
        ("1,LA,reject,,Anna,2026-01-01T00:00:00,s", "is no time in UTC; write it as"),
        ("1,LA,reject,,Anna,2026-01-01T02:00:00+02:00,s", "is no time in UTC; write it as"),
        ("1,LA,reject,,Anna,9999-01-01T00:00:00+00:00,s", "line 3: the time '9999-.*' is in the future"),
        ("1,LA,reject," + "x" * 2001 + ",Anna,2026-01-01T00:00:00Z,s", "line 3: the note on 1 LA has 2001 characters"),
        ("1,LA,reject,," + "A" * 81 + ",2026-01-01T00:00:00Z,s", "line 3: the name of the reviewer"),
        ("1,LA,reject,,Anna,2026-01-01T00:00:00Z," + "s" * 301, "line 3: the stamp has 301 characters"),
        ("1,LA,reject," + "x" * 200_000 + ",Anna,2026-01-01T00:00:00Z,s", "a cell has too many characters"),
        ("1,LV,accept,,Ben,2026-01-02T00:00:00Z,s", r"decided more than once: 1 LV \(lines 2, 3\)"),
        ("1,LA,reject,,Anna,2026-01-01T00:00:00Z", "line 3 of the table has 6 cells"),
        ("1,LA,reject,a\rb,Anna,2026-01-01T00:00:00Z,s", "line 3 of the table is not CSV: a carriage return"),
        ("1,LA,reject,a\0b,Anna,2026-01-01T00:00:00Z,s", "line 3 of the table has a NUL"),
    ],
)
def test_one_error_and_nothing_is_imported(tmp_path: Path, row: str, message: str) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    valid = "1,LV,reject,,Anna,2026-01-01T00:00:00+00:00,s\n"
    with pytest.raises(BadInputError, match=message):
        import_csv(HEAD + valid + row + "\n", database, RUN)
    for text in (HEAD + valid + row + "\n", HEAD + row + "\n" + valid):
        with pytest.raises(BadInputError):
            import_csv(text.encode(), database, RUN)
    assert database.history() == []
    with pytest.raises(BadInputError, match="lacks the columns reviewer"):
        import_csv(HEAD.replace(",reviewer", "") + valid, database, RUN)


def test_a_conflict_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    rows = "1,LA,accept,,Ben,2026-01-01T00:00:00Z,s\n1,LV,accept,,Anna,2026-01-02T00:00:00Z,s\n"
    # Another process decides after the current decisions were read.
    monkeypatch.setattr(database, "current", list)
    database.write([DecisionRequest("1", "LV", "reject", "", "s", 0)], "Cleo")
    with pytest.raises(ConflictError, match="Cleo"):
        import_csv(HEAD + rows, database, RUN)
    assert [d.reviewer for d in database.history()] == ["Cleo"]


def test_a_stored_time_that_cannot_be_right_does_not_outlast_other_decisions(tmp_path: Path) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    database.write([DecisionRequest("1", "LA", "reject", "", "s", 0)], "Anna")
    with closing(sqlite3.connect(database.path)) as raw:
        raw.execute("UPDATE decisions SET decided_at = '9999-12-31T00:00:00+00:00'")
        raw.commit()
    assert import_csv(HEAD + "1,LA,accept,,Ben,2026-01-01T00:00:00Z,s\n", database, RUN).written == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (("\ufeff" + HEAD).encode("utf-16-le"), "UTF-16"),
        (HEAD.replace("\n", "\r").encode() + b"1,LA,accept,,Ben,2026-01-01T00:00:00Z,s\r", "carriage return"),
        (HEAD.replace("\n", ",colour\n").encode(), "unknown columns: 'colour'"),
        (HEAD.encode() + b"\n" * 17_000_000, "more than 16 MiB"),
        (HEAD.encode() + b",,,,,,\n" * 1_000_000, "more than 200000 rows"),
        (HEAD.encode() + b"1,LA,accept,,Ben,2026-01-01T00:00:00Z,s\n" * 1_000, r"lines 2, 3, .* and 990 more\)"),
        (b"", "is empty"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_table_is_an_error(tmp_path: Path, table: bytes, message: str) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    (tmp_path / "t.csv").write_bytes(table)
    with pytest.raises(BadInputError, match=message) as caught:
        import_file(tmp_path / "t.csv", database, RUN)
    assert "t.csv: " in str(caught.value) and len(str(caught.value)) < 3000
    assert database.history() == []


def test_a_table_with_a_byte_order_mark_is_imported(tmp_path: Path) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    table = b"\xef\xbb\xbf" + (HEAD + "1,LA,accept,n\u00e4,Ben,2026-01-01T00:00:00Z,s\n").encode()
    assert import_csv(table, database, RUN).written == 1
    assert database.current()[0].note == "n\u00e4"


def test_a_large_table_is_written_in_one_transaction(tmp_path: Path) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    run = {str(case): ("LA", "LV") for case in range(5_000)}
    rows = (f"{case},{name},accept,,Ben,2026-01-01T00:00:00Z,s\n" for case, names in run.items() for name in names)
    text = HEAD + "".join(rows)
    assert import_csv(text, database, run).written == 10_000
    assert import_csv(text, database, run).known == 10_000
