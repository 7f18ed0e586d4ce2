"""Test of the tools that correct a case on the page, in a headless Chromium, with voxels that are derived by hand."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from heartmend.geometry.components import label_components
from heartmend.release.export import export_release
from heartmend.run_folder.finished import FinishedRun
from support.browser import launched, served
from support.hearts import upright_heart
from support.runs import single_case_run

LV, RV, CORONARY = 3, 5, 9
# Position on the screen of a point in mm, on a plane: 0 axial, 1 coronal.
PIXEL = """([mm, plane]) => {
  const { nv, canvas } = window.page.viewer.shown, box = canvas.getBoundingClientRect();
  const ratio = canvas.width / box.width, tile = nv.screenSlices.findIndex((s) => s.axCorSag === plane);
  const [left, top, width, height] = nv.screenSlices[tile].leftTopWidthHeight;
  const at = (x, y) => [...nv.frac2mm(nv.screenXY2TextureFrac(x, y, tile, false))].slice(0, 3);
  const [x, y] = [left + width / 2, top + height / 2], middle = at(x, y);
  const along = (other) => other.map((v, i) => (v - middle[i]) / 20);
  const [right, down] = [along(at(x + 20, y)), along(at(x, y + 20))];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2], way = mm.map((v, i) => v - middle[i]);
  const found = [x + dot(way, right) / dot(right, right), y + dot(way, down) / dot(down, down)];
  return [box.left + found[0] / ratio, box.top + found[1] / ratio];
}"""


def on_arc(degrees: float) -> list[float]:
    """Point of the coronary artery of `upright_heart`."""
    angle = np.deg2rad(degrees)
    return [float(40 + 30 * np.cos(angle)), 8.0, float(50 - 30 * np.sin(angle))]


def damaged_heart() -> np.ndarray:
    """Half of the LV's left side, eleven slices of the RV, and 50 degrees of the artery are missing."""
    labels = upright_heart()
    x, _, z = np.indices(labels.shape)
    labels[(labels == LV) & (x < 34) & (z >= 28) & (z <= 40)] = 0
    labels[(labels == RV) & (z >= 35) & (z <= 45)] = 0
    angle = np.rad2deg(np.arctan2(50 - z, x - 40))
    labels[(labels == CORONARY) & (angle > 20) & (angle < 70)] = 0
    return labels


class Corrector:
    """Hands on the page."""

    def __init__(self, page: Any) -> None:
        self.page, self.steps = page, 0

    def use(self, structure: str, tool: str, radius_mm: float = 3.0) -> None:
        self.page.evaluate("(name) => window.page.select(name, false)", structure)
        self.page.click(f"#edit-tools [data-tool='{tool}']")
        self.page.locator("#edit-radius").fill(str(radius_mm))

    def go_to(self, mm: list[float]) -> None:
        self.page.evaluate("(mm) => window.page.viewer.goTo(mm)", mm)

    def click(self, mm: list[float], plane: int, steps: int = 1) -> None:
        self.page.mouse.click(*self.page.evaluate(PIXEL, [mm, plane]))
        self.wait(steps)

    def wait(self, steps: int) -> None:
        self.steps += steps
        self.page.wait_for_function(
            "(n) => document.querySelector('#edit-state').textContent.startsWith(`${n} step`)", arg=self.steps
        )


def test_growth_interpolation_and_a_bridge_are_exported_as_they_were_drawn(tmp_path: Path) -> None:
    truth, after = upright_heart(), damaged_heart()
    before = after.copy()
    before[60:66, 25:36, 48:50] = 0
    out = single_case_run(tmp_path, before, after, truth)
    errors: list[str] = []
    with launched() as browser, served(out) as url:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("body[data-shown]")
        page.evaluate("() => window.page.select('RV', false)")
        page.keyboard.press("x")
        page.wait_for_selector("#edit-bar:not([hidden])")
        hands = Corrector(page)
        hands.wait(0)
        hands.use("LV", "grow", 6.0)
        hands.go_to([33, 30, 34])
        hands.click([33, 30, 34], 0)
        hands.use("RV", "paint", 5.0)
        for z in (35, 45):
            hands.go_to([60, 30, z])
            hands.click([60, 30, z], 0)
        page.click("#edit-interpolate")
        hands.wait(1)
        hands.use("Coronary", "bridge")
        hands.go_to([40, 8, 34])
        hands.click(on_arc(17), 1, steps=0)
        hands.click(on_arc(73), 1)
        grow, first, last, between, bridge = page.evaluate("() => window.page.edit.operations")
        page.click("#edit-save")
        page.wait_for_selector("#banner:has-text('Saved as corrected: ')")
        page.keyboard.press("A")
        page.wait_for_selector("#counts:has-text('1 of 1 decided')")
    assert errors == []
    assert [one["tool"] for one in (grow, first, last, between, bridge)] == [
        "grow", "paint", "paint", "interpolate", "bridge",
    ]  # fmt: skip
    export_release(FinishedRun.open(out), tmp_path / "release", frozenset(), workers=1)
    released = np.asarray(nib.load(tmp_path / "release" / "labels" / "1.nii.gz").dataobj)
    x, y, z = np.indices(released.shape)

    # Growth: in its slice and disc the LV ends where the CT does; everywhere else it is as it was.
    distance = np.hypot(x - grow["points_mm"][0][0], y - grow["points_mm"][0][1])
    disc, rim = (z == 34) & (distance < 5.8), np.abs(np.hypot((x - 40), (y - 30)) - 12 * np.sqrt(1 - (16 / 30) ** 2))
    sure = disc & (rim > 0.8)
    assert ((released == LV) == (truth == LV))[sure].all()
    assert ((released == LV) & (after != LV)).sum() > 20
    outside = ~((z == 34) & (distance < 6.2))
    assert ((released == LV) == (after == LV))[outside].all()

    # Interpolation: two discs of 5 mm, so the same disc on each of the nine slices between them.
    (cx, cy, _), (ex, ey, _) = first["points_mm"][0], last["points_mm"][0]
    assert np.hypot(cx - ex, cy - ey) < 0.5
    drawn = np.hypot(x - cx, y - cy)
    for k in range(35, 46):
        assert (released[..., k] == RV)[drawn[..., k] < 4.2].all()
        assert not (released[..., k] == RV)[drawn[..., k] > 5.8].any()
    assert ((released == RV) == (after == RV))[..., np.r_[0:35, 46:80]].all()

    # Bridge: along the lumen, not along the chord, which leaves it by 3.5 mm; one artery afterwards.
    added = (released == CORONARY) & (after != CORONARY)
    assert (truth == CORONARY)[added].mean() > 0.85 and added.sum() > 100
    middle = np.rint(on_arc(45)).astype(int)
    chord = np.rint((np.array(on_arc(17)) + on_arc(73)) / 2).astype(int)
    assert released[tuple(middle)] == CORONARY and released[tuple(chord)] != CORONARY
    assert [len(label_components(m == CORONARY)[1]) - 1 for m in (after, released)] == [2, 1]
