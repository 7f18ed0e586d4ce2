"""Tests of the floors of the source: imports point downward only, and stages never import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "heartmend"

# From the ground up. What stands on one line does not import one another.
LAYERS = [
    {"errors", "version", "wording"},
    {"types"},
    {"anatomy", "geometry"},
    {"io", "compute", "coronaries"},
    {"metrics", "phantom"},
    {"models"},
    {"training", "figures"},
    {"repair"},
    {"run_folder"},
    {"stages"},
    {"pipelines"},
    {"quality", "report"},
    {"review"},
    {"release"},
    {"cli", "api"},
    {"__main__"},
]
# Of the folder stages, what is no stage: every stage may import it.
SHARED_BY_STAGES = {"contract"}
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
MODULES = sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Each module under heartmend that a file imports anywhere, as its parts below `heartmend`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from heartmend import cli` and `from heartmend.stages import fit` name a module by their last word.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "heartmend")


def faults(path: Path, source: Path = SOURCE) -> list[str]:
    own = path.relative_to(source).with_suffix("").parts
    found = []
    for target in imported(path):
        if not target or target[0] == own[0] != "stages":
            continue
        if own[0] == target[0] == "stages":
            # The package's front may name its stages; a stage names no other. What they share is no stage.
            if own[1] != "__init__" and target[1:2] != own[1:2] and target[1] not in SHARED_BY_STAGES:
                found.append(f"stage {own[1]} imports {'.'.join(target)}")
        elif RANK[target[0]] >= RANK[own[0]]:
            found.append(f"{'.'.join(own)} imports {'.'.join(target)}")
    return found


def test_every_part_has_a_layer() -> None:
    parts = {p.relative_to(SOURCE).with_suffix("").parts[0] for p in MODULES}
    assert parts <= set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_downward(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize(
    ("file", "text", "is_fault"),
    [
        ("geometry/roi.py", "from heartmend.io.dataset import Cohort", True),
        ("geometry/roi.py", "def f():\n    import heartmend.cli", True),
        ("geometry/roi.py", "from heartmend.anatomy.schema import Anatomy", True),
        ("geometry/roi.py", "from heartmend.geometry.grid import Grid", False),
        ("io/dataset.py", "from heartmend.version import __version__", False),
        ("io/dataset.py", "from heartmend import cli", True),
        ("repair/fusion.py", "from heartmend.run_folder.folder import RunFolder", True),
        ("stages/fit.py", "from heartmend.stages.refine import refine", True),
        ("stages/fit.py", "from heartmend.stages import refine", True),
        ("stages/fit.py", "from heartmend.stages.contract import Context", False),
        ("stages/fit.py", "from heartmend.training import loop", False),
    ],
)
def test_the_rule_itself(tmp_path: Path, file: str, text: str, is_fault: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert bool(faults(path, tmp_path)) is is_fault


def test_there_is_no_torch_below_the_models() -> None:
    for path in MODULES:
        if path.relative_to(SOURCE).parts[0] in {"anatomy", "geometry", "io", "metrics", "phantom"}:
            assert "import torch" not in path.read_text(encoding="utf-8"), path


def test_only_run_folder_knows_the_paths_of_a_run() -> None:
    for path in MODULES:
        if path.relative_to(SOURCE).parts[0] != "run_folder":
            text = path.read_text(encoding="utf-8")
            assert '/ "run" /' not in text and '"run.json"' not in text, path


def test_only_one_module_uses_edt() -> None:
    """Its threads stay on the core of a worker only there."""
    users = {p.relative_to(SOURCE).as_posix() for p in MODULES if "import edt" in p.read_text(encoding="utf-8")}
    assert users == {"geometry/distance_transform.py"}
