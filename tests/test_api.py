"""Tests of the public functions: the lines of the README on small hearts, their errors, progress, and silence."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import heartmend as hm
from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.metrics.metric_catalogue import TOLERANCES_MM
from support.cohorts import small_map, write_cohort
from support.runs import finished_run
from support.volumes import save_nifti

Report = tuple[str, int, int, str]
STAGES = ["prepare", "fit", "refine", "fuse", "unify"]


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small hearts with true labels and CTs, and settings for them."""
    folder = tmp_path_factory.mktemp("hearts")
    labels = write_cohort(folder)
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart"))
    for case in cohort:
        volume = cohort.read_labels(case)
        truth = small_map(int(case.id), absent=(4,) if case.id == "2" else ())
        truth[0, 0, 0] = 0
        save_nifti(folder / "truth" / case.labels_path.name, truth, np.uint8, volume.grid.affine)
        hu = np.where(volume.labels > 0, 300, -80)
        save_nifti(folder / "cts" / case.labels_path.name, hu, np.int16, volume.grid.affine)
    return folder


@pytest.fixture(scope="module")
def result(folder: Path, reports: list[Report]) -> hm.Result:
    return hm.run(
        str(folder / "labels"), output=str(folder / "out"), images=folder / "cts", config=folder / "small.toml",
        device="cpu", workers=1, progress=lambda *report: reports.append(report),
    )  # fmt: skip


def test_a_run_returns_its_cases_and_a_table(result: hm.Result, folder: Path, tmp_path: Path) -> None:
    assert (result.cases, result.skipped, result.output) == (("1", "2", "3"), {}, folder / "out")
    assert isinstance(result.warnings, dict)
    assert repr(result) == f"Result({str(folder / 'out')!r}: 3 cases, 0 skipped)"
    table = result.table().to_pandas()
    assert set(table["case"]) == {"1", "2", "3"}
    assert {"LA", "LV", "RA", "RV"} <= set(table["structure"])
    assert set(table["severity"]) <= {"info", "review", "warning"}
    result.table().to_csv(tmp_path / "table.csv")
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(table)


def test_a_callback_gets_every_report(result: hm.Result, reports: list[Report]) -> None:
    tasks = list(dict.fromkeys(task for task, *_ in reports))
    assert [task for task in tasks if task in STAGES] == STAGES
    for task in STAGES:
        own = [(done, total, note) for name, done, total, note in reports if name == task]
        assert own[0][0] == 0
        assert own[-1][0] == own[-1][1] > 0
        assert [done for done, *_ in own] == sorted(done for done, *_ in own)
        assert all(isinstance(note, str) for *_, note in own)
    assert [note for task, _, _, note in reports if task == "prepare"] == ["", "1", "2", "3"]


def test_a_class_like_tqdm_gets_a_bar_for_each_task(folder: Path, tmp_path: Path) -> None:
    class Bar:
        def __init__(self, total: int, desc: str) -> None:
            self.total, self.desc, self.n, self.notes, self.closed = total, desc, 0, list[str](), False
            bars.append(self)

        def set_postfix_str(self, note: str) -> None:
            self.notes.append(note)

        def update(self, steps: int) -> None:
            self.n += steps

        def close(self) -> None:
            self.closed = True

    bars: list[Bar] = []
    hm.run(
        folder / "labels", tmp_path / "out", config=folder / "small.toml", stop_after="fuse", device="cpu", workers=1,
        progress=Bar,
    )  # fmt: skip
    assert [bar.desc for bar in bars if bar.desc in STAGES] == STAGES[:4]
    assert all(bar.closed and bar.n == bar.total for bar in bars)
    assert bars[0].notes == ["1", "2", "3"]


