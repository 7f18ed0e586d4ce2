"""Tests of the views of the review page in a headless Chromium: one heart whose axes are known."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from heartmend.geometry.grid import Grid
from heartmend.run_folder.folder import RunFolder
from support.browser import launched, served
from support.hearts import upright_heart
from support.runs import single_case_run

ERRORS: list[str] = []
UNCERTAIN = (slice(36, 44), slice(26, 34), slice(26, 42))
"""A part of the LV whose label is wrong with a probability of 50 %."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page of one case: a hole of the LV was filled, a part of the RV removed, a part of the LA given to the LV."""
    before = upright_heart()
    after = before.copy()
    before[36:44, 26:34, 30:38] = 0
    before[60:66, 25:36, 50:54] = 5
    before[36:44, 26:34, 48:51] = 2
    out = single_case_run(tmp_path_factory.mktemp("views"), before, after)
    percent = np.zeros_like(after)
    percent[UNCERTAIN] = 50
    RunFolder.at(out).write_uncertainty("1", percent, Grid(after.shape, np.eye(4)))
    with launched() as browser, served(out) as url:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        found = context.new_page()
        found.on("pageerror", lambda error: ERRORS.append(str(error)))
        found.on("console", lambda message: ERRORS.append(message.text) if message.type == "error" else None)
        found.goto(url)
        found.wait_for_selector("body[data-shown]")
        found.wait_for_selector("#stage[data-ready]")
        yield found


def tiles(page: Any) -> list[dict[str, Any]]:
    """The texts of the tiles on the images."""
    return page.evaluate("""() => [...document.querySelectorAll("#overlay .tile:not([hidden])")].map((tile) => {
      const text = (name) => tile.querySelector(`.on-${name}`).textContent;
      return { title: text("title"), state: text("state"), bar: text("bar"),
        sides: ["left", "right", "top", "bottom"].map(text), lines: tile.querySelectorAll("line").length,
        width: tile.querySelector(".on-ruler i").getBoundingClientRect().width };
    })""")


def show(page: Any, key: str, layout: str) -> None:
    page.keyboard.press(key)
    page.wait_for_selector(f"#stage[data-layout='{layout}']")
    page.wait_for_function(
        "() => window.page.viewer.cuts.of === window.page.viewer.entry || window.page.viewer.layout === 'all'"
    )
    page.evaluate("() => window.page.viewer.draw()")


# Share of the pixels of the tile with a number that are of a colour: [red, green, blue] within 60.
COLOURED = """([number, colour]) => {
  const { viewer } = window.page, { gl, canvas } = viewer.cuts.reformat;
  const [left, top, width, height] = viewer.cuts.tiles[number].rect;
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(left, canvas.height - top - height, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let n = 0;
  for (let i = 0; i < pixels.length; i += 4) n += colour.every((v, k) => Math.abs(pixels[i + k] - v) < 60);
  return n / (width * height);
}"""


def test_the_planes_carry_letters_numbers_scale_and_state(page: Any) -> None:
    axial, coronal, sagittal, solid = tiles(page)
    assert axial["sides"] == ["R", "L", "A", "P"]
    assert coronal["sides"] == ["R", "L", "S", "I"] and sagittal["sides"] == ["A", "P", "S", "I"]
    index = page.evaluate(
        "() => window.page.viewer.shown.nv.frac2vox(window.page.viewer.shown.nv.scene.crosshairPos)[2]"
    )
    depth = page.evaluate("() => window.page.viewer.entry.shape[2]")
    assert axial["title"] == f"Axial {round(index) + 1}/{depth}" and solid["title"] == "3D"
    assert {tile["state"] for tile in tiles(page)} == {"AFTER"}
    page.keyboard.press("b")
    assert {tile["state"] for tile in tiles(page)} == {"BEFORE"}
    page.keyboard.press("]")
    assert tiles(page)[0]["state"] == "BEFORE 90 % · AFTER 10 %"
    page.keyboard.press("b")
    page.keyboard.press("b")
    # The scale bar is as long as its length on the image: between the same two points in mm and in pixels.
    mm_per_px = page.evaluate("""() => { const { nv, canvas } = window.page.viewer.shown, s = nv.screenSlices[0];
      return Math.abs(s.fovMM[0]) / (s.leftTopWidthHeight[2] * canvas.clientWidth / canvas.width); }""")
    number, unit = axial["bar"].split()
    assert axial["width"] * mm_per_px == pytest.approx(float(number) * (10 if unit == "cm" else 1), rel=0.1)


