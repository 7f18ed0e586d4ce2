"""Tests of a run opened in Python: typed records, read when they are used, and review decisions."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import heartmend as hm
from heartmend.errors import BadInputError, ConfigError, HeartmendError
from heartmend.pipelines.open_run import OpenRun
from heartmend.repair.change_log import ChangeLog
from heartmend.review.access import Access
from heartmend.review.app import create_app
from heartmend.review.case_cache import make_ready
from heartmend.review.plan import plan_release
from heartmend.review.session import Review
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun
from support.runs import finished_run, repaired


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("run"), images=True)


@pytest.fixture
def run(tmp_path: Path) -> OpenRun:
    """A run of its own, without decisions."""
    return hm.open_run(finished_run(tmp_path))


def test_a_run_has_its_cases_in_the_order_of_their_ids(out: Path) -> None:
    run = hm.open_run(str(out))
    assert run.ids == [case.id for case in run] == ["1", "2", "3"]
    assert (len(run), "2" in run, "9" in run) == (3, True, False)
    assert run.anatomy.name == "heart"
    assert run.skipped == {}
    assert repr(run) == f"OpenRun({str(out)!r}: 3 cases)"


def test_a_case_has_typed_records(out: Path) -> None:
    case = hm.open_run(out)["1"]
    assert (case.labels.labels == repaired(case.original.labels)).all()
    assert isinstance(case.changes, ChangeLog)
    assert [c.rule for c in case.changes.changes] == ["holes"]
    assert case.changes.table().to_pandas()["structure"].tolist() == ["LV"]
    assert case.image is not None
    assert case.image.shape == case.labels.labels.shape
    assert case.path == out / "labels" / "1.nii.gz"
    assert case.original_path == out.parent / "labels" / "1.nii.gz"
    assert case.changed_structures == ("LA", "LV", "RA", "RV")


def test_numpy_accepts_a_label_volume(out: Path) -> None:
    case = hm.open_run(out)["1"]
    assert np.unique(case.labels).tolist() == [0, 2, 3, 4, 5]
    assert np.count_nonzero(np.asarray(case.labels) != np.asarray(case.original)) > 0


def test_records_are_read_when_they_are_used(run: OpenRun) -> None:
    case = run["1"]
    case.path.unlink()
    assert case.changes.case_id == "1"
    with pytest.raises(BadInputError, match=r"1\.nii\.gz"):
        _ = case.labels


def test_a_case_is_drawn_with_its_truth(out: Path) -> None:
    case = hm.open_run(out)["1"]
    figure = case.figure(truth=case.original_path, title="Before and after")
    assert len(figure.axes) == 9
    assert "Before and after" in {text.get_text() for text in figure.texts}
    with pytest.raises(BadInputError, match="truth: has the shape"):
        case.figure(truth=np.zeros((2, 2, 2), dtype=np.uint8))


def test_unknown_cases_and_folders_are_errors_of_the_tree(out: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="9"):
        hm.open_run(out)["9"]
    with pytest.raises(hm.RunError, match="is no run"):
        hm.open_run(tmp_path)


def test_a_decision_is_valid_for_the_review_page_and_for_the_release(run: OpenRun) -> None:
    decision = run.decide("1", "lv", "reject", note="too thin", reviewer="A. Radiologist")
    assert (decision.case, decision.structure, decision.choice, decision.note, decision.reviewer) == (
        "1", "LV", "reject", "too thin", "A. Radiologist",
    )  # fmt: skip
    finished = FinishedRun.open(run.output)
    assert make_ready(finished, workers=1) == {}
    page = TestClient(
        create_app(Review(finished), Access("127.0.0.1", 8765)), base_url="http://127.0.0.1:8765"
    )  # fmt: skip
    shown = page.get("/api/decisions").json()["decisions"]
    stamps = {case["case"]: case["stamp"] for case in page.get("/api/run").json()["cases"]}
    assert [(d["case"], d["structure"], d["choice"], d["stamp"]) for d in shown] == [("1", "LV", "reject", stamps["1"])]
    plan = plan_release(finished, open_decisions(finished), "accept")
    assert {p.case.id: p.choices["LV"] for p in plan.release} == {"1": "reject", "2": "accept", "3": "accept"}


def test_the_page_and_python_have_the_same_changed_structures(run: OpenRun) -> None:
    finished = FinishedRun.open(run.output)
    make_ready(finished, workers=1)
    for summary in Review(finished).summaries.values():
        assert run[summary.case].changed_structures == summary.changed_structures


def test_a_second_decision_replaces_the_first(run: OpenRun) -> None:
    first = run.decide("2", "RV", "accept", reviewer="A")
    second = run.decide("2", "RV", "correct", reviewer="B")
    assert second.number > first.number
    assert run.decisions() == [second]


def test_a_decision_has_the_name_of_the_user_by_default(run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    assert run.decide("1", "LV", "accept").reviewer == "anna"


@pytest.mark.parametrize(
    ("case", "structure", "choice", "error", "message"),
    [
        ("9", "LV", "accept", BadInputError, "9"),
        ("1", "spleen", "accept", ConfigError, "spleen"),
        ("1", "LV", "yes", BadInputError, "choice='yes': give one of accept, reject, correct, open"),
        ("1", "LV", "corrected", BadInputError, "give one of accept, reject, correct, open"),
        ("1", "Myo", "accept", BadInputError, "Myocardium did not change"),
    ],
)
def test_a_decision_that_is_not_valid_is_an_error(
    run: OpenRun, case: str, structure: str, choice: str, error: type[HeartmendError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run.decide(case, structure, choice, reviewer="A")  # type: ignore[arg-type]
    assert run.decisions() == []
