"""Every benchmark explains its options with --help, and is listed in benchmarks/README.md."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def test_every_file_is_listed_in_the_readme() -> None:
    readme = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in BENCHMARKS.glob("*.py") if f"`{path.name}`" not in readme] == []


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_prints_its_help(script: Path) -> None:
    if script.name in ("unet_relabel.py", "train_proof.py"):
        pytest.importorskip("monai", reason="MONAI is an extra: pip install '.[benchmarks]'")
    process = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"usage: {script.name}")