def test_the_planes_and_their_texts_follow_the_size_of_the_window(page: Any) -> None:
    page.set_viewport_size({"width": 1100, "height": 640})
    page.wait_for_function("""() => {
      const { canvas } = window.page.viewer.shown;
      return canvas.width === canvas.clientWidth;
    }""")
    page.wait_for_function("""() => {
      const { viewer } = window.page, tile = document.querySelector("#overlay .tile");
      return Math.abs(viewer.shown.tiles()[0].rect[2] - tile.getBoundingClientRect().width) < 2;
    }""")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function("() => document.querySelector('#overlay .tile').getBoundingClientRect().bottom > 300")


def test_the_windows_are_chosen_by_preset_and_by_value(page: Any) -> None:
    assert (page.locator("#window-width").input_value(), page.locator("#window-level").input_value()) == ("900", "250")
    page.keyboard.press("w")
    assert page.locator("#window-width").input_value() == "420"
    page.fill("#window-level", "100")
    page.keyboard.press("Tab")
    assert page.evaluate("() => window.page.viewer.display.ct") == {"width": 420, "level": 100}
    assert page.locator("#window").input_value() in ("", "own")
    page.select_option("#window", "0")
    assert page.locator("#window-level").input_value() == "250"
    page.keyboard.press("Escape")


def test_the_crosshair_is_hidden_on_a_key(page: Any) -> None:
    page.keyboard.press("i")
    assert page.evaluate("() => window.page.viewer.shown.nv.opts.crosshairWidth") == 0
    show(page, "2", "heart")
    assert tiles(page)[0]["lines"] == 0
    page.keyboard.press("i")
    assert tiles(page)[0]["lines"] == 4
    show(page, "1", "all")


def test_the_planes_of_the_heart_show_its_chambers(page: Any) -> None:
    """LV (dark red) is in all planes, the RV (blue) left of it in the short axis and four-chamber plane alone."""
    show(page, "2", "heart")
    page.evaluate("() => window.page.select(null)")
    page.evaluate(
        "() => { window.page.viewer.cuts.reset(); window.page.viewer.draw({ fill: 1, showChanges: false }); }"
    )
    titles = [tile["title"] for tile in tiles(page)]
    assert titles[:3] == ["Short axis, 0 mm", "Four-chamber, 0 mm", "Two-chamber, 0 mm"]
    # The apex, at the bottom of the body, is on top; the right ventricle, on the right of the body, is on the left.
    assert tiles(page)[1]["sides"] == ["R", "L", "I", "S"] and tiles(page)[0]["sides"] == ["R", "L", "A", "P"]
    structures = {s["name"]: s["colour"] for s in page.evaluate("() => window.page.store.run.structures")}
    shares = {
        name: [page.evaluate(COLOURED, [number, structures[name]]) for number in range(3)]
        for name in ("LV", "RV", "LA")
    }
    assert min(shares["LV"]) > 0.005
    assert shares["RV"][0] > 0.002 and shares["RV"][1] > 0.002 and shares["RV"][2] == 0
    assert shares["LA"][0] == 0 and min(shares["LA"][1:]) > 0.005
    # Tilted planes stay at right angles; the reset restores them.
    page.evaluate("() => { window.page.viewer.cuts.geometry.turn([0, 0, 1], 0.4); window.page.viewer.draw(); }")
    planes = page.evaluate("() => window.page.viewer.cuts.geometry.tilt.map(({ right, up }) => [right, up])")
    assert abs(np.dot(planes[0][0], planes[0][1])) < 1e-9 and "tilted" in tiles(page)[0]["title"]
    page.keyboard.press("o")
    assert tiles(page)[0]["title"] == "Short axis, 0 mm"
    page.evaluate("() => window.page.viewer.draw({ fill: 0.28, showChanges: true })")


def test_a_click_on_a_cut_moves_the_crosshair_there(page: Any) -> None:
    show(page, "2", "heart")
    page.keyboard.press("o")
    box = page.locator("#cuts canvas").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25 + 40, box["y"] + box["height"] * 0.25)
    mm_per_px = page.evaluate("() => window.page.viewer.cuts.tiles[0].mmPerPx")
    mm = page.evaluate("() => window.page.viewer.mm")
    # To the right of the screen is the left of the body; the middle of the LV is at (40, 30).
    assert mm[0] == pytest.approx(40 - 40 * mm_per_px, abs=1.2) and mm[1] == pytest.approx(30, abs=1.2)


