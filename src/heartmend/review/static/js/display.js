// How cases are displayed: blend, layers, CT window, layout, cut and crosshair; and the controls that show it.

import { element } from "./panels.js";
import { CUTS } from "./solids.js";
import { WINDOWS } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const PLANE_LAYOUTS = ["all", "axial", "coronal", "sagittal"];
const MISSING = {
  heart: "The axes of the heart need LV, LA and RV in the label map, with the atrium next to the ventricle.",
  vessel: "There is no vessel of at least 15 mm in the label map.",
};

export class Display {
  constructor(page) {
    this.page = page;
  }

  flip() {
    this.#blend(this.page.viewer.display.blend > 0.5 ? 0 : 100);
  }

  blendBy(by) {
    this.#blend(Math.min(100, Math.max(0, Number(byId("blend").value) + by)));
  }

  #blend(percent) {
    byId("blend").value = percent;
    this.page.viewer.draw({ blend: percent / 100 });
  }

  showAfter() {
    this.#blend(100);
  }

  toggleChanges() {
    this.page.viewer.draw({ showChanges: !this.page.viewer.display.showChanges });
    this.drawControls();
  }

  toggleFill() {
    this.page.viewer.draw({ fill: this.page.viewer.display.fill ? 0 : 0.28 });
    this.drawControls();
  }

  toggleLabels() {
    const labels = this.page.viewer.display.labels ? 0 : 1;
    this.page.viewer.draw({ labels, showChanges: Boolean(labels) });
    this.drawControls();
  }

  toggleDoubt() {
    const { display, entry } = this.page.viewer;
    if (!display.doubt && entry && !entry.hasDoubt) return this.page.showMessage("This run has no probabilities of errors; repeat it with --uncertainty.");
    this.page.viewer.draw({ doubt: !display.doubt });
    return this.drawControls();
  }

  nextWindow() {
    this.setWindow(WINDOWS[(WINDOWS.indexOf(this.page.viewer.display.ct) + 1) % WINDOWS.length]);
  }

  // A preset, or another width or level.
  setWindow(ct) {
    const { level, width } = this.page.viewer.display.ct;
    this.page.viewer.draw({ ct: WINDOWS.includes(ct) ? ct : { level, width, ...ct } });
    this.drawControls();
  }

  async setLayout(name) {
    if (this.page.edit?.isOn && !PLANE_LAYOUTS.includes(name)) return this.page.showMessage("Save or leave the correction first (x): it is made on the planes.");
    byId("no-cuts").hidden = true;
    try {
      const done = this.page.viewer.setLayout(name);
      this.drawControls();
      await done;
      const isEmpty = MISSING[name] && !this.page.viewer.cuts.tiles.length;
      byId("no-cuts").textContent = isEmpty ? MISSING[name] : "";
      byId("no-cuts").hidden = !isEmpty;
    } catch (error) {
      this.page.showMessage(`This view cannot be displayed: ${error.message}`);
    }
    return this.drawControls();
  }

  nextLayout() {
    return this.setLayout(PLANE_LAYOUTS[(PLANE_LAYOUTS.indexOf(this.page.viewer.layout) + 1) % PLANE_LAYOUTS.length]);
  }

  nextCut() {
    const names = Object.keys(CUTS);
    this.page.viewer.draw({ cut: names[(names.indexOf(this.page.viewer.display.cut) + 1) % names.length] });
    this.drawControls();
  }

  toggleCrosshair() {
    this.page.viewer.draw({ crosshair: !this.page.viewer.display.crosshair });
    this.drawControls();
  }

  slice(x, y, z) {
    this.page.viewer.step(x, y, z);
  }

  drawControls() {
    byId("show-changes").setAttribute("aria-pressed", String(this.page.viewer.display.showChanges));
    byId("show-fill").setAttribute("aria-pressed", String(this.page.viewer.display.fill > 0));
    byId("show-doubt").setAttribute("aria-pressed", String(this.page.viewer.display.doubt));
    byId("show-doubt").hidden = !this.page.store.run.cases.some((c) => c.has_uncertainty);
    const { ct, crosshair, cut } = this.page.viewer.display;
    byId("window").value = WINDOWS.includes(ct) ? WINDOWS.indexOf(ct) : "own";
    byId("window-width").value = ct.width;
    byId("window-level").value = ct.level;
    byId("crosshair").setAttribute("aria-pressed", String(crosshair));
    byId("cut").replaceChildren(`cut: ${cut} `, element("kbd", {}, "k"));
    byId("cut").setAttribute("aria-pressed", String(cut !== "off"));
    const { layout } = this.page.viewer;
    for (const button of document.querySelectorAll("[data-view]")) {
      const isShown = button.dataset.view === layout || (button.dataset.view === "all" && PLANE_LAYOUTS.includes(layout));
      button.setAttribute("aria-pressed", String(isShown));
    }
    for (const part of document.querySelectorAll("#views [data-for]")) part.hidden = part.dataset.for !== layout;
  }
}
