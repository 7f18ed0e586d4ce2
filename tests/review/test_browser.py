"""The page in a headless Chromium: from the first key to the exported maps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from heartmend.release import export_release
from heartmend.review import Decisions, Subject
from support.browser import Server, chromium, opened
from support.runs import finished_run

SECONDS = 1000


@pytest.fixture
def out(tmp_path: Path) -> Path:
    chromium()
    return finished_run(tmp_path, images=True)


@contextmanager
def on_page(server: Server) -> Iterator[tuple[Any, list[str]]]:
    """A page of the review, and what went wrong on it: script errors, refused content, requests to others."""
    wrong: list[str] = []
    with opened() as context:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith((server.url, "data:", "blob:")) else wrong.append(r.url))
        begin(page, server)
        yield page, wrong


def begin(page: Any, server: Server) -> None:
    page.goto(server.url)
    page.wait_for_selector("body[data-shown]", timeout=60 * SECONDS)


def shown(page: Any, case: str) -> None:
    page.wait_for_selector(f"body[data-shown='{case}']", timeout=60 * SECONDS)


def saved(page: Any, what: str) -> None:
    """Wait until the page says that the selected or a named structure has a decision."""
    page.wait_for_selector(f"#structures tr:has-text('{what}')", timeout=20 * SECONDS)
    page.wait_for_function("document.getElementById('saved').textContent === 'saved'", timeout=20 * SECONDS)


def select(page: Any, structure: str) -> None:
    """Choose a structure by the arrow keys."""
    for _ in range(10):
        if page.locator(f"#structures tr.selected[data-structure='{structure}']").count():
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{structure} cannot be chosen")


def choices(out: Path) -> dict[tuple[str, str], str]:
    base = Decisions(out / "run" / "review" / "decisions.sqlite")
    return {(d.case, d.structure): d.choice for d in base.current()}


def test_a_review_by_keyboard_survives_a_kill_and_is_what_is_exported(out: Path, tmp_path: Path) -> None:
    with Server(out) as server, on_page(server) as (page, wrong):
        shown(page, "2")
        # Case 2: keep the LV, whose mend was not taken; accept the rest; on to case 3.
        select(page, "LV")
        page.keyboard.press("k")
        saved(page, "kept")
        page.keyboard.press("A")
        shown(page, "3")
        # Case 3: accept all, take that back, accept again; on to case 1.
        page.keyboard.press("A")
        shown(page, "1")
        page.keyboard.press("u")
        shown(page, "3")
        assert {choices(out)["3", structure] for structure in ("LV", "RV")} == {"open"}
        page.keyboard.press("A")
        shown(page, "1")
        page.keyboard.press("e")
        page.keyboard.type("apex: a=b?")
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('saved').textContent === 'saved'")
        server.kill()
        before = choices(out)
        server.start()
        begin(page, server)
        assert page.locator("#counts").text_content() == "2 of 3 decided"
        assert choices(out) == before
        shown(page, "1")
        page.keyboard.press("K")
        page.wait_for_selector("#counts:has-text('3 of 3 decided')", timeout=20 * SECONDS)
        assert wrong == [e for e in wrong if "ERR_CONNECTION_REFUSED" in e]

    export_release(Subject.open(out), tmp_path / "release", frozenset(), workers=1)
    maps = {
        (where, n): np.asarray(nib.load(tmp_path / folder / f"{n}.nii.gz").dataobj)
        for where, folder in (("came", "labels"), ("mended", "out/labels"), ("released", "release/labels"))
        for n in (1, 2, 3)
    }
    assert (maps["released", 3] == maps["mended", 3]).all() and (maps["mended", 3] != maps["came", 3]).any()
    assert (maps["released", 1] == maps["came", 1]).all()
    assert ((maps["released", 2] == 3) == (maps["came", 2] == 3)).all()
    for other in (2, 4, 5):
        assert ((maps["released", 2] == other) == (maps["mended", 2] == other)).all()


def test_two_browsers_do_not_overwrite_each_other_silently(out: Path) -> None:
    with Server(out) as server, on_page(server) as (anna, _):
        ben = anna.context.new_page()
        begin(ben, server)
        # Ben's page does not hear of Anna's decision before he decides.
        ben.evaluate("window.page.store.run.reviewer = ''; window.page.who = 'Ben'")
        anna.keyboard.press("a")
        anna.wait_for_function("document.getElementById('saved').textContent === 'saved'")
        ben.keyboard.press("k")
        ben.wait_for_selector("#banner:not([hidden])", timeout=20 * SECONDS)
        assert "Not saved, decided in the meantime" in ben.locator("#banner").text_content()
        assert "Anna" in ben.locator("#banner").text_content()
        assert list(choices(out).values()) == ["accept"]
        ben.keyboard.press("Escape")
        ben.keyboard.press("k")
        ben.wait_for_function("document.getElementById('saved').textContent === 'saved'")
        assert list(choices(out).values()) == ["keep"]


def test_every_part_of_the_page_answers(out: Path) -> None:
    with Server(out) as server, on_page(server) as (page, wrong):
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        assert page.locator("#help-keys dt").count() > 25
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        where = page.locator("#readout").text_content()
        page.locator("#changes li").first.click()
        assert page.locator("#changes li.current").count() == 1
        page.keyboard.press(".")
        page.keyboard.press(".")
        assert page.locator("#readout").text_content() != where
        assert "HU" in page.locator("#readout").text_content()
        page.keyboard.press("b")
        assert page.locator("#blend").input_value() == "0"
        page.keyboard.press("]")
        assert page.locator("#blend").input_value() == "10"
        for key, button in (("d", "#show-changes"), ("s", "#show-fill")):
            page.keyboard.press(key)
            assert page.locator(button).get_attribute("aria-pressed") == "false"
        page.select_option("#filter-severity", "warn")
        assert page.locator("#case-list li").count() == 2
        page.select_option("#filter-structure", "RV")
        assert {page.locator("#case-list li").nth(i).get_attribute("data-case") for i in range(2)} == {"2", "3"}
        page.keyboard.press("Escape")
        page.keyboard.press("p")
        assert wrong == []


def test_what_is_drawn_is_the_maps(out: Path) -> None:
    """On the axial plane the middle of the LV is tinted with its colour when labels are shown, grey when not."""
    with Server(out) as server, on_page(server) as (page, _):
        read = """([x, y]) => { const v = window.page.viewer, gl = v.shown.nv.gl; v.draw(); const p = new Uint8Array(4);
          const c = gl.canvas; gl.readPixels(x * c.width, (1 - y) * c.height, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, p);
          return [...p]; }"""
        page.evaluate(
            "window.page.viewer.goTo(window.page.store.cases.get('2').structures.find(s => s.name === 'LV').at_mm)"
        )
        page.keyboard.press("h")
        red, green, blue, _ = page.evaluate(read, [0.27, 0.27])
        assert red == green == blue
        page.keyboard.press("h")
        tints = [page.evaluate(read, [x / 100, y / 100]) for x in range(10, 42, 2) for y in range(10, 42, 2)]
        assert any(r > g + 15 and r > b + 15 for r, g, b, _ in tints)
