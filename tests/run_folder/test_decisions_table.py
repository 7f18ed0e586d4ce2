"""Tests of decisions as a CSV table."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.run_folder.decisions import DecisionRequest, Decisions
from heartmend.run_folder.decisions_table import ImportCounts, decisions_to_csv, import_csv

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
        [DecisionRequest("1", "LA", "reject", note, "s", 0), DecisionRequest("1", "LV", "correct", "", "s", 0)],
        reviewer,
    )
    text = decisions_to_csv(first.current())
    assert import_csv(text, second, RUN) == ImportCounts(2, 0, 0)
    assert decisions_to_csv(second.current()) == text
    assert import_csv(text, second, RUN) == ImportCounts(0, 2, 0)


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x", "'=1", "'"])
def test_no_cell_starts_a_formula(tmp_path: Path, note: str) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    database.write([DecisionRequest("1", "LA", "reject", note, "s", 0)], "Anna")
    assert decisions_to_csv(database.current()).splitlines()[1].split(",")[3] == f"'{note}"


def test_a_newer_decision_of_the_database_stays_current(tmp_path: Path) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    database.write([DecisionRequest("1", "LA", "reject", "", "s", 0)], "Anna", "2026-02-01T00:00:00+00:00")
    rows = "1,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n2,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n"
    assert import_csv(HEAD + rows, database, RUN) == ImportCounts(written=1, known=0, older=1)
    assert {(d.case, d.choice, d.reviewer) for d in database.current()} == {
        ("1", "reject", "Anna"),
        ("2", "accept", "Ben"),
    }
    newer = HEAD + "1,LA,accept,,Ben,2026-02-01T03:00:00+02:00,s\n"
    assert import_csv(newer, database, RUN).written == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("9,LA,reject,,Anna,2026-01-01T00:00:00+00:00,s", "line 3: no case '9'"),
        ("2,LV,reject,,Anna,2026-01-01T00:00:00+00:00,s", "no structure 'LV'"),
        ("1,LA,maybe,,Anna,2026-01-01T00:00:00+00:00,s", "'maybe'"),
        ("1,LA,reject,,,2026-01-01T00:00:00+00:00,s", "1 to 80 characters"),
        ("1,LA,reject,,Anna,yesterday,s", "'yesterday' is no time"),
        ("1,LA,reject,,Anna,2026-01-01T00:00:00,s", "has no time zone"),
    ],
)
def test_one_error_and_nothing_is_imported(tmp_path: Path, row: str, message: str) -> None:
    database = Decisions(tmp_path / "d.sqlite")
    valid = "1,LV,reject,,Anna,2026-01-01T00:00:00+00:00,s\n"
    with pytest.raises(BadInputError, match=message):
        import_csv(HEAD + valid + row + "\n", database, RUN)
    assert database.history() == []
    with pytest.raises(BadInputError, match="lacks the columns reviewer"):
        import_csv(HEAD.replace(",reviewer", "") + row, database, RUN)
