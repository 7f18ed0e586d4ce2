"""A reviewed run as a data set, and hand work taken back."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.errors import RunError
from heartmend.io.label_maps import write_labels_like
from heartmend.io.segments import read_segments, write_segments
from heartmend.release.corrections import import_corrected
from heartmend.release.export import export_release
from heartmend.release.layouts import LAYOUTS, Names
from heartmend.release.plan import plan_release
from heartmend.review.case_cache import make_ready, read_summary
from heartmend.run_folder.decisions import DecisionRequest, decisions_of
from heartmend.run_folder.finished import FinishedRun
from support.cohorts import small_map
from support.runs import finished_run, mended

ALL = frozenset(LAYOUTS)


@pytest.fixture
def subject(tmp_path: Path) -> FinishedRun:
    found = FinishedRun.open(finished_run(tmp_path, images=True))
    assert all(error is None for _, _, error in make_ready(found, workers=1))
    return found


def decide(subject: FinishedRun, case: str, **choices: str) -> None:
    """Accept what changed in a case, but for `choices`."""
    found, base = read_summary(subject, subject.cohort[case]), decisions_of(subject)
    seen = {(d.case, d.structure): d.number for d in base.current()}
    wishes = [
        DecisionRequest(case, s, choices.get(s, "accept"), "see | there", found.stamp, seen.get((case, s), 0))  # type: ignore[arg-type]
        for s in found.to_decide
    ]
    base.write(wishes, "Anna")


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_layout_holds_what_was_decided(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "1")
    decide(subject, "2", LV="keep")
    to = tmp_path / "release"
    plans = export_release(subject, to, ALL, images=True, workers=1)
    assert ([p.case.id for p in plans.release], plans.left_out.keys()) == (["1", "2"], {"3"})
    assert "not decided: LA, LV, RA, RV" in plans.left_out["3"]
    came, full = small_map(2, absent=(4,)), mended(small_map(2, absent=(4,)))
    expected = {"1": mended(small_map(1)), "2": np.where((came == 3) | (full == 3), came, full)}
    for case, labels in expected.items():
        source = nib.load(tmp_path / "labels" / f"{case}.nii.gz")
        for path in (
            to / "labels" / f"{case}.nii.gz",
            to / "nnunet" / "Dataset001_Heart" / "labelsTr" / f"{case}.nii.gz",
            to / "bids" / f"sub-{case}" / "anat" / f"sub-{case}_desc-mended_dseg.nii.gz",
        ):
            assert (values(path) == labels).all()
            assert np.array_equal(nib.load(path).affine, source.affine)
        grid = subject.before(subject.cohort[case]).grid
        assert (read_segments(to / "slicer" / f"{case}.seg.nrrd", grid, subject.anatomy) == labels).all()
        image = to / "nnunet" / "Dataset001_Heart" / "imagesTr" / f"{case}_0000.nii.gz"
        assert image.read_bytes() == (tmp_path / "images" / f"{case}.nii.gz").read_bytes()
        meshes = {p.stem for p in (to / "meshes" / case).iterdir()}
        assert meshes == {subject.anatomy.by_id(int(i)).name for i in np.unique(labels) if i}
    assert (
        nib.load(to / "labels" / "1.nii.gz").header.binaryblock
        == nib.load(tmp_path / "labels/1.nii.gz").header.binaryblock
    )


def test_what_people_and_programs_read_beside_the_maps(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "1", LA="keep")
    to = tmp_path / "release"
    export_release(subject, to, ALL, workers=1)
    table = json.loads((to / "nnunet" / "Dataset001_Heart" / "dataset.json").read_text())
    assert table["labels"]["background"] == 0 and table["labels"]["PV"] == 10
    assert (table["numTraining"], table["file_ending"], table["channel_names"]) == (1, ".nii.gz", {"0": "CT"})
    described = json.loads((to / "bids" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "Heartmend"
    rows = list(csv.DictReader((to / "bids" / "desc-mended_dseg.tsv").open(), delimiter="\t"))
    assert rows[3] == {"index": "3", "name": "LV", "color": "#a60c0a"}
    assert '"Coronary"' in (to / "itksnap" / "heart.itksnap.txt").read_text()
    log = (to / "changelog" / "1.md").read_text()
    assert "| LA | original |" in log and "| LV | mended |" in log and "see \\| there" in log
    readme = (to / "README.md").read_text()
    for said in (
        "| released | 1 |",
        "| LA | 2 | 0 | 1 | 0 |",
        "ImageCAS",
        "2510.06090",
        "heartchambers_highres",
        "heartmend",
    ):
        assert said in readme
    assert len((to / "decisions.csv").read_text().splitlines()) == 5


def test_a_name_or_a_note_is_never_markup(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    out = finished_run(tmp_path)
    (tmp_path / "labels" / "2.nii.gz").rename(tmp_path / "labels" / "<script>2.nii.gz")
    subject = FinishedRun.open(out)
    assert all(error is None for _, _, error in make_ready(subject, workers=1))
    base, to = decisions_of(subject), tmp_path / "release"
    for case, choice in (("1", "accept"), ("3", "manual")):
        found = read_summary(subject, subject.cohort[case])
        base.write(
            [DecisionRequest(case, s, choice, f"{odd} [x](javascript:y) | z", found.stamp, 0) for s in found.to_decide],
            odd,
        )  # type: ignore[arg-type]
    export_release(subject, to, ALL, workers=1)
    texts = {p.relative_to(to).as_posix(): p.read_text() for p in to.rglob("*.md")}
    assert {"README.md", "changelog/1.md", "bids/README.md"} < texts.keys()
    assert any(name.startswith("manual/3/") for name in texts)
    for name, text in texts.items():
        assert "<script" not in text.replace("\\<script", "") and "](" not in text.replace("\\](", ""), name
    assert "\\<script\\>2: not mended" in texts["README.md"] and "\\<script\\>alert(1)" in texts["changelog/1.md"]


def test_a_mesh_is_a_ply_file_in_ras(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "3")
    export_release(subject, tmp_path / "release", frozenset({"meshes"}), workers=1)
    head, body = (tmp_path / "release" / "meshes" / "3" / "LV.ply").read_bytes().split(b"end_header\n", 1)
    assert head.startswith(b"ply\nformat binary_little_endian 1.0\n") and b"comment SPACE=RAS" in head
    count = int(head.split(b"element vertex ")[1].split()[0])
    points = np.frombuffer(body, dtype=[("at", "<f4", 3), ("colour", "u1", 3)], count=count)
    case = subject.cohort["3"]
    where = np.argwhere(subject.after(case).labels == 3)
    middle = subject.after(case).grid.index_to_world(where).mean(axis=0)
    assert np.allclose(points["at"].mean(axis=0), middle, atol=1.5)
    assert (points["colour"] == (166, 12, 10)).all()


def test_marked_cases_come_as_a_folder_and_go_back_corrected(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "1", LV="manual")
    decide(subject, "2")
    plans = export_release(subject, tmp_path / "first", frozenset(), workers=1)
    assert ([p.case.id for p in plans.manual], [p.case.id for p in plans.release]) == (["1"], ["2"])
    folder = tmp_path / "first" / "manual" / "1"
    assert {p.name for p in folder.iterdir()} == {"1.seg.nrrd", "1.ct.nii.gz", "README.md"}
    assert "- LV: see \\| there (Anna)" in (folder / "README.md").read_text()
    # By hand: a voxel more of the LV, and one less of the RV, which nobody had marked.
    grid = subject.before(subject.cohort["1"]).grid
    drawn = read_segments(folder / "1.seg.nrrd", grid, subject.anatomy)
    drawn[1, 1, 1] = 3
    drawn[tuple(np.argwhere(drawn == 5)[0])] = 0
    write_segments(drawn, grid, subject.anatomy, folder / "1.seg.nrrd")
    (taken,) = import_corrected(subject, tmp_path / "first" / "manual", "Ben")
    assert (taken.case, taken.structures, taken.error) == ("1", ("LV", "RV"), "")
    plans = export_release(subject, tmp_path / "second", ALL, workers=1)
    assert [p.case.id for p in plans.release] == ["1", "2"] and not plans.manual
    assert (values(tmp_path / "second" / "labels" / "1.nii.gz") == drawn).all()
    assert "| LV | corrected by hand |" in (tmp_path / "second" / "changelog" / "1.md").read_text()
    assert json.loads((tmp_path / "second/bids/sub-1/anat/sub-1_desc-mended_dseg.json").read_text()) == {"Manual": True}


def test_a_corrected_label_map_is_taken_too_and_a_strange_one_is_told(subject: FinishedRun, tmp_path: Path) -> None:
    source = tmp_path / "labels" / "3.nii.gz"
    labels = subject.after(subject.cohort["3"]).labels.copy()
    labels[5, 5, 5] = 8
    write_labels_like(labels, source, tmp_path / "back" / "3.nii.gz")
    write_labels_like(labels, source, tmp_path / "back" / "9.nii.gz")
    write_labels_like(
        subject.after(subject.cohort["1"]).labels, tmp_path / "labels/1.nii.gz", tmp_path / "back/2.nii.gz"
    )
    told = {t.case: t for t in import_corrected(subject, tmp_path / "back", "Ben")}
    assert told["3"].structures == ("LAA",)
    assert "no case '9'" in told["9"].error
    assert "is not on the grid of" in told["2"].error
    (plan,) = [p for p in plan_release(subject, decisions_of(subject), "keep").release if p.case.id == "3"]
    assert plan.choices == {"LA": "keep", "LV": "keep", "RA": "keep", "RV": "keep", "LAA": "corrected"}


def test_open_cases_can_be_taken_as_accepted_or_kept(subject: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none of its 3 cases is decided"):
        export_release(subject, tmp_path / "none", frozenset(), workers=1)
    export_release(subject, tmp_path / "accept", frozenset(), "accept", workers=1)
    export_release(subject, tmp_path / "keep", frozenset(), "keep", workers=1)
    assert (values(tmp_path / "accept" / "labels" / "3.nii.gz") == mended(small_map(3))).all()
    assert (values(tmp_path / "keep" / "labels" / "3.nii.gz") == small_map(3)).all()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_a_decision_on_an_earlier_result_does_not_count(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "3")
    labels = subject.after(subject.cohort["3"]).labels.copy()
    labels[6, 6, 6] = 3
    write_labels_like(labels, tmp_path / "labels" / "3.nii.gz", subject.mended_path(subject.cohort["3"]))
    assert all(error is None for _, _, error in make_ready(subject, workers=1))
    assert "not decided" in plan_release(subject, decisions_of(subject)).left_out["3"]


def test_one_broken_case_does_not_stop_the_others(subject: FinishedRun, tmp_path: Path) -> None:
    for case in ("1", "2", "3"):
        decide(subject, case)
    path = subject.mended_path(subject.cohort["2"])
    path.write_bytes(path.read_bytes()[:200])
    plans = export_release(subject, tmp_path / "release", ALL, workers=1)
    assert [p.case.id for p in plans.release] == ["1", "3"]
    assert "2.nii.gz" in plans.left_out["2"]
    assert not [p for p in (tmp_path / "release").rglob("*") if "2" in p.name.split(".")[0].split("_")[0].split("-")]
    assert "- 2: " in (tmp_path / "release" / "README.md").read_text()


def test_nothing_that_is_there_is_written_over(subject: FinishedRun, tmp_path: Path) -> None:
    decide(subject, "1")
    for to in (subject.run.out / "release", tmp_path / "labels" / "release", tmp_path / "images"):
        with pytest.raises(RunError, match="give another --to"):
            export_release(subject, to, frozenset(), workers=1)


def test_two_ids_that_differ_in_signs_are_two_subjects() -> None:
    from heartmend.anatomy.load import load_anatomy

    names = Names.of(load_anatomy("heart"), ["a_1", "a-1", "a1", "_"])
    assert names.bids == {"a_1": "a1", "a-1": "a1x2", "a1": "a1x3", "_": "x"}
