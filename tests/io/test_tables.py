"""Tables with units."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from heartmend.io.tables import Column, write_csv, write_parquet

COLUMNS = (Column("case", str), Column("n", int, "1", "cases"), Column("length_mm", float, "mm"), Column("ok", bool))
ROWS = [{"case": "a, b", "n": 3, "length_mm": 0.1, "ok": True}, {"case": "c", "ok": False, "length_mm": None}]


def test_csv_has_names_and_empty_cells(tmp_path: Path) -> None:
    write_csv(tmp_path / "new" / "t.csv", COLUMNS, ROWS)
    text = (tmp_path / "new" / "t.csv").read_text(encoding="utf-8")
    assert text == 'case,n,length_mm,ok\n"a, b",3,0.1,True\nc,,,False\n'
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["t.csv"]


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
