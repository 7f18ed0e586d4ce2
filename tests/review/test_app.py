"""Tests of the web application of the review: access, data, and decisions."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from heartmend.errors import ConfigError, RunError
from heartmend.review.access import POLICY, Access
from heartmend.review.app import create_app
from heartmend.review.case_cache import make_ready
from heartmend.review.page_data import Crop
from heartmend.review.session import Review
from heartmend.run_folder.finished import FinishedRun
from support.runs import finished_run

LOCAL = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = finished_run(tmp_path_factory.mktemp("run"), images=True)
    assert make_ready(FinishedRun.open(out), workers=1) == {}
    return out


@pytest.fixture
def review(run_folder: Path) -> Review:
    found = Review(FinishedRun.open(run_folder), "Anna")
    found.decisions.path.unlink()
    return Review(FinishedRun.open(run_folder), "Anna")


@pytest.fixture
def page(review: Review) -> TestClient:
    return TestClient(create_app(review, Access("127.0.0.1", 8765)), base_url=LOCAL)


def entry(page: TestClient, case: str = "1", structure: str = "LV", choice: str = "accept", follows: int = 0) -> dict:
    stamp = next(c["stamp"] for c in page.get("/api/run").json()["cases"] if c["case"] == case)
    return {"case": case, "structure": structure, "choice": choice, "note": "", "stamp": stamp, "follows": follows}


def test_cases_are_sorted_by_review_priority(page: TestClient) -> None:
    """A failed acceptance test (20) before a warning (10) before none."""
    run = page.get("/api/run").json()
    assert [c["case"] for c in run["cases"]] == ["2", "3", "1"]
    assert run["reviewer"] == "Anna"
    assert {s["name"]: s["severity"] for s in run["cases"][0]["structures"]}["LV"] == "warning"
    change, *surfaces = page.get("/api/cases/1").json()["changes"]
    assert (change["rule"], change["structure"], len(change["point_mm"])) == ("holes", "LV", 3)
    # What no entry of the log explains: the far component, a slice of the RV, and a voxel from RA to LA.
    assert {(c["rule"], c["structure"], c["is_flagged"]) for c in surfaces} == {
        ("surface", name, False) for name in ("LV", "RV", "LA")
    }


def test_label_maps_and_image_have_the_same_shape(page: TestClient) -> None:
    for case in ("1", "2"):
        shape = page.get(f"/api/cases/{case}").json()["shape"]
        voxels = shape[0] * shape[1] * shape[2]
        assert len(page.get(f"/api/cases/{case}/maps").content) == 2 * voxels
        image = page.get(f"/api/cases/{case}/image").content
        assert len(image) == 352 + voxels
        # 300 HU are step 133, -80 are 70.
        assert set(image[352:]) == {133, 70}
        assert page.get(f"/api/cases/{case}/surfaces").status_code == 200


def test_probabilities_of_errors_are_sent_where_the_run_has_them(page: TestClient, review: Review) -> None:
    has = {c["case"]: c["has_uncertainty"] for c in page.get("/api/run").json()["cases"]}
    assert has == {"1": False, "2": False, "3": False}
    missing = page.get("/api/cases/1/uncertainty")
    assert missing.status_code == 404 and "--uncertainty" in missing.json()["error"]
    finished, case = review.finished, review.cases["2"]
    grid = finished.before(case).grid
    percent = np.random.default_rng(0).integers(0, 100, grid.shape).astype(np.uint8)
    finished.run.write_uncertainty("2", percent, grid)
    try:
        again = TestClient(create_app(Review(finished), Access("127.0.0.1", 8765)), base_url=LOCAL)
        assert [c["has_uncertainty"] for c in again.get("/api/run").json()["cases"]] == [True, False, False]
        sent = again.get("/api/cases/2/uncertainty").content
        displayed = Crop.from_grid(review.summaries["2"].grid, grid).apply(percent)
        assert sent == displayed.tobytes(order="F")
    finally:
        finished.run.uncertainty_path("2").unlink()


def test_a_decision_is_in_the_database_when_the_response_is_sent(page: TestClient, review: Review) -> None:
    response = page.post("/api/decisions", json={"reviewer": "Anna", "entries": [entry(page)]})
    assert response.status_code == 200
    (sent,) = response.json()["decisions"]
    (stored,) = review.decisions.current()
    assert (sent["number"], sent["choice"], sent["reviewer"]) == (stored.number, "accept", "Anna")
    assert page.get(f"/api/decisions?since={stored.number}").json() == {"decisions": [], "states": {}}
    restored = page.post("/api/undo", json={"reviewer": "Anna"}).json()["decisions"]
    assert [d["choice"] for d in restored] == ["open"]


def test_a_change_is_decided_by_itself_and_the_states_follow(page: TestClient, review: Review) -> None:
    changes = page.get("/api/cases/1").json()["changes"]
    hole = next(c for c in changes if c["rule"] == "holes")
    one = entry(page, choice="reject") | {"change": hole["key"]}
    response = page.post("/api/decisions", json={"reviewer": "Anna", "entries": [one]}).json()
    assert response["states"]["1"]["case"] == "begun"
    wrong = one | {"change": "c0123456789ab"}
    assert page.post("/api/decisions", json={"reviewer": "Anna", "entries": [wrong]}).status_code == 400
    accept_rest = [entry(page, structure=name) for name in ("LV", "LA", "RA", "RV")]
    response = page.post("/api/decisions", json={"reviewer": "Anna", "entries": accept_rest}).json()
    assert response["states"]["1"] == {
        "case": "decided", "structures": response["states"]["1"]["structures"] | {"LV": "mixed", "LA": "accepted"}
    }  # fmt: skip
    undone = page.post("/api/undo", json={"reviewer": "Anna"}).json()
    assert {d["structure"] for d in undone["undone"]} == {"LV", "LA", "RA", "RV"}
    assert undone["states"]["1"]["case"] == "begun"


def preview(page: TestClient, operations: list[dict]) -> tuple[dict, bytes]:
    body = page.post("/api/cases/1/edit", json={"operations": operations}).content
    length = int.from_bytes(body[:4], "little")
    return json.loads(body[4 : 4 + length]), body[4 + length :]


def test_a_correction_is_previewed_and_saved(page: TestClient, review: Review) -> None:
    (case,) = [c for c in page.get("/api/run").json()["cases"] if c["case"] == "1"]
    point = next(s["point_mm"] for s in case["structures"] if s["name"] == "LV")
    step = {"tool": "paint", "structure": "RV", "points_mm": [point], "radius_mm": 5.0}
    head, ids = preview(page, [step])
    assert head["structures"]["RV"][0] > 0.3 and head["structures"]["RV"][1] == 0
    sides = [high - low for low, high in head["box"]]
    assert len(ids) == sides[0] * sides[1] * sides[2] and max(sides) <= 7
    assert preview(page, []) == ({"box": [[0, 0]] * 3, "structures": {}}, b"")
    saved = page.post("/api/cases/1/corrected", json={"operations": [step], "reviewer": "Anna"}).json()
    assert {d["choice"] for d in saved["decisions"]} == {"corrected"}
    assert {"RV"} <= {d["structure"] for d in saved["decisions"]} <= {"RV", "LV", "LA", "Myocardium"}
    stale = page.post("/api/cases/1/corrected", json={"operations": [step], "reviewer": "Ben"})
    assert (stale.status_code, "Anna" in stale.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    "changed",
    [
        {"tool": "explode"}, {"structure": "spleen"}, {"radius_mm": 0.0}, {"radius_mm": 1e9}, {"points_mm": [[1, 2]]},
        {"points_mm": []}, {"points_mm": [[1e9, 0, 0]]}, {"plane": "oblique"}, {"more": 1}, {"tool": "bridge"},
        {"tool": "interpolate"}, {"points_mm": [[float(n), 0.0, 0.0] for n in range(5000)]},
    ],
)  # fmt: skip
def test_an_operation_that_cannot_be_applied_gets_status_400(page: TestClient, changed: dict) -> None:
    step = {"tool": "paint", "structure": "RV", "points_mm": [[0.0, 0.0, 0.0]], "radius_mm": 5.0} | changed
    response = page.post("/api/cases/1/edit", json={"operations": [step]})
    assert response.status_code == 400 and 0 < len(response.json()["error"]) < 1000


def test_a_refit_needs_a_command_and_three_corrected_cases(page: TestClient) -> None:
    state = page.get("/api/refit").json()
    assert state == {"state": "idle", "message": "", "corrected": 0, "needed": 3, "is_possible": False}
    refused = page.post("/api/refit", json={})
    assert (refused.status_code, "heartmend refit OUT" in refused.json()["error"]) == (400, True)


def test_a_conflict_has_status_409_and_returns_the_current_decisions(page: TestClient, review: Review) -> None:
    page.post("/api/decisions", json={"reviewer": "Anna", "entries": [entry(page, choice="reject")]})
    second = page.post(
        "/api/decisions", json={"reviewer": "Ben", "entries": [entry(page), entry(page, structure="RV")]}
    )
    assert second.status_code == 409
    assert [(d["reviewer"], d["choice"]) for d in second.json()["newer"]] == [("Anna", "reject")]
    assert [(d.structure, d.reviewer) for d in review.decisions.current()] == [("LV", "Anna")]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"case": "9"}, 400),
        ({"case": "../1"}, 400),
        ({"structure": "spleen"}, 400),
        ({"choice": "corrected"}, 400),
        ({"choice": 1}, 400),
        ({"stamp": "unknown_labels"}, 400),
        ({"note": "x" * 2001}, 400),
        ({"note": "a\0b"}, 400),
        ({"follows": -1}, 400),
        ({"more": 1}, 400),
    ],
)
def test_an_invalid_request_is_not_written(page: TestClient, review: Review, changed: dict, status: int) -> None:
    response = page.post("/api/decisions", json={"reviewer": "Anna", "entries": [entry(page) | changed]})
    assert response.status_code == status, response.text
    assert review.decisions.current() == []


@pytest.mark.parametrize(
    "path",
    [
        "/api/cases/9", "/api/cases/9/maps", "/api/cases/..%2f..%2frun.json/maps", "/api/cases/%2e%2e/maps",
        "/api/cases/1%00/image", "/static/..%2f..%2fapp.py", "/static/../app.py", "/static//etc/passwd",
        "/api/cases/1/../../run.json", "/run.json", "/api/cases/", "/api/run/",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_served_folders(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404


def test_other_hosts_and_origins_are_rejected(page: TestClient, review: Review) -> None:
    for host in ("evil.example", "127.0.0.1:1", "127.0.0.1", "evil.example:8765", ""):
        assert page.get("/api/run", headers={"host": host}).status_code == 421
    for host in ("localhost:8765", "LOCALHOST:8765"):
        assert page.get("/api/run", headers={"host": host}).status_code == 200
    body = {"reviewer": "Anna", "entries": [entry(page)]}
    assert page.post("/api/decisions", json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert page.post("/api/decisions", json=body, headers={"origin": "null"}).status_code == 403
    assert page.post("/api/decisions", content="{}", headers={"content-type": "text/plain"}).status_code == 415
    assert review.decisions.current() == []
    assert page.post("/api/decisions", json=body, headers={"origin": LOCAL}).status_code == 200


def test_every_response_has_the_content_security_policy(page: TestClient) -> None:
    for path in ("/", "/api/run", "/nothing", "/static/page.css"):
        headers = page.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert "http" not in POLICY and "unsafe" not in POLICY
    assert page.get("/", headers={"host": "evil.example"}).headers["content-security-policy"] == POLICY


def test_the_size_of_a_request_is_limited(page: TestClient) -> None:
    assert (
        page.post("/api/decisions", content=b" " * 1_100_000, headers={"content-type": "application/json"}).status_code
        == 413
    )
    assert page.get("/api/decisions?since=1e9").status_code == 400


def test_a_server_with_a_token_rejects_requests_without_it(review: Review) -> None:
    access = Access.for_address("192.0.2.7", 80)
    assert len(access.token) >= 16 and access.token not in repr(access)
    page = TestClient(create_app(review, access), base_url="http://192.0.2.7:80", follow_redirects=False)
    own = {"host": "192.0.2.7:80"}
    assert page.get("/", headers=own).status_code == 401
    assert page.get("/api/run", headers=own).status_code == 401
    assert page.get("/static/page.css", headers=own).status_code == 401
    assert page.get("/?token=wrong", headers=own).status_code == 401
    assert page.get("/api/run", headers=own | {"authorization": f"Bearer {access.token}"}).status_code == 200
    opened = page.get(f"/?token={access.token}", headers=own)
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    cookie = opened.headers["set-cookie"].split(";")[0]
    assert page.get("/api/run", headers=own | {"cookie": cookie}).status_code == 200
    assert page.get("/api/run", headers={"host": "localhost:80", "cookie": cookie}).status_code == 421


def test_addresses_and_their_tokens() -> None:
    assert Access.for_address("127.0.0.1", 1).token == ""
    assert Access.for_address("::1", 1).url == "http://[::1]:1/"
    assert Access.for_address("localhost", 1).token == ""
    with pytest.raises(ConfigError, match="every address"):
        Access.for_address("0.0.0.0", 1)
    with pytest.raises(ConfigError, match="at least 16"):
        Access.for_address("127.0.0.1", 1, "short")


def test_the_table_of_decisions_is_exported_and_imported(page: TestClient, review: Review) -> None:
    page.post("/api/decisions", json={"reviewer": "Anna", "entries": [entry(page)]})
    text = page.get("/api/decisions.csv").text
    assert page.post("/api/decisions.csv", content=text, headers={"content-type": "text/csv"}).json()["known"] == 1
    broken = page.post("/api/decisions.csv", content="case,nothing\n", headers={"content-type": "text/csv"})
    assert (broken.status_code, "lacks the columns" in broken.json()["error"]) == (400, True)


HEAD = b"case,structure,choice,note,reviewer,decided_at,stamp\n"
ROW = b"1,LV,accept,,Ben,2026-01-01T00:00:00Z,s\n"


@pytest.mark.parametrize(
    "table",
    [
        b"", b"\0", HEAD + ROW + ROW, HEAD + ROW + b"9,LV,accept,,Ben,2026-01-01T00:00:00Z,s\n",
        HEAD + ROW + b"1,RV,accept,,Ben,9999-01-01T00:00:00Z,s\n", HEAD + ROW + b"1,RV,accept,,Ben,0,s\n",
        HEAD + ROW + b"1,RV,accept," + b"x" * 200_000 + b",Ben,2026-01-01T00:00:00Z,s\n",
        HEAD + ROW + b"1,RV,accept,a\rb,Ben,2026-01-01T00:00:00Z,s\n", (HEAD + ROW).replace(b"\n", b"\r"),
        HEAD + ROW + b"1,RV,accept,a\0b,Ben,2026-01-01T00:00:00Z,s\n", HEAD + ROW + b'1,"RV', HEAD + ROW + b"\xff\n",
        b"\xff\xfe" + (HEAD + ROW).decode().encode("utf-16-le"), HEAD + ROW * 400_000,
        b"colour," + HEAD + b"red," + ROW, HEAD + ROW + b"1,RV\n", HEAD + ROW + b"," * 100_000,
    ],
)  # fmt: skip
def test_a_table_with_an_error_gets_status_400_and_writes_nothing(
    page: TestClient, review: Review, table: bytes
) -> None:
    response = page.post("/api/decisions.csv", content=table, headers={"content-type": "text/csv"})
    assert response.status_code == 400
    assert 0 < len(response.json()["error"]) < 3000
    assert review.decisions.history() == []
    good = page.post("/api/decisions.csv", content=b"\xef\xbb\xbf" + HEAD + ROW, headers={"content-type": "text/csv"})
    assert good.json() == {"written": 1, "known": 0, "older": 0}


def test_a_structure_that_is_decided_twice_in_a_request_is_not_written(page: TestClient, review: Review) -> None:
    entries = [entry(page, structure="RV"), entry(page), entry(page, choice="reject")]
    response = page.post("/api/decisions", json={"reviewer": "Anna", "entries": entries})
    assert response.status_code == 400
    assert response.json()["error"].startswith("decided more than once: 1 LV (entries 2, 3)")
    assert review.decisions.history() == []


POSTS = ["/api/decisions", "/api/undo", "/api/decisions.csv", "/api/cases/1/edit", "/api/cases/1/corrected"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["/api/decisions", "/api/undo", "/api/decisions.csv", "/api/cases/1/edit", "/api/cases/1/corrected"]
    ),
    st.binary(max_size=200),
    st.booleans(),
)
def test_any_body_gets_an_answer(page: TestClient, path: str, body: bytes, has_head: bool) -> None:
    kind = "text/csv" if path.endswith("csv") else "application/json"
    head = HEAD if kind == "text/csv" else b'{"reviewer": "A", "entries": ['
    response = page.post(path, content=(head if has_head else b"") + body, headers={"content-type": kind})
    assert response.status_code in (200, 400, 409)


def test_a_file_that_cannot_be_read_is_an_error_with_its_message(
    page: TestClient, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise RunError("001.nii.gz: is missing")

    monkeypatch.setattr("heartmend.review.case_endpoints.read_image", fail)
    response = page.get("/api/cases/1/image")
    assert (response.status_code, response.json()) == (500, {"error": "001.nii.gz: is missing"})
