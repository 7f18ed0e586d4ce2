"""Tests of the preparation of cases while others are reviewed."""

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from heartmend.io.dataset import Case
from heartmend.review import case_cache, intake
from heartmend.review.access import Access
from heartmend.review.app import create_app
from heartmend.review.case_cache import by_urgency
from heartmend.review.session import Review
from heartmend.run_folder.finished import FinishedRun
from support.runs import finished_run


@pytest.fixture(autouse=True)
def head_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HEAD_START_SECONDS", 0.0)


def wait_until(review: Review, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(review.summaries) < count:
        assert time.monotonic() < deadline, "the cases are not prepared"
        time.sleep(0.05)


def client(review: Review) -> TestClient:
    return TestClient(create_app(review, Access("127.0.0.1", 8765)), base_url="http://127.0.0.1:8765")


def test_the_most_urgent_case_is_ready_first_and_each_is_sent_once(tmp_path: Path) -> None:
    """By the change logs alone: a failed acceptance test (case 2), a warning (3), none (1)."""
    finished = FinishedRun.open(finished_run(tmp_path))
    assert [case.id for case in by_urgency(finished, finished)] == ["2", "3", "1"]
    review = Review(finished, "Anna", intake_workers=1)
    page = client(review)
    run = page.get("/api/run").json()
    assert (run["cases"], run["added"], run["waiting"]) == ([], 0, 3)
    review.start()
    wait_until(review, 3)
    found = page.get("/api/cases?after=0").json()
    assert ([c["case"] for c in found["cases"]], found["added"]) == (["2", "3", "1"], 3)
    assert [c["case"] for c in page.get("/api/cases?after=2").json()["cases"]] == ["1"]
    nothing = {"cases": [], "added": 3, "waiting": 0, "left_out": {}, "states": {}}
    assert page.get("/api/cases?after=3").json() == nothing
    assert len(page.get("/api/run").json()["cases"]) == 3
    assert page.get("/api/cases?after=x").status_code == 400


def test_the_others_wait_until_the_page_has_the_first_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "HEAD_START_SECONDS", 1000.0)
    review = Review(FinishedRun.open(finished_run(tmp_path)), "Anna", intake_workers=1)
    page = client(review)
    review.start()
    wait_until(review, 1)
    time.sleep(0.5)
    assert page.get("/api/cases?after=0").json()["waiting"] == 2
    assert page.get("/api/cases/2/image").status_code == 200
    wait_until(review, 3)
    # What was prepared before waits for nothing.
    again = Review(FinishedRun.open(review.finished.run.output), "Anna", intake_workers=1)
    again.start()
    wait_until(again, 3)


def test_the_surfaces_follow_and_are_made_at_once_for_a_case_that_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = FinishedRun.open(finished_run(tmp_path))
    made, go_on = list[str](), threading.Event()

    def later(finished: FinishedRun, cases: Iterable[Case], workers: int) -> Iterator[tuple[Case, str]]:
        go_on.wait(60)
        for case, error in case_cache.prepare_each_surfaces(finished, cases, workers):
            made.append(case.id)
            yield case, error

    monkeypatch.setattr(intake, "prepare_each_surfaces", later)
    review = Review(finished, "Anna", intake_workers=1)
    review.start()
    wait_until(review, 3)
    assert not finished.run.has_review_surfaces("3")
    opened = client(review).get("/api/cases/3/surfaces")
    assert opened.status_code == 200 and len(opened.content) > 1000 and finished.run.has_review_surfaces("3")
    go_on.set()
    assert review.intake is not None
    review.intake._thread.join(60)
    assert made == ["2", "3", "1"] and all(finished.run.has_review_surfaces(id) for id in "123")
    assert finished.run.read_review_volume("3", "surfaces")[:2] == b"\x1f\x8b"


def test_a_case_that_cannot_be_prepared_does_not_stop_the_others(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    finished = FinishedRun.open(out)
    (out / "labels" / "2.nii.gz").write_bytes(b"damaged")
    review = Review(finished, "Anna", intake_workers=1)
    review.start()
    wait_until(review, 2)
    assert review.intake is not None
    review.intake._thread.join(60)
    found = client(review).get("/api/cases?after=0").json()
    assert ([c["case"] for c in found["cases"]], found["waiting"]) == (["3", "1"], 0)
    assert found["left_out"].keys() == {"2"} and "2.nii.gz" in found["left_out"]["2"]


def test_a_case_that_a_run_in_progress_repairs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "RESCAN_SECONDS", 0.1)
    out = finished_run(tmp_path)
    result, later = out / "labels" / "3.nii.gz", tmp_path / "3.nii.gz"
    result.rename(later)
    review = Review(FinishedRun.open(out), "Anna", intake_workers=1)
    assert review.intake is not None and review.intake.waiting == 3
    review.start()
    wait_until(review, 2)
    found = client(review).get("/api/cases?after=0").json()
    assert ([c["case"] for c in found["cases"]], found["waiting"], found["left_out"]) == (["2", "1"], 1, {})
    shutil.move(later, result)
    wait_until(review, 3)
    assert [c["case"] for c in client(review).get("/api/cases?after=2").json()["cases"]] == ["3"]


def test_a_case_whose_files_were_removed_while_it_was_prepared_is_prepared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_each, calls = intake.prepare_each, list[str]()

    def interrupted(finished: FinishedRun, cases: Iterable[Case], workers: int) -> Iterator[tuple[Case, str]]:
        for case, error in prepare_each(finished, cases, workers):
            calls.append(case.id)
            yield case, error if calls.count("3") != 1 or case.id != "3" else "a file was removed"

    monkeypatch.setattr(intake, "prepare_each", interrupted)
    review = Review(FinishedRun.open(finished_run(tmp_path)), "Anna", intake_workers=1)
    review.start()
    wait_until(review, 3)
    assert calls == ["2", "3", "1", "3"] and review.intake is not None and review.intake.failed == {}
