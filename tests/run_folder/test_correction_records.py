"""Tests of the records of errors that all cases share: one that is missing or damaged is never read as none."""

from pathlib import Path

import numpy as np
import pytest

from heartmend.errors import DamagedError, RunError
from heartmend.models.template import TemplateShape
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.report import SharedErrors
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT

HEADS = ("LV", "RV")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose shared errors were corrected."""
    (tmp_path / "labels").mkdir()
    folder = RunFolder.open(tmp_path / "out", tmp_path / "labels")
    convention = Convention.of(TemplateShape(HEADS, 8), np.full(3, 100.0), Correction.none(HEADS), "heart")
    files = folder.write_correction(SharedErrors("convention", True, 3, edge_shares={"001": 0.75}), convention)
    folder.finish(CORRECT, None, "fingerprint", files)
    return folder


def test_the_records_are_read(run: RunFolder) -> None:
    shared, convention = run.shared_errors(), run.convention()
    assert shared is not None and (shared.source, shared.n_cases) == ("convention", 3)
    assert shared.edge_shares == {"001": 0.75}
    assert convention is not None and convention.correction.heads == HEADS


def test_without_a_stamp_there_is_no_correction(run: RunFolder) -> None:
    run.forget(CORRECT)
    assert run.shared_errors() is None and run.convention() is None


@pytest.mark.parametrize("name", ["shared_errors.json", "convention.safetensors"])
def test_a_missing_record_is_an_error(run: RunFolder, name: str) -> None:
    (run.output / "run" / "correct" / name).unlink()
    with pytest.raises(DamagedError, match=rf"{name}: is missing; repeat `heartmend correct`"):
        run.convention()


@pytest.mark.parametrize("name", ["shared_errors.json", "convention.safetensors", "done.json"])
def test_a_damaged_record_is_an_error(run: RunFolder, name: str) -> None:
    path = run.output / "run" / "correct" / name
    path.write_bytes(path.read_bytes()[:-2] + b"0}")
    with pytest.raises(DamagedError, match=f"{name}: (is|was) (damaged|changed)"):
        run.convention()


def test_a_link_in_the_place_of_a_record_is_an_error(run: RunFolder, tmp_path: Path) -> None:
    path = run.convention_path()
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="is a link"):
        run.convention()
