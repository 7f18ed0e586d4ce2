"""Tests of the section of a report about errors that all cases share."""

from pathlib import Path

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.terminal import print_table
from heartmend.io.dataset import discover_cohort
from heartmend.models.template import TemplateShape
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.regions import RegionError
from heartmend.repair.shared_errors.report import PatchRecord, SharedErrors
from heartmend.repair.shared_errors.tables import region_table, shared_error_table
from heartmend.report.run_summary import stage_summaries
from heartmend.report.shared_errors import COLOURS, UNKNOWN_COLOUR, shared_error_section
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import CORRECT
from support.cohorts import write_cohort

SHARED = SharedErrors(
    "image", True, 7,
    (
        RegionError("LV", "endocardium", 7, "measured", 1.1, 0.9, 1.3, 0.2, 0.04),
        RegionError("LV", "mitral plane", 0, "none"),
        RegionError("LV", "beside RV", 0, "none"),
        RegionError("LV", "aortic valve", 5, "unclear"),
    ),
    (
        PatchRecord("LV", "endocardium", (-30.0, 0.0, 0.0), 1.1, 0.04),
        PatchRecord("LV", "mitral plane", (30.0, 0.0, 0.0), None),
    ),
)  # fmt: skip


def run_with(folder: Path, shared: SharedErrors) -> RunFolder:
    """A run whose template is a ball of 30 mm."""
    labels = write_cohort(folder)
    shape = TemplateShape(("LV",), 24)
    at = ((np.indices((24,) * 3) + 0.5) / 24 - 0.5) * 100
    shape.table.data[:, 0] = shape.table.new_tensor((30 - np.sqrt((at**2).sum(axis=0))).ravel())
    convention = Convention.of(shape, np.full(3, 100.0), Correction.none(("LV",)), "heart")
    with RunFolder.open(folder / "out", labels) as run:
        run.write_cohort(discover_cohort(labels, anatomy=load_anatomy("heart")))
        run.finish(CORRECT, None, "fingerprint", run.write_correction(shared, convention))
    return RunFolder.at(folder / "out")


def test_the_section_has_the_measured_regions_and_lists_the_others(tmp_path: Path) -> None:
    section = shared_error_section(run_with(tmp_path, SHARED), load_anatomy("heart"))
    assert section is not None
    assert section.table.rows == (("LV", "endocardium", "7", "+1.10", "+0.90 to +1.30", "0.20", "+0.04"),)
    notes = " ".join(section.table.notes)
    assert "do not agree, not corrected: LV aortic valve." in notes
    assert "Not measured, not corrected: LV mitral plane." in notes and "beside RV" not in notes
    assert section.text == "Compared with edges of the CTs of 7 cases; corrected."
    assert section.still.startswith("data:image/webp;base64,")


def test_the_mean_heart_is_coloured_by_the_nearest_patch(tmp_path: Path) -> None:
    section = shared_error_section(run_with(tmp_path, SHARED), load_anatomy("heart"))
    assert section is not None
    parts = {part["colour"]: part for part in section.scene["parts"]}
    # 1.1 mm too wide on one half before, within 0.2 mm after; the other half was not measured.
    assert set(parts) == {COLOURS[7], COLOURS[4], UNKNOWN_COLOUR}
    wide, sound, unknown = (parts[colour] for colour in (COLOURS[7], COLOURS[4], UNKNOWN_COLOUR))
    assert wide["before"][1] > 100 and wide["after"][1] == 0
    assert sound["before"][1] == 0 and sound["after"][1] == wide["before"][1]
    assert unknown["before"] == unknown["after"]


def test_without_a_measurement_there_is_no_section(tmp_path: Path) -> None:
    run = run_with(tmp_path, SharedErrors("convention", True, 7))
    assert shared_error_section(run, load_anatomy("heart")) is None


def test_the_summary_of_the_stages_names_what_was_corrected(tmp_path: Path) -> None:
    run = run_with(tmp_path, SHARED)
    run.write_settings({})
    assert ("correct", "errors that all cases share corrected by edges of the CTs of 7 cases") in stage_summaries(
        run, None
    )


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = run_with(tmp_path, SHARED).shared_errors()
    assert read is not None and read.to_dict() == SHARED.to_dict()


def test_the_table_fits_a_terminal(capsys) -> None:  # type: ignore[no-untyped-def]
    print_table(shared_error_table(SHARED))
    shown = capsys.readouterr().out
    assert "+0.90 to +1.30" in shown and "mitral plane" in shown and "beside RV" not in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_csv_has_every_region() -> None:
    rows = list(region_table(SHARED))
    assert [row["region"] for row in rows] == ["endocardium", "mitral plane", "beside RV", "aortic valve"]
    assert rows[0]["error_mm"] == 1.1 and rows[1]["error_mm"] is None
