"""Test that run_folder opens files by `io.regular` alone, which refuses links and pipes."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "heartmend" / "run_folder"
FORBIDDEN = ("open", "read_text", "read_bytes", "write_text", "write_bytes", "is_file", "exists")
# Class methods that open a run, and not a file.
ALLOWED = ("RunFolder.open", "FinishedRun.open", "self.open")
# The table of decisions that a person imports is no file of the run.
GIVEN = {"decisions_table.py": ["path.open"]}


def direct_openings(source: str) -> list[str]:
    """List the calls that open a file by a function of Python, or that follow a link."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            is_method, last = "." in name, name.rpartition(".")[2]
            if last in FORBIDDEN and (is_method or last == "open") and name not in ALLOWED:
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_files_are_opened_by_one_opener(path: Path) -> None:
    found = direct_openings(path.read_text(encoding="utf-8"))
    given = GIVEN.get(path.name, [])
    found = [one for one in found if one.partition(": ")[2] not in given]
    # Whether the output folder itself is there.
    allowed = 3 if path.name in ("admission.py", "folder.py") else 0
    assert len([one for one in found if one.endswith("exists")]) <= allowed, found
    assert [one for one in found if not one.endswith("exists")] == []


def test_direct_openings_are_found() -> None:
    source = "open(path)\npath.read_text()\nPath(x).open('a')\nos.open(path, 0)\nself._open()\nRunFolder.open(out)"
    assert len(direct_openings(source)) == 4