def test_what_is_no_progress_is_a_type_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="progress: 3 is not a function"):
        hm.run(folder / "labels", tmp_path / "out", progress=3)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_run_is_opened_case_by_case(result: hm.Result, folder: Path) -> None:
    run = hm.open_run(folder / "out")
    assert run.ids == ["1", "2", "3"]
    assert run["1"].changes.case_id == "1"
    assert (np.asarray(run["1"].labels) != np.asarray(run["1"].original)).any()
    assert {"LA", "LV", "RA", "RV"} <= run["1"].distances.keys()
    assert run.settings["prepare"]["resolution"] == 32


def test_label_maps_are_evaluated_into_a_table(result: hm.Result, folder: Path, tmp_path: Path) -> None:
    found = hm.evaluate(
        folder / "labels", folder / "out", reference=folder / "truth", metrics="dice,hd95_mm", workers=1
    )
    table = found.to_pandas()
    assert {"case", "structure", "labels", "dice", "hd95_mm"} <= set(table.columns)
    assert (table["labels"] == "b").sum() > 0
    found.to_csv(tmp_path / "cases.csv")
    assert len(pd.read_csv(tmp_path / "cases.csv")) == len(table)
    assert "3 cases, 0 skipped" in repr(found)


def test_two_masks_are_evaluated() -> None:
    a = np.zeros((20, 20, 20), dtype=bool)
    a[5:15, 5:15, 5:15] = True
    scores = hm.metrics.evaluate_case(a, np.roll(a, 1, axis=0), spacing_mm=(0.9, 0.9, 0.9))
    by_map = {row.labels: row.values for row in scores}
    assert by_map["b"]["dice"] == pytest.approx(0.9)
    assert by_map["b"]["hd95_mm"] == pytest.approx(0.9)


def test_a_model_of_a_run_is_rendered_and_meshed(result: hm.Result, folder: Path, tmp_path: Path) -> None:
    model = hm.load_model(folder / "out")
    rendered = model.render("1", spacing_mm=4.0)
    assert rendered.labels.shape == rendered.grid.shape
    assert {3, 5} <= set(np.unique(rendered.labels))
    path = model.mesh("1", spacing_mm=4.0)["LV"].save(tmp_path / "lv.stl")
    assert path.stat().st_size > 84
    same = hm.load_model(next((folder / "out").rglob("model.zip")))
    assert (same.render("1", spacing_mm=4.0).labels == rendered.labels).all()
    fixed = hm.repair_labels(small_map(1), np.diag([-2.0, -2.0, 2.0, 1.0]), model=model)
    assert fixed.labels.shape == small_map(1).shape


