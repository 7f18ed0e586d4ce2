"""Tests of the export of a reviewed run and of the import of corrected label maps."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.progress import CallbackProgress
from heartmend.errors import RunError
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_meaning import own_meaning
from heartmend.io.label_writing import write_labels_like
from heartmend.io.segments import read_segments, write_segments
from heartmend.release.corrections import import_corrected
from heartmend.release.export import export_release
from heartmend.release.layouts import LAYOUTS, ReleaseNames
from heartmend.release.training import TrainingOptions
from heartmend.review.case_cache import make_ready
from heartmend.review.plan import plan_release
from heartmend.review.summary import read_summary
from heartmend.run_folder.decision_records import DecisionRequest
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun
from support.cohorts import small_map
from support.runs import finished_run, repaired

ALL = frozenset(LAYOUTS) - {"dicom-seg", "rtstruct"}
OWN = own_meaning(load_anatomy("heart"))


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    found = FinishedRun.open(finished_run(tmp_path, images=True))
    assert make_ready(found, workers=1) == {}
    return found


def decide(finished: FinishedRun, case: str, **choices: str) -> None:
    """Accept the changes of a case, except for `choices`."""
    found, database = read_summary(finished, finished.cohort[case]), open_decisions(finished)
    numbers = {(d.case, d.structure): d.number for d in database.current()}
    requests = [
        DecisionRequest(case, s, choices.get(s, "accept"), "a | b", found.stamp, numbers.get((case, s), 0))  # type: ignore[arg-type]
        for s in found.changed_structures
    ]
    database.write(requests, "Anna")


def values(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


def test_every_layout_contains_the_decided_label_maps(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1")
    decide(finished, "2", LV="reject")
    to = tmp_path / "release"
    plan = export_release(finished, to, ALL, training=TrainingOptions("copy"), workers=1)
    assert ([p.case.id for p in plan.release], plan.left_out.keys()) == (["1", "2"], {"3"})
    assert "open: LA, LV, RA, RV" in plan.left_out["3"]
    original, after = small_map(2, absent=(4,)), repaired(small_map(2, absent=(4,)))
    expected = {"1": repaired(small_map(1)), "2": np.where((original == 3) | (after == 3), original, after)}
    for case, labels in expected.items():
        source = nib.load(tmp_path / "labels" / f"{case}.nii.gz")
        for path in (
            to / "labels" / f"{case}.nii.gz",
            to / "nnunet" / "Dataset001_Heart" / "labelsTr" / f"{case}.nii.gz",
            to / "bids" / f"sub-{case}" / "anat" / f"sub-{case}_desc-repaired_dseg.nii.gz",
        ):
            assert (values(path) == labels).all()
            assert np.array_equal(nib.load(path).affine, source.affine)
        grid = finished.before(finished.cohort[case]).grid
        assert (read_segments(to / "slicer" / f"{case}.seg.nrrd", grid, finished.anatomy) == labels).all()
        image = to / "nnunet" / "Dataset001_Heart" / "imagesTr" / f"{case}_0000.nii.gz"
        assert image.read_bytes() == (tmp_path / "images" / f"{case}.nii.gz").read_bytes()
        meshes = {p.stem for p in (to / "meshes" / case).iterdir()}
        assert meshes == {finished.anatomy.by_id(int(i)).name for i in np.unique(labels) if i}
    assert (
        nib.load(to / "labels" / "1.nii.gz").header.binaryblock
        == nib.load(tmp_path / "labels/1.nii.gz").header.binaryblock
    )


def test_totalsegmentator_folders_have_a_mask_per_structure(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1")
    to = tmp_path / "release"
    export_release(finished, to, frozenset({"totalsegmentator"}), training=TrainingOptions("copy"), workers=1)
    folder, labels = to / "totalsegmentator" / "1", repaired(small_map(1))
    names = {
        "heart_myocardium": 1, "heart_atrium_left": 2, "heart_ventricle_left": 3, "heart_atrium_right": 4,
        "heart_ventricle_right": 5, "aorta": 6, "pulmonary_artery": 7, "atrial_appendage_left": 8,
        "coronary_arteries": 9, "pulmonary_vein": 10, "superior_vena_cava": 11, "inferior_vena_cava": 12,
    }  # fmt: skip
    assert {p.name for p in (folder / "segmentations").iterdir()} == {f"{name}.nii.gz" for name in names}
    source = nib.load(tmp_path / "labels" / "1.nii.gz")
    for name, id in names.items():
        mask = nib.load(folder / "segmentations" / f"{name}.nii.gz")
        assert mask.get_data_dtype() == np.uint8 and np.array_equal(mask.affine, source.affine)
        assert (np.asarray(mask.dataobj) == (labels == id)).all()
    assert (folder / "ct.nii.gz").read_bytes() == (tmp_path / "images" / "1.nii.gz").read_bytes()


def test_a_decathlon_task_has_a_dataset_json_of_version_1(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1")
    decide(finished, "2")
    to = tmp_path / "release"
    export_release(finished, to, frozenset({"decathlon"}), training=TrainingOptions("copy"), workers=1)
    task = to / "decathlon" / "Task01_Heart"
    table = json.loads((task / "dataset.json").read_text())
    assert table["modality"] == {"0": "CT"} and table["tensorImageSize"] == "3D" and table["test"] == []
    assert table["labels"] == {"0": "background"} | {str(s.id): s.name for s in finished.anatomy.structures}
    assert table["numTraining"] == len(table["training"]) == 2
    for entry, case in zip(table["training"], ("1", "2"), strict=True):
        absent = (4,) if case == "2" else ()
        assert (values(task / entry["label"]) == repaired(small_map(int(case), absent=absent))).all()
        assert nib.load(task / entry["image"]).shape == nib.load(task / entry["label"]).shape
    # Our own reader of such data sets gives the same labels.
    cohort = discover_cohort(task, anatomy=finished.anatomy)
    assert [case.image_path is not None for case in cohort] == [True, True]
    assert (cohort.read_labels(cohort["1"]).labels == repaired(small_map(1))).all()


def test_segments_have_their_snomed_code_and_their_status(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1", LA="reject")
    to = tmp_path / "release"
    export_release(finished, to, frozenset({"slicer"}), "accept", workers=1)
    tags: dict[str, dict[str, str]] = {}
    for case in ("1", "3"):
        image = sitk.ReadImage(str(to / "slicer" / f"{case}.seg.nrrd"))
        for number in range(12):
            parts = dict(t.split(":", 1) for t in image.GetMetaData(f"Segment{number}_Tags").split("|") if t)
            tags[f"{case} {image.GetMetaData(f'Segment{number}_Name')}"] = parts
    assert tags["1 LV"]["TerminologyEntry"] == (
        "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~"
        "SCT^87878005^Left ventricle~^^~Anatomic codes - DICOM master list~^^~^^"
    )
    status = {name: tag["Segmentation.Status"] for name, tag in tags.items()}
    # Decided, also where the original was kept; not changed; and changed, but not seen by anybody.
    assert status["1 LV"] == status["1 LA"] == status["1 Aorta"] == status["3 Aorta"] == "completed"
    assert status["3 LV"] == "inprogress"


def test_images_are_links_by_default_copies_or_left_out(finished: FinishedRun, tmp_path: Path) -> None:
    for case in ("1", "2", "3"):
        decide(finished, case)
    source, name = tmp_path / "images" / "1.nii.gz", Path("nnunet/Dataset001_Heart/imagesTr/1_0000.nii.gz")
    for images in ("link", "copy", "none"):
        export_release(finished, tmp_path / images, frozenset({"nnunet"}), training=TrainingOptions(images), workers=1)  # type: ignore[arg-type]
    assert (tmp_path / "link" / name).samefile(source)
    assert not (tmp_path / "copy" / name).samefile(source)
    assert (tmp_path / "copy" / name).read_bytes() == source.read_bytes()
    assert not (tmp_path / "none" / name).exists()
    assert "add your CTs" in (tmp_path / "none" / "README.md").read_text()
    assert "add your CTs" not in (tmp_path / "link" / "README.md").read_text()


def test_where_the_disk_allows_no_links_an_image_is_copied(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_here(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", not_here)
    decide(finished, "1")
    export_release(finished, tmp_path / "to", frozenset({"nnunet"}), workers=1)
    image = tmp_path / "to" / "nnunet" / "Dataset001_Heart" / "imagesTr" / "1_0000.nii.gz"
    source = tmp_path / "images" / "1.nii.gz"
    assert image.read_bytes() == source.read_bytes() and not image.samefile(source)


def test_a_workspace_of_itksnap_opens_label_map_and_image_with_names_and_colours(
    finished: FinishedRun, tmp_path: Path
) -> None:
    decide(finished, "1")
    to = tmp_path / "release"
    export_release(finished, to, frozenset({"itksnap"}), workers=1)
    text = (to / "itksnap" / "1.itksnap").read_text()
    assert str(tmp_path) not in text
    registry = ElementTree.fromstring(text)

    def entries(*keys: str) -> dict[str, str]:
        folder = registry
        for key in keys:
            (folder,) = [f for f in folder.findall("folder") if f.get("key") == key]
        return {str(e.get("key")): str(e.get("value")) for e in folder.findall("entry")}

    saved = Path(entries()["SaveLocation"])
    for layer, role, file in (
        ("000", "MainRole", "itksnap/1.ct.nii.gz"),
        ("001", "SegmentationRole", "labels/1.nii.gz"),
    ):
        found = entries("Layers", f"Layer[{layer}]")
        assert found["Role"] == role
        # ITK-SNAP looks for a file at the same place relative to the workspace.
        place = to / "itksnap" / os.path.relpath(found["AbsolutePath"], saved)
        assert place.resolve() == (to / file).resolve() and place.is_file()
    count = int(entries("IRIS", "LabelTable")["NumberOfElements"])
    labels = [entries("IRIS", "LabelTable", f"Element[{n}]") for n in range(count)]
    assert labels[0]["Label"] == "Clear Label" and count == 11
    assert labels[3] == {"Alpha": "255", "Color": "166 12 10", "Flags": "1 1", "Index": "3", "Label": "LV"}
    export_release(finished, tmp_path / "alone", frozenset({"itksnap"}), training=TrainingOptions("none"), workers=1)
    assert "/release/labels/1.nii.gz" in (tmp_path / "alone" / "itksnap" / "1.itksnap").read_text()
    assert "ct.nii.gz" not in (tmp_path / "alone" / "itksnap" / "1.itksnap").read_text()


def test_the_official_validator_of_bids_finds_no_error(finished: FinishedRun, tmp_path: Path) -> None:
    program = shutil.which("bids-validator-deno") or shutil.which(
        "bids-validator-deno", path=Path(sys.executable).parent
    )
    if program is None:
        pytest.skip("the validator of BIDS is not installed: pip install bids-validator-deno")
    for case in ("1", "2", "3"):
        decide(finished, case, LA="reject")
    export_release(finished, tmp_path / "release", frozenset({"bids"}), workers=1)
    words = [program, "--format", "json", str(tmp_path / "release" / "bids")]
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    table = json.loads(found.stdout)
    issues = table["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == [] and found.returncode == 0
    assert sorted(table["summary"]["subjects"]) == ["1", "2", "3"]
    # The validator does its work: a file whose name is not of BIDS is an error.
    (tmp_path / "release" / "bids" / "sub-1" / "anat" / "sub-1_heart.nii.gz").write_bytes(b"")
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode != 0 and "NOT_INCLUDED" in found.stdout


def test_descriptions_and_texts_of_a_release(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1", LA="reject")
    to = tmp_path / "release"
    export_release(finished, to, ALL, workers=1)
    table = json.loads((to / "nnunet" / "Dataset001_Heart" / "dataset.json").read_text())
    assert table["labels"]["background"] == 0 and table["labels"]["PV"] == 10
    assert (table["numTraining"], table["file_ending"], table["channel_names"]) == (1, ".nii.gz", {"0": "CT"})
    described = json.loads((to / "bids" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "Heartmend"
    rows = list(csv.DictReader((to / "bids" / "desc-repaired_dseg.tsv").open(), delimiter="\t"))
    assert rows[3] == {"index": "3", "name": "LV", "color": "#a60c0a"}
    assert '"Coronary"' in (to / "itksnap" / "heart.itksnap.txt").read_text()
    log = (to / "changelog" / "1.md").read_text()
    assert "| LA | original |" in log and "| LV | repaired |" in log and "a \\| b" in log
    readme = (to / "README.md").read_text()
    for text in (
        "| released | 1 |",
        "| LA | 2 | 0 | 0 | 1 | 0 |",
        "ImageCAS",
        "2510.06090",
        "heartchambers_highres",
        "heartmend",
    ):
        assert text in readme
    assert len((to / "decisions.csv").read_text().splitlines()) == 5


def test_names_and_notes_are_escaped(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    out = finished_run(tmp_path)
    (tmp_path / "labels" / "2.nii.gz").rename(tmp_path / "labels" / "<script>2.nii.gz")
    finished = FinishedRun.open(out)
    assert make_ready(finished, workers=1) == {}
    database, to = open_decisions(finished), tmp_path / "release"
    for case, choice in (("1", "accept"), ("3", "correct")):
        found = read_summary(finished, finished.cohort[case])
        database.write(
            [
                DecisionRequest(case, s, choice, f"{odd} [x](javascript:y) | z", found.stamp, 0)
                for s in found.changed_structures
            ],
            odd,
        )  # type: ignore[arg-type]
    export_release(finished, to, ALL, workers=1)
    texts = {p.relative_to(to).as_posix(): p.read_text() for p in to.rglob("*.md")}
    assert {"README.md", "changelog/1.md", "bids/README.md"} < texts.keys()
    assert any(name.startswith("to_correct/3/") for name in texts)
    for name, text in texts.items():
        assert "<script" not in text.replace("\\<script", "") and "](" not in text.replace("\\](", ""), name
    assert "\\<script\\>2: not repaired" in texts["README.md"] and "\\<script\\>alert(1)" in texts["changelog/1.md"]


def test_a_mesh_is_a_ply_file_in_ras(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "3")
    export_release(finished, tmp_path / "release", frozenset({"meshes"}), workers=1)
    head, body = (tmp_path / "release" / "meshes" / "3" / "LV.ply").read_bytes().split(b"end_header\n", 1)
    assert head.startswith(b"ply\nformat binary_little_endian 1.0\n") and b"comment SPACE=RAS" in head
    count = int(head.split(b"element vertex ")[1].split()[0])
    points = np.frombuffer(body, dtype=[("at", "<f4", 3), ("colour", "u1", 3)], count=count)
    case = finished.cohort["3"]
    where = np.argwhere(finished.after(case).labels == 3)
    middle = finished.after(case).grid.index_to_world(where).mean(axis=0)
    assert np.allclose(points["at"].mean(axis=0), middle, atol=1.5)
    assert (points["colour"] == (166, 12, 10)).all()


def test_flagged_cases_are_exported_as_folders_and_imported_again(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1", LV="correct")
    decide(finished, "2")
    plan = export_release(finished, tmp_path / "first", frozenset(), workers=1)
    assert ([p.case.id for p in plan.to_correct], [p.case.id for p in plan.release]) == (["1"], ["2"])
    folder = tmp_path / "first" / "to_correct" / "1"
    assert {p.name for p in folder.iterdir()} == {"1.seg.nrrd", "1.ct.nii.gz", "README.md"}
    assert "- LV: a \\| b (Anna)" in (folder / "README.md").read_text()
    # Correction: one more voxel of the LV, and one less of the RV, which is not flagged.
    grid = finished.before(finished.cohort["1"]).grid
    corrected = read_segments(folder / "1.seg.nrrd", grid, finished.anatomy)
    corrected[1, 1, 1] = 3
    corrected[tuple(np.argwhere(corrected == 5)[0])] = 0
    write_segments(corrected, grid, finished.anatomy, folder / "1.seg.nrrd")
    (imported,) = import_corrected(finished, tmp_path / "first" / "to_correct", "Ben")
    assert (imported.case, imported.structures, imported.error) == ("1", ("LV", "RV"), "")
    plan = export_release(finished, tmp_path / "second", ALL, workers=1)
    assert [p.case.id for p in plan.release] == ["1", "2"] and not plan.to_correct
    assert (values(tmp_path / "second" / "labels" / "1.nii.gz") == corrected).all()
    assert "| LV | corrected by hand |" in (tmp_path / "second" / "changelog" / "1.md").read_text()
    assert json.loads((tmp_path / "second/bids/sub-1/anat/sub-1_desc-repaired_dseg.json").read_text()) == {
        "Manual": True, "SpatialReference": "orig",
    }  # fmt: skip


def test_a_corrected_label_map_is_imported_and_an_unusable_one_is_an_error(
    finished: FinishedRun, tmp_path: Path
) -> None:
    source = tmp_path / "labels" / "3.nii.gz"
    labels = finished.after(finished.cohort["3"]).labels.copy()
    labels[5, 5, 5] = 8
    write_labels_like(labels, source, tmp_path / "back" / "3.nii.gz", OWN)
    write_labels_like(labels, source, tmp_path / "back" / "9.nii.gz", OWN)
    write_labels_like(
        finished.after(finished.cohort["1"]).labels, tmp_path / "labels/1.nii.gz", tmp_path / "back/2.nii.gz", OWN
    )
    imported = {m.case: m for m in import_corrected(finished, tmp_path / "back", "Ben")}
    assert imported["3"].structures == ("LAA",)
    assert "no case '9'" in imported["9"].error
    assert "not on the grid of" in imported["2"].error
    (case_plan,) = [p for p in plan_release(finished, open_decisions(finished), "reject").release if p.case.id == "3"]
    assert case_plan.choices == {"LA": "reject", "LV": "reject", "RA": "reject", "RV": "reject", "LAA": "corrected"}


def test_open_structures_can_be_accepted_or_rejected(finished: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none of its 3 cases is decided"):
        export_release(finished, tmp_path / "none", frozenset(), workers=1)
    export_release(finished, tmp_path / "accept", frozenset(), "accept", workers=1)
    export_release(finished, tmp_path / "reject", frozenset(), "reject", workers=1)
    assert (values(tmp_path / "accept" / "labels" / "3.nii.gz") == repaired(small_map(3))).all()
    assert (values(tmp_path / "reject" / "labels" / "3.nii.gz") == small_map(3)).all()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_a_decision_about_an_earlier_result_is_not_used(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "3")
    labels = finished.after(finished.cohort["3"]).labels.copy()
    labels[6, 6, 6] = 3
    write_labels_like(labels, tmp_path / "labels" / "3.nii.gz", finished.repaired_path(finished.cohort["3"]), OWN)
    assert make_ready(finished, workers=1) == {}
    assert "open" in plan_release(finished, open_decisions(finished)).left_out["3"]


def test_a_damaged_case_is_left_out_of_the_release(finished: FinishedRun, tmp_path: Path) -> None:
    for case in ("1", "2", "3"):
        decide(finished, case)
    path = finished.repaired_path(finished.cohort["2"])
    path.write_bytes(path.read_bytes()[:200])
    plan = export_release(finished, tmp_path / "release", ALL, workers=1)
    assert [p.case.id for p in plan.release] == ["1", "3"]
    assert "2.nii.gz" in plan.left_out["2"]
    assert not [p for p in (tmp_path / "release").rglob("*") if "2" in p.name.split(".")[0].split("_")[0].split("-")]
    assert "- 2: " in (tmp_path / "release" / "README.md").read_text()


def test_existing_files_are_not_overwritten(finished: FinishedRun, tmp_path: Path) -> None:
    decide(finished, "1")
    for to in (finished.run.output / "release", tmp_path / "labels" / "release", tmp_path / "images"):
        with pytest.raises(RunError, match="give another --output"):
            export_release(finished, to, frozenset(), workers=1)


def test_ids_that_differ_in_other_characters_only_are_two_subjects() -> None:
    names = ReleaseNames.for_cases(load_anatomy("heart"), ["a_1", "a-1", "a1", "_"])
    assert names.bids == {"a_1": "a1", "a-1": "a1x2", "a1": "a1x3", "_": "x"}


def test_the_export_does_not_import_the_web_server() -> None:
    code = (
        "import sys, heartmend.release.export, heartmend.release.corrections\n"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in ('starlette', 'uvicorn')"
        " or m in ('heartmend.review.app', 'heartmend.review.serve', 'heartmend.review.access')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_each_case_is_prepared_and_written_in_one_pass(tmp_path: Path) -> None:
    """Nothing was made ready before; a case that cannot be prepared is left out with its reason."""
    finished = FinishedRun.open(finished_run(tmp_path))
    finished.repaired_path(finished.cohort["2"]).write_bytes(b"damaged")
    steps = list[tuple[str, int, int, str]]()
    plan = export_release(
        finished, tmp_path / "release", frozenset(), "accept", workers=1,
        progress=CallbackProgress(lambda *step: steps.append(step)),
    )  # fmt: skip
    assert [p.case.id for p in plan.release] == ["1", "3"] and "2.nii.gz" in plan.left_out["2"]
    assert steps == [("export", 0, 3, ""), ("export", 1, 3, "1"), ("export", 2, 3, "2"), ("export", 3, 3, "3")]
    for case in ("1", "3"):
        assert (values(tmp_path / "release" / "labels" / f"{case}.nii.gz") == repaired(small_map(int(case)))).all()