# Number of pixels of the axial plane that have the colour of a probability of 50 % or more.
HOT = """() => {
  const { viewer } = window.page, { gl } = viewer.shown.nv;
  viewer.draw();
  const [w, h] = [gl.canvas.width / 2 | 0, gl.canvas.height / 2 | 0], p = new Uint8Array(4 * w * h);
  gl.readPixels(0, gl.canvas.height - h, w, h, gl.RGBA, gl.UNSIGNED_BYTE, p);
  const isHot = (i) => p[i] > 200 && p[i + 1] > 180 && p[i + 2] > 90 && p[i + 2] < p[i + 1] - 30;
  let hot = 0;
  for (let i = 0; i < p.length; i += 4) hot += isHot(i);
  return hot;
}"""


def test_the_probability_of_an_error_is_shown_on_the_planes_and_on_the_cuts(page: Any) -> None:
    show(page, "1", "all")
    page.evaluate("() => window.page.viewer.goTo([40, 30, 40])")
    assert page.evaluate(HOT) == 0
    page.keyboard.press("y")
    page.wait_for_function("() => window.page.viewer.entry.doubt")
    hot = page.evaluate(HOT)
    # 8 x 8 voxels of 1 mm.
    px_per_mm = 1 / page.evaluate("() => window.page.viewer.shown.tiles()[0].mmPerPx")
    assert hot == pytest.approx(64 * px_per_mm**2, rel=0.25)
    assert "error 50 %" in page.locator("#readout").text_content()
    show(page, "2", "heart")
    page.evaluate("() => { window.page.viewer.goTo([40, 30, 40]); }")
    assert page.evaluate(COLOURED, [0, [255, 247, 153]]) > 0.001
    page.keyboard.press("y")
    assert page.evaluate(COLOURED, [0, [255, 247, 153]]) == 0
    assert page.locator("#show-doubt").get_attribute("aria-pressed") == "false"
    show(page, "1", "all")


def test_shift_and_drag_tilts_the_planes_of_the_heart(page: Any) -> None:
    """By 100 px to the right: 0.6 rad about the vertical of the short axis, so its normal turns by as much."""
    show(page, "2", "heart")
    page.keyboard.press("o")
    before = page.evaluate(NORMALS)
    box = page.locator("#cuts canvas").bounding_box()
    x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.25
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    after = page.evaluate(NORMALS)
    assert np.arccos(np.dot(before[0], after[0])) == pytest.approx(0.6, abs=0.02)
    # All planes turn about this one axis, so they stay at right angles.
    assert np.abs(np.array(after) @ np.array(after).T - np.eye(3)).max() < 1e-6
    assert tiles(page)[0]["title"].startswith("Short axis, tilted, ")
    # Without the key the crosshair moves, and the planes keep their directions.
    page.mouse.click(x, y)
    assert np.allclose(page.evaluate(NORMALS), after)
    page.keyboard.press("o")
    assert np.allclose(page.evaluate(NORMALS), before)
    show(page, "1", "all")


NORMALS = "() => window.page.viewer.cuts.tiles.slice(0, 3).map((tile) => tile.normal)"


def test_the_planes_of_the_heart_show_their_distance_in_place_of_a_number(page: Any) -> None:
    """The long axis of the upright heart is along z with the apex below: 10 mm down is 10 mm apical."""
    show(page, "2", "heart")
    page.keyboard.press("o")
    x, y, z = page.evaluate("() => window.page.viewer.mm")
    page.evaluate("(mm) => window.page.viewer.goTo(mm)", [x, y, z - 10])
    assert [tile["title"] for tile in tiles(page)[:3]] == [
        "Short axis, 10 mm apical", "Four-chamber, 0 mm", "Two-chamber, 0 mm",
    ]  # fmt: skip
    page.evaluate("(mm) => window.page.viewer.goTo(mm)", [x, y + 7, z + 4])
    titles = [tile["title"] for tile in tiles(page)[:3]]
    assert titles == ["Short axis, 4 mm basal", "Four-chamber, 7 mm anterior", "Two-chamber, 0 mm"]
    page.keyboard.press("o")
    show(page, "1", "all")


