"""Tests of the report in a headless Chromium."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from heartmend.report.build import write_report
from heartmend.report.changes import CaseSelection
from heartmend.run_folder.finished import FinishedRun

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(finished_out: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Open a report in Chromium; `loaded` and `errors` of the page are its requests and errors."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install playwright")
    where = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if where is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("page")
    write_report(FinishedRun.open(finished_out), folder, selection=CaseSelection(worst=1, most_changed=0), workers=1)
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1100, "height": 900})
        shown.set_default_timeout(120_000)
        shown.loaded, shown.errors = [], []
        shown.on("request", lambda request: shown.loaded.append(request.url))
        shown.on("pageerror", lambda error: shown.errors.append(str(error)))
        shown.on("console", lambda message: shown.errors.append(message.text) if message.type == "error" else None)
        shown.on("dialog", lambda dialog: shown.errors.append(dialog.message))
        shown.goto((folder / "report.html").as_uri())
        yield shown
        browser.close()


def picture(page: Any, path: Path) -> np.ndarray:
    page.locator(".stage").screenshot(path=path)
    return imread(path)[..., :3]


def picture_where(condition: Callable[[np.ndarray], bool], page: Any, path: Path) -> np.ndarray:
    """Wait until the surfaces are still and a condition is true of their picture; returns the picture."""
    last, deadline = picture(page, path), time.monotonic() + 120
    while True:
        page.wait_for_timeout(200)
        now = picture(page, path)
        if np.array_equal(last, now) and condition(now):
            return now
        assert time.monotonic() < deadline, f"{path.name}: the condition was not met"
        last = now


def coloured(part: np.ndarray) -> float:
    """Share of coloured pixels."""
    return float((np.ptp(part, axis=2) > 0.25).mean())


def test_the_surfaces_can_be_rotated_and_hidden(page: Any, tmp_path: Path) -> None:
    page.locator("figure.solid").scroll_into_view_if_needed()
    page.wait_for_selector("figure.solid.live")

    def both_halves_are_coloured(image: np.ndarray) -> bool:
        half = image.shape[1] // 2
        return coloured(image[:, :half]) > 0.05 and coloured(image[:, half:]) > 0.05

    front = picture_where(both_halves_are_coloured, page, tmp_path / "front.png")
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 120, steps=5)
    page.mouse.up()
    picture_where(lambda image: np.abs(image - front).mean() > 0.01, page, tmp_path / "rotated.png")
    page.locator(".home").click()
    picture_where(lambda image: np.abs(image - front).mean() < 0.003, page, tmp_path / "home.png")
    for box in page.locator(".parts input").all():
        box.uncheck()
    picture_where(lambda image: coloured(image) < 0.002, page, tmp_path / "empty.png")


def test_a_cut_shows_the_inside_and_the_cube_turns(page: Any, tmp_path: Path) -> None:
    page.locator("figure.solid").scroll_into_view_if_needed()
    page.wait_for_selector("figure.solid.live")
    for box in page.locator(".parts input").all():
        box.check()
    whole = picture_where(lambda image: coloured(image) > 0.05, page, tmp_path / "whole.png")
    assert page.locator(".depth").is_hidden()
    page.select_option(".cut", "A")
    halved = picture_where(lambda image: np.abs(image - whole).mean() > 0.005, page, tmp_path / "halved.png")
    # A closed cut: the flat colour of a cut face, a mixture of the structure's colour with white, is on many pixels.
    colours, counts = np.unique((halved * 255).astype(int).reshape(-1, 3), axis=0, return_counts=True)
    faces = [count for colour, count in zip(colours, counts, strict=True) if np.ptp(colour) > 40]
    assert max(faces) > 0.01 * counts.sum()
    page.locator(".depth input").fill("100")
    picture_where(lambda image: coloured(image) < 0.002, page, tmp_path / "away.png")
    page.select_option(".cut", "")
    picture_where(lambda image: np.abs(image - whole).mean() < 0.003, page, tmp_path / "closed.png")
    turned = page.locator(".cube").get_attribute("style")
    page.locator(".stage").press("ArrowLeft")
    assert page.locator(".cube b").count() == 6 and page.locator(".cube").get_attribute("style") != turned


def test_the_page_loads_no_other_file_and_has_no_error(page: Any) -> None:
    assert page.title()
    assert page.errors == []
    assert [url for url in page.loaded if not url.startswith("data:")] == [page.url]


def test_the_verdict_is_on_the_first_screen(page: Any) -> None:
    page.evaluate("scrollTo(0, 0)")
    box = page.locator(".verdict").bounding_box()
    assert box["y"] + box["height"] < 900 and "3 of 3 cases repaired" in page.locator(".verdict").inner_text()


def test_the_page_fits_a_narrow_window(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1100, "height": 900})


def test_the_print_version_shows_a_picture_of_the_surfaces(page: Any) -> None:
    page.emulate_media(media="print")
    assert page.locator(".still").is_visible() and not page.locator(".stage").is_visible()
    assert page.pdf()[:5] == b"%PDF-"
    page.emulate_media(media="screen")
