"""Tests of the review page in a headless Chromium."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from heartmend.release.export import export_release
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from support.browser import Server, launched, served
from support.runs import finished_run

SECONDS = 1000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def out(browser: Any, tmp_path: Path) -> Path:
    return finished_run(tmp_path, images=True)


@contextmanager
def on_page(browser: Any, url: str) -> Iterator[tuple[Any, list[str]]]:
    """Open the review page; yields it with its errors: script errors, blocked content, requests to other hosts."""
    errors: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(120 * SECONDS)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else errors.append(r.url))
    open_page(page, url)
    yield page, errors
    context.close()


def open_page(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("body[data-shown]")


def wait_for_case(page: Any, case: str) -> None:
    page.wait_for_selector(f"body[data-shown='{case}']")


def wait_for_save(page: Any) -> None:
    """Wait until the page shows that the server has written."""
    page.wait_for_selector("#saved.good")


def select(page: Any, structure: str) -> None:
    """Select a structure by the arrow keys."""
    for _ in range(10):
        if page.locator(f"#structures tr.selected[data-structure='{structure}']").count():
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{structure} cannot be selected")


def choices(out: Path) -> dict[tuple[str, str], str]:
    database = Decisions(out / "run" / "review" / "decisions.sqlite")
    return {(d.case, d.structure): d.choice for d in database.current()}


def test_a_review_by_keyboard_survives_a_kill_and_is_exported(browser: Any, out: Path, tmp_path: Path) -> None:
    with Server(out) as server, on_page(browser, server.url) as (page, errors):
        wait_for_case(page, "2")
        # Case 2: reject the LV, which failed the acceptance test; accept the others; then case 3.
        select(page, "LV")
        page.keyboard.press("r")
        wait_for_save(page)
        page.keyboard.press("A")
        wait_for_case(page, "3")
        # Case 3: accept all, undo, accept again; then case 1.
        page.keyboard.press("A")
        wait_for_case(page, "1")
        page.keyboard.press("u")
        wait_for_case(page, "3")
        assert {choices(out)["3", structure] for structure in ("LV", "RV")} == {"open"}
        page.keyboard.press("A")
        wait_for_case(page, "1")
        page.keyboard.press("e")
        page.keyboard.type("apex: a=b?")
        page.keyboard.press("Enter")
        wait_for_save(page)
        server.kill()
        before = choices(out)
        server.start()
        open_page(page, server.url)
        page.wait_for_selector("#counts:has-text('2 of 3 decided')")
        assert choices(out) == before
        wait_for_case(page, "1")
        page.keyboard.press("R")
        page.wait_for_selector("#counts:has-text('3 of 3 decided')")
        assert errors == [e for e in errors if "ERR_CONNECTION_" in e]

    export_release(FinishedRun.open(out), tmp_path / "release", frozenset(), workers=1)
    maps = {
        (kind, n): np.asarray(nib.load(tmp_path / folder / f"{n}.nii.gz").dataobj)
        for kind, folder in (("original", "labels"), ("repaired", "out/labels"), ("released", "release/labels"))
        for n in (1, 2, 3)
    }
    assert (maps["released", 3] == maps["repaired", 3]).all() and (maps["repaired", 3] != maps["original", 3]).any()
    assert (maps["released", 1] == maps["original", 1]).all()
    assert ((maps["released", 2] == 3) == (maps["original", 2] == 3)).all()
    for other in (2, 4, 5):
        assert ((maps["released", 2] == other) == (maps["repaired", 2] == other)).all()


def test_a_change_is_decided_by_itself_and_the_released_map_has_the_accepted_ones(browser: Any, tmp_path: Path) -> None:
    """The filled holes of the LV are rejected; `A` asks once, because another change is flagged."""
    out = finished_run(tmp_path, count=1, images=True, flagged=True)
    with served(out) as url, on_page(browser, url) as (page, errors):
        select(page, "LV")
        page.keyboard.press("c")
        assert page.locator("#target").text_content() == "filled, LV (this change)"
        hole = page.locator("#changes li.current").get_attribute("data-key")
        page.keyboard.press("r")
        page.wait_for_selector(f"#changes li[data-key='{hole}'][data-state='rejected']")
        # Another change of the LV is open still.
        assert page.locator("#structures tr[data-structure='LV'] .choice").text_content() == "○ open"
        page.keyboard.press("A")
        assert "open change" in page.locator("#ask-accept-text").text_content()
        page.keyboard.press("Escape")
        page.wait_for_selector("#target:has-text('removed, RV (this change)')")
        assert list(choices(out).values()) == ["reject"]
        page.keyboard.press("A")
        page.wait_for_selector("#counts:has-text('1 of 1 decided')")
        assert page.locator("#structures tr[data-structure='LV'] .choice").text_content() == "◐ mixed"
        assert errors == []
    export_release(FinishedRun.open(out), tmp_path / "release", frozenset(), workers=1)
    original, after, released = (
        np.asarray(nib.load(tmp_path / name / "1.nii.gz").dataobj)
        for name in ("labels", "out/labels", "release/labels")
    )
    holes = (original == 0) & (after == 3)
    assert holes.any() and (released == np.where(holes, original, after)).all()
    text = (tmp_path / "release" / "changelog" / "1.md").read_text()
    assert "holes: LV filled" in text.split("## Changes that are not released")[1]


def test_a_note_belongs_to_what_was_flagged_and_undo_names_what_it_undid(browser: Any, out: Path) -> None:
    with served(out) as url, on_page(browser, url) as (page, errors):
        case = page.evaluate("() => window.page.store.current")
        select(page, "RV")
        page.keyboard.press("f")
        wait_for_save(page)
        # The selection stays, and the field of the note has the focus.
        page.keyboard.type("lateral wall")
        page.keyboard.press("Enter")
        page.wait_for_selector("#structures tr[data-structure='RV'] .noted")
        rows = Decisions(out / "run" / "review" / "decisions.sqlite").current()
        assert [(d.structure, d.choice, d.note) for d in rows] == [("RV", "correct", "lateral wall")]
        page.keyboard.press("u")
        page.wait_for_selector(f"#banner:has-text('Undone: the note on RV (case {case}).')")
        assert choices(out) == {(case, "RV"): "correct"}
        page.keyboard.press("u")
        page.wait_for_selector(f"#banner:has-text('Undone: flagged for RV (case {case}).')")
        assert choices(out) == {(case, "RV"): "open"}
        assert errors == []


def test_a_structure_is_corrected_on_the_page_and_exported_as_it_was_drawn(browser: Any, tmp_path: Path) -> None:
    """A stroke of the brush in an axial slice, a second one that is undone, then save and export."""
    out = finished_run(tmp_path, count=1, images=True)
    with served(out) as url, on_page(browser, url) as (page, errors):
        select(page, "LV")
        page.keyboard.press("x")
        page.wait_for_selector("#edit-bar:not([hidden])")
        page.wait_for_function("() => document.querySelector('#edit-state').textContent.startsWith('0 steps')")
        box = page.locator("#stage").bounding_box()
        x, y = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
        for steps, (dx, dy) in ((1, (30, 10)), (2, (-40, 30))):
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + dx, y + dy, steps=4)
            page.mouse.up()
            page.wait_for_function(
                "(n) => document.querySelector('#edit-state').textContent.startsWith(n + ' step')", arg=steps
            )
        page.keyboard.press("u")
        page.wait_for_selector("#banner:has-text('Undone: paint, LV.')")
        (stroke,) = page.evaluate("() => window.page.edit.operations")
        page.click("#edit-save")
        page.wait_for_selector("#banner:has-text('Saved as corrected: ')")
        assert page.locator("#edit-bar").is_hidden()
        assert page.locator("#structures tr[data-structure='LV'] .choice").text_content() == "★ corrected"
        page.keyboard.press("A")
        page.wait_for_selector("#counts:has-text('1 of 1 decided')")
        assert errors == []
    assert stroke["plane"] == "axial" and len(stroke["points_mm"]) >= 3
    finished = FinishedRun.open(out)
    (case,) = finished
    after, grid = finished.after(case).labels, finished.before(case).grid
    # By hand: the distance to the line in the slice; the axes of the case are along its voxels.
    spacing = np.array(grid.spacing_mm)
    line = grid.world_to_index(stroke["points_mm"])
    axis = int(np.argmax(np.abs(grid.affine[2, :3])))
    line[:, axis] = np.rint(line[0, axis])
    dense = np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(line)]) * spacing
    centres = np.indices(grid.shape).reshape(3, -1).T
    distance = np.min(np.linalg.norm(centres[:, None] * spacing - dense[::5][None], axis=2), axis=1).reshape(grid.shape)
    in_slice = np.indices(grid.shape)[axis] == line[0, axis]
    export_release(finished, tmp_path / "release", frozenset(), workers=1)
    released = np.asarray(nib.load(tmp_path / "release" / "labels" / "1.nii.gz").dataobj)
    sure = np.abs(distance - stroke["radius_mm"]) > 0.1
    expected = np.where(in_slice & (distance <= stroke["radius_mm"]), 3, after)
    assert (released == expected)[sure].all() and (expected != after).sum() > 10


def test_two_browsers_do_not_overwrite_each_other(browser: Any, out: Path) -> None:
    with served(out) as url, on_page(browser, url) as (anna, _):
        ben = anna.context.new_page()
        open_page(ben, url)
        # Ben's page does not read Anna's decision before he decides.
        ben.route("**/api/decisions?since=*", lambda route: route.abort())
        ben.evaluate("window.page.store.run.reviewer = ''; window.page.reviewer = 'Ben'")
        anna.keyboard.press("a")
        wait_for_save(anna)
        ben.keyboard.press("r")
        ben.wait_for_selector("#banner:not([hidden])")
        assert "Not saved, decided in the meantime" in ben.locator("#banner").text_content()
        assert "Anna" in ben.locator("#banner").text_content()
        assert list(choices(out).values()) == ["accept"]
        ben.keyboard.press("Escape")
        ben.keyboard.press("r")
        wait_for_save(ben)
        assert list(choices(out).values()) == ["reject"]


def test_keys_buttons_and_filters_work(browser: Any, out: Path) -> None:
    with served(out) as url, on_page(browser, url) as (page, errors):
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        assert page.locator("#help-keys dt").count() > 25
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        position = page.locator("#readout").text_content()
        page.locator("#changes li").first.click()
        assert page.locator("#changes li.current").count() == 1
        page.keyboard.press(".")
        page.keyboard.press(".")
        assert page.locator("#readout").text_content() != position
        assert "HU" in page.locator("#readout").text_content()
        page.keyboard.press("b")
        assert page.locator("#blend").input_value() == "0"
        page.keyboard.press("]")
        assert page.locator("#blend").input_value() == "10"
        for key, button in (("d", "#show-changes"), ("s", "#show-fill")):
            page.keyboard.press(key)
            assert page.locator(button).get_attribute("aria-pressed") == "false"
        page.select_option("#filter-severity", "warning")
        assert page.locator("#case-list li").count() == 2
        page.select_option("#filter-structure", "RV")
        assert {page.locator("#case-list li").nth(i).get_attribute("data-case") for i in range(2)} == {"2", "3"}
        page.keyboard.press("Escape")
        page.keyboard.press("p")
        assert errors == []


def test_the_case_list_is_filtered_by_state_and_by_changed_volume(browser: Any, out: Path) -> None:
    def listed(page: Any) -> list[str]:
        rows = page.locator("#case-list li")
        return sorted(rows.nth(i).get_attribute("data-case") for i in range(rows.count()))

    with served(out) as url, on_page(browser, url) as (page, errors):
        current = page.evaluate("() => window.page.store.current")
        changed_ml = page.evaluate(
            "() => Object.fromEntries(window.page.store.run.cases.map((c) => [c.case, c.changed_ml]))"
        )
        page.keyboard.press("Shift+A")
        wait_for_save(page)
        page.wait_for_function("(was) => window.page.store.current !== was", arg=current)
        page.select_option("#filter-state", "decided")
        # The displayed case stays in the list.
        assert listed(page) == sorted({current, page.evaluate("() => window.page.store.current")})
        page.select_option("#filter-state", "open")
        assert listed(page) == sorted(set(changed_ml) - {current})
        page.select_option("#filter-state", "")
        limit = sorted(changed_ml.values())[1]
        page.fill("#filter-ml", str(limit))
        now = page.evaluate("() => window.page.store.current")
        assert listed(page) == sorted({now} | {case for case, ml in changed_ml.items() if ml >= limit})
        assert errors == []


def test_notes_and_names_are_displayed_as_text(browser: Any, out: Path) -> None:
    odd = "<img src=x onerror=alert(1)>"
    with served(out) as url, on_page(browser, url) as (page, errors):
        page.evaluate("(name) => window.page.setReviewer(name)", odd)
        page.keyboard.press("a")
        wait_for_save(page)
        page.keyboard.press("ArrowUp")
        page.keyboard.press("e")
        page.keyboard.type(odd)
        page.keyboard.press("Enter")
        wait_for_save(page)
        page.evaluate("(text) => window.page.showMessage(text)", odd)
        assert odd in page.locator("#banner").text_content() and odd in page.locator("body").text_content()
        assert page.locator("img").count() == 0 and errors == []


# Numbers of pixels of the axial plane that are red, grey and green.
TINTS = """() => {
  const viewer = window.page.viewer, gl = viewer.shown.nv.gl;
  viewer.draw();
  const [w, h] = [gl.canvas.width / 2 | 0, gl.canvas.height / 2 | 0];
  const p = new Uint8Array(4 * w * h);
  gl.readPixels(0, gl.canvas.height - h, w, h, gl.RGBA, gl.UNSIGNED_BYTE, p);
  const found = { red: 0, grey: 0, green: 0 };
  for (let i = 0; i < p.length; i += 4) {
    if (p[i] > p[i + 1] + 15 && p[i] > p[i + 2] + 15) found.red += 1;
    else if (p[i + 1] > p[i] + 40 && p[i + 1] > p[i + 2] + 40) found.green += 1;
    else if (p[i] > 60 && p[i] === p[i + 1] && p[i] === p[i + 2]) found.grey += 1;
  }
  return found;
}"""


def test_the_planes_show_the_label_maps(browser: Any, out: Path) -> None:
    """The LV is red where the repaired map has it; added voxels are green while the differences are shown."""
    with served(out) as url, on_page(browser, url) as (page, _):
        page.evaluate("() => window.page.select('LV')")
        with_changes = page.evaluate(TINTS)
        page.keyboard.press("d")
        labels = page.evaluate(TINTS)
        page.keyboard.press("b")
        before = page.evaluate(TINTS)
        page.keyboard.press("h")
        bare = page.evaluate(TINTS)
    assert labels["red"] > 1000 and with_changes["green"] > labels["green"]
    # Its holes were filled: it was smaller before.
    assert before["red"] < labels["red"]
    assert bare["red"] == 0 and bare["grey"] > 1000