def test_skipped_cases_are_in_the_result_and_nothing_is_printed(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    labels = write_cohort(tmp_path, 2)
    (labels / "3.nii.gz").write_bytes(b"no volume")
    # As without an application: the handlers of pytest would hide that `logging` prints warnings by default.
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        result = hm.run(labels, tmp_path / "out", stop_after="prepare", workers=1)
        hm.check(labels, workers=1)
        logging.getLogger("heartmend.test").warning("a warning of the library")
    finally:
        root.handlers = handlers
    assert result.cases == ("1", "2")
    assert "3.nii.gz" in result.skipped["3"]
    assert len(result.table()) == 0
    assert capfd.readouterr() == ("", "")


def test_a_script_needs_no_main_guard(folder: Path, tmp_path: Path) -> None:
    """Worker processes do not execute the script again, and it prints only what it prints itself."""
    script = tmp_path / "script.py"
    script.write_text(
        "import heartmend as hm\n"
        f"labels, out = {str(folder / 'labels')!r}, {str(tmp_path / 'out')!r}\n"
        "result = hm.run(labels, output=out, stop_after='prepare', workers=2)\n"
        "print(result.cases, result.skipped)\n"
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert found.stdout == "('1', '2', '3') {}\n"
    assert found.stderr == ""


def test_phantoms_are_written_into_folders(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found: list[Report] = []
    phantoms = hm.make_phantoms(
        tmp_path / "cohort", count=1, seed=3, spacing_mm=3.0, workers=1, progress=lambda *report: found.append(report)
    )
    assert phantoms.cases == ("001",)
    for given in (phantoms.labels_noisy, phantoms.labels_true, phantoms.images):
        assert [path.name for path in given.iterdir()] == ["001.nii.gz"]
    assert found == [("phantom", 0, 1, ""), ("phantom", 1, 1, "001")]
    assert hm.check(phantoms.labels_noisy, images=phantoms.images, workers=1).is_usable
    assert capfd.readouterr() == ("", "")


def test_a_reviewed_run_is_exported(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    run = hm.open_run(out)
    for structure in run["1"].changed_structures:
        run.decide("1", structure, "reject", reviewer="A")
    run.decide("2", "LV", "correct", reviewer="A")
    kept = hm.export(out, tmp_path / "decided", formats=[], workers=1)
    assert (kept.cases, kept.to_correct, kept.left_out.keys()) == (("1",), (), {"2", "3"})
    found = hm.export(str(out), str(tmp_path / "all"), formats="nnunet", undecided="accept", workers=1)
    assert (found.cases, found.to_correct, found.left_out) == (("1", "3"), ("2",), {})
    folders = {path.name for path in (tmp_path / "all").iterdir() if path.is_dir()}
    assert folders == {"changelog", "labels", "nnunet", "to_correct"}
    released = hm.read_labels(tmp_path / "all" / "labels" / "1.nii.gz", run.anatomy)
    assert np.array_equal(released, run["1"].original)


def test_corrections_and_decisions_are_imported(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    hm.open_run(out).decide("2", "LV", "correct", reviewer="A")
    hm.export(out, tmp_path / "data", formats=[], undecided="accept", workers=1)
    found = hm.import_corrections(out, tmp_path / "data" / "to_correct", by="B", workers=1)
    assert (found.cases, found.skipped, found.decisions) == ({"2": ("LV",)}, {}, 0)
    assert [(d.structure, d.choice, d.reviewer) for d in hm.open_run(out).decisions()] == [("LV", "corrected", "B")]
    table = tmp_path / "decisions.csv"
    header = "case,structure,choice,note,reviewer,decided_at,stamp"
    table.write_text(f"{header}\n1,LV,reject,,C,2026-01-31T12:00:00+00:00,\n")
    assert hm.import_corrections(out, table, workers=1).decisions == 1


def test_a_report_is_written(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    paths = hm.write_report(out, worst=0, most_changed=0, workers=1)
    assert paths[0] == out / "report" / "report.html"
    assert all(path.is_file() for path in paths)


def test_cases_are_cropped(folder: Path, tmp_path: Path) -> None:
    found = hm.crop(folder / "labels", tmp_path / "cropped", images=folder / "cts", resolution=16, workers=1)
    assert (found.cases, found.skipped) == (("1", "2", "3"), {})
    cube = hm.read_labels(tmp_path / "cropped" / "labels" / "1.nii.gz", load_anatomy("heart"))
    assert cube.labels.shape == (16, 16, 16)


def test_labels_are_ranked(result: hm.Result, folder: Path) -> None:
    ranking = hm.screen(folder / "out", quick=True, workers=1)
    assert {case.case for case in ranking.cases} == {"1", "2", "3"}
    again = hm.screen(folder / "labels", quick=True, config=folder / "small.toml", workers=1)
    assert [case.case for case in again.cases] == [case.case for case in ranking.cases]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: hm.run(f / "nowhere", f / "o"), hm.BadInputError, "nowhere"),
        (lambda f: hm.run(f / "labels", f / "o", stop_after="fuze"), hm.ConfigError, "stop_after='fuze': give one of"),
        (lambda f: hm.run(f / "labels", f / "o", preset="quick"), hm.ConfigError, "unknown preset 'quick'"),
        (lambda f: hm.run(f / "labels", f / "o", config=f / "no.toml"), hm.ConfigError, r"no\.toml"),
        (lambda f: hm.run(f / "labels", f / "o", anatomy="liver"), hm.ConfigError, "liver"),
        (lambda f: hm.run(f / "labels", f / "o", structures="LV,spleen"), hm.ConfigError, "spleen"),
        (lambda f: hm.run(f / "labels", f / "o", unknown_labels="drop"), hm.ConfigError, "unknown_labels='drop'"),
        (lambda f: hm.run(f / "labels", f / "o", device="toaster"), hm.ConfigError, "toaster"),
        (lambda f: hm.embed(f / "no.zip", f / "labels", f / "o"), hm.BadInputError, r"no\.zip"),
        (lambda f: hm.embed(f / "labels", f / "labels", f / "o"), hm.RunError, "is no run"),
        (lambda f: hm.evaluate(f / "labels", f / "nowhere"), hm.BadInputError, "nowhere"),
        (lambda f: hm.evaluate(f / "labels", f / "truth", metrics="dise"), hm.ConfigError, "dise"),
        (lambda f: hm.check(f / "nowhere"), hm.BadInputError, "nowhere"),
        (lambda f: hm.load_model(f / "small.toml"), hm.BadInputError, r"small\.toml"),
        (lambda f: hm.make_phantoms(f / "p", spacing_mm=9), hm.ConfigError, "spacing_mm=9: give a voxel size"),
        (lambda f: hm.make_phantoms(f / "p", count=0), hm.ConfigError, "count=0"),
        (lambda f: hm.export(f / "labels", f / "e"), hm.RunError, "is no run"),
        (lambda f: hm.export(f / "labels", f / "e", formats="dicom"), hm.ConfigError, "formats='dicom'"),
        (lambda f: hm.export(f / "labels", f / "e", undecided="drop"), hm.ConfigError, "undecided='drop'"),
        (lambda f: hm.write_report(f / "labels"), hm.RunError, "is no run"),
        (lambda f: hm.import_corrections(f / "labels", f), hm.RunError, "is no run"),
        (lambda f: hm.draw_population(f / "no.zip", f / "p", between="1"), hm.ConfigError, "ids of two cases"),
        (lambda f: hm.draw_population(f / "no.zip", f / "p"), hm.BadInputError, r"no\.zip"),
        (lambda f: hm.crop(f / "labels", f / "c", resolution=1), hm.ConfigError, "resolution=1"),
    ],
)
def test_errors_are_of_one_tree(
    folder: Path, call: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    assert issubclass(error, hm.HeartmendError)
    with pytest.raises(error, match=message):
        call(folder)


def test_the_default_tolerances_are_those_of_the_metrics() -> None:
    defaults = hm.evaluate.__kwdefaults__ or {}
    assert defaults["tolerances_mm"] == TOLERANCES_MM


def test_merge_convention_and_screen_take_the_words_of_their_commands(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(hm.ConfigError, match="give a list of two or more folders"):
        hm.merge(folder / "labels", tmp_path / "merged")  # type: ignore[arg-type]
    config = folder / "small.toml"
    merged = hm.merge(
        [folder / "labels", folder / "truth"], tmp_path / "merged", config=config, device="cpu", workers=1
    )
    assert merged.cases == ("1", "2", "3") and merged.shares["LV"][0] >= 0
    assert (tmp_path / "merged" / "labels" / "1.nii.gz").is_file()
    shared = hm.learn_convention(
        folder / "labels", folder / "truth", tmp_path / "truth.safetensors", config=config, device="cpu", workers=1
    )
    assert shared.n_cases == 3 and (tmp_path / "truth.safetensors").is_file()
    ranking = hm.screen(
        folder / "labels", images=folder / "cts", trusted=folder / "truth", preset="mend", config=config, device="cpu",
        workers=1,
    )  # fmt: skip
    assert ranking.shared_errors is not None and ranking.shared_errors.source == "trusted"


def test_faults_of_phantoms_that_there_are_not_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(hm.ConfigError, match='faults="rough": give "realistic" or "harsh"'):
        hm.make_phantoms(tmp_path, count=1, faults="rough")  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())
