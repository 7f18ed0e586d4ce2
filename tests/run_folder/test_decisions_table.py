"""Decisions as a table and back."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heartmend.errors import BadInputError
from heartmend.run_folder.decisions import DecisionRequest, Decisions
from heartmend.run_folder.decisions_table import Taken, decisions_to_csv, import_csv

RUN = {"1": ("LA", "LV"), "2": ("LA",)}
HEAD = "case,structure,choice,note,who,at,stamp\n"
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(texts, texts.filter(lambda t: t.strip() != ""))
def test_a_table_taken_elsewhere_says_the_same(tmp_path: Path, note: str, who: str) -> None:
    for name in ("here.sqlite", "there.sqlite"):
        (tmp_path / name).unlink(missing_ok=True)
    here, there = Decisions(tmp_path / "here.sqlite"), Decisions(tmp_path / "there.sqlite")
    here.write(
        [DecisionRequest("1", "LA", "keep", note, "s", 0), DecisionRequest("1", "LV", "manual", "", "s", 0)], who
    )
    text = decisions_to_csv(here.current())
    assert import_csv(text, there, RUN) == Taken(2, 0, 0)
    assert decisions_to_csv(there.current()) == text
    assert import_csv(text, there, RUN) == Taken(0, 2, 0)


@pytest.mark.parametrize("note", ["=1+1", "+1", "-1", "@x", "'=1", "'"])
def test_no_cell_is_a_formula(tmp_path: Path, note: str) -> None:
    base = Decisions(tmp_path / "d.sqlite")
    base.write([DecisionRequest("1", "LA", "keep", note, "s", 0)], "Anna")
    assert decisions_to_csv(base.current()).splitlines()[1].split(",")[3] == f"'{note}"


def test_what_is_newer_here_stays(tmp_path: Path) -> None:
    base = Decisions(tmp_path / "d.sqlite")
    base.write([DecisionRequest("1", "LA", "keep", "", "s", 0)], "Anna", "2026-02-01T00:00:00+00:00")
    rows = "1,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n2,LA,accept,,Ben,2026-01-31T23:00:00+00:00,s\n"
    assert import_csv(HEAD + rows, base, RUN) == Taken(written=1, known=0, older=1)
    assert {(d.case, d.choice, d.who) for d in base.current()} == {("1", "keep", "Anna"), ("2", "accept", "Ben")}
    newer = HEAD + "1,LA,accept,,Ben,2026-02-01T03:00:00+02:00,s\n"
    assert import_csv(newer, base, RUN).written == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("9,LA,keep,,Anna,2026-01-01T00:00:00+00:00,s", "line 3: no case '9'"),
        ("2,LV,keep,,Anna,2026-01-01T00:00:00+00:00,s", "no structure 'LV'"),
        ("1,LA,maybe,,Anna,2026-01-01T00:00:00+00:00,s", "'maybe'"),
        ("1,LA,keep,,,2026-01-01T00:00:00+00:00,s", "a name of 1 to 80"),
        ("1,LA,keep,,Anna,yesterday,s", "'yesterday' is no time"),
        ("1,LA,keep,,Anna,2026-01-01T00:00:00,s", "has no zone"),
    ],
)
def test_one_mistake_and_nothing_is_taken(tmp_path: Path, row: str, says: str) -> None:
    base = Decisions(tmp_path / "d.sqlite")
    sound = "1,LV,keep,,Anna,2026-01-01T00:00:00+00:00,s\n"
    with pytest.raises(BadInputError, match=says):
        import_csv(HEAD + sound + row + "\n", base, RUN)
    assert base.history() == []
    with pytest.raises(BadInputError, match="lacks the columns who"):
        import_csv(HEAD.replace(",who", "") + row, base, RUN)