def test_the_straightened_vessel_is_straight(page: Any) -> None:
    """The bent coronary artery is in one column of the view, as wide as a radius of 2 mm in voxels of 1 mm allows."""
    show(page, "3", "vessel")
    page.evaluate("() => { window.page.select(null); window.page.viewer.draw({ fill: 1, showChanges: false }); }")
    assert [tile["title"].split(",")[0] for tile in tiles(page)] == ["Coronary 1 of 1", "90°", "Cross-section", "3D"]
    assert tiles(page)[0]["sides"][2:] == ["proximal", "distal"]
    rows = page.evaluate("""() => {
      const { viewer } = window.page, { gl, canvas } = viewer.cuts.reformat, tile = viewer.cuts.tiles[0];
      const colour = viewer.run.structures.find((s) => s.name === "Coronary").colour;
      const [left, top, width, height] = tile.rect, found = [];
      for (let part = 2; part < 9; part += 1) {
        const y = Math.round(tile.top + (height - 2 * tile.top) * part / 10), p = new Uint8Array(4 * width);
        gl.readPixels(left, canvas.height - top - y, width, 1, gl.RGBA, gl.UNSIGNED_BYTE, p);
        const isVessel = (x) => colour.every((v, k) => Math.abs(p[4 * x + k] - v) < 60);
        const at = [...Array(Math.floor(width)).keys()].filter(isVessel);
        found.push([(at[0] + at.at(-1)) / 2 - width / 2, at.length].map((v) => v * tile.mmPerPx));
      }
      return found;
    }""")
    for middle_mm, width_mm in rows:
        assert abs(middle_mm) < 1.2 and 2.0 < width_mm < 6.5
    page.keyboard.press(")")
    before = page.evaluate("() => window.page.viewer.cuts.geometry.current.at")
    page.keyboard.press(")")
    assert page.evaluate("() => window.page.viewer.cuts.geometry.current.at") == before + 2
    page.evaluate("() => window.page.viewer.draw({ fill: 0.28, showChanges: true })")
    show(page, "1", "all")


# Share of the pixels of the 3D view that are its light ground, and the number of colours of the others.
GROUND = """() => {
  const { nv } = window.page.viewer.solids, { gl } = nv, [w, h] = [gl.canvas.width, gl.canvas.height];
  nv.drawScene();
  const p = new Uint8Array(4 * w * h);
  gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, p);
  let light = 0;
  for (let i = 0; i < p.length; i += 4) light += p[i] > 220 && p[i + 1] > 220 && p[i + 2] > 220;
  return light / (w * h);
}"""


def test_the_surfaces_are_on_a_light_ground_and_can_be_cut(page: Any) -> None:
    page.evaluate("() => window.page.select(null)")
    page.wait_for_function("() => !window.page.viewer.solidsAreDue")
    whole = page.evaluate(GROUND)
    assert 0.5 < whole < 0.99
    page.evaluate("() => window.page.viewer.goTo([40, 30, 30])")
    page.keyboard.press("k")
    page.wait_for_function("() => !window.page.viewer.solidsAreDue")
    assert tiles(page)[-1]["title"] == "3D, axial cut"
    page.evaluate("() => window.page.viewer.solids.nv.setRenderAzimuthElevation(150, 8)")
    assert page.evaluate(GROUND) > whole
    for _ in range(3):
        page.keyboard.press("k")
    assert tiles(page)[-1]["title"] == "3D"


def test_each_structure_has_its_volume_before_and_after(page: Any) -> None:
    cells = page.locator("#structures tr[data-structure='RV'] td").all_text_contents()
    before, after = upright_heart(), upright_heart()
    before[60:66, 25:36, 50:54] = 5
    expected = [f"{np.count_nonzero(m == 5) / 1000:.1f}" for m in (before, after)]
    assert cells[2:4] == expected and page.locator("#structures th").nth(2).text_content() == "before"
    assert page.locator("#case-head").text_content().startswith("case")


def test_filters_act_on_the_structure_that_they_name(page: Any) -> None:
    """The coronary artery did not change: no case is listed for it but the displayed one, which is marked."""
    page.select_option("#filter-structure", "Coronary")
    assert "not in the filter" in page.locator("#case-list li").text_content()
    page.select_option("#filter-structure", "RV")
    assert page.locator("#structures tr.selected").get_attribute("data-structure") == "RV"
    rv_ml = page.evaluate("() => window.page.store.cases.get('1').structures.find((s) => s.name === 'RV').removed_ml")
    assert page.locator("#case-list small").text_content().startswith(f"{rv_ml:.1f} ml · 0 of 1")
    page.select_option("#filter-structure", "")
    page.keyboard.press("Escape")


def test_a_narrow_screen_has_tabs(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("#tabs").is_visible() and page.locator("main").is_visible()
    assert not page.locator("#cases").is_visible() and not page.locator("#detail").is_visible()
    page.click("#tabs [data-tab='decide']")
    assert page.locator("#detail").is_visible() and not page.locator("main").is_visible()
    page.click("#tabs [data-tab='cases']")
    page.locator("#case-list li").first.click()
    assert page.locator("main").is_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 800})


def test_there_was_no_error(page: Any) -> None:
    assert ERRORS == []
