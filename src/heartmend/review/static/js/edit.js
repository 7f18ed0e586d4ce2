// Correction by hand: the page draws strokes in mm, the server applies them, and the planes show the result. All
// operations are sent each time, so an undo is a shorter list.

import * as api from "./api.js";
import { Brush } from "./brush.js";

const byId = (id) => document.getElementById(id);
const HINTS = {
  paint: "draw to add to the structure", erase: "draw to take away from it",
  grow: "draw over its boundary: it moves to the edge of the CT", bridge: "click both ends of the gap",
};

export class Edit {
  constructor(page) {
    this.page = page;
    this.operations = [];
    this.tool = "paint";
    this.ends = [];
    this.isOn = false;
    this.brush = new Brush(byId("stage"), () => page.viewer.shown, (stroke) => this.#drawn(stroke));
    for (const button of document.querySelectorAll("#edit-tools [data-tool]")) {
      button.addEventListener("click", () => this.setTool(button.dataset.tool));
    }
    byId("edit-radius").addEventListener("input", () => this.drawBar());
    byId("edit-ball").addEventListener("click", () => this.toggleBall());
    byId("edit-interpolate").addEventListener("click", () => this.interpolate());
    byId("edit-undo").addEventListener("click", () => this.undo());
    byId("edit-save").addEventListener("click", () => this.save());
    byId("edit-cancel").addEventListener("click", () => this.stop());
    byId("edit").addEventListener("click", () => this.toggle());
  }

  toggle() {
    return this.isOn ? this.stop() : this.start();
  }

  start() {
    const { store, viewer } = this.page;
    if (!store.selected) return this.page.showMessage("Select the structure to correct first (arrow keys).");
    if (viewer.entry?.id !== store.current) return undefined;
    this.isOn = true;
    this.entry = viewer.entry;
    this.operations = [];
    this.ends = [];
    this.original = null;
    this.page.display.showAfter();
    if (["heart", "vessel", "solids"].includes(viewer.layout)) this.page.display.setLayout("all");
    this.drawBar();
    // The decided map may differ from the repaired one: rejected changes, an earlier correction.
    return this.#apply([]);
  }

  // Leave without saving; the planes show the repaired map again.
  stop() {
    if (!this.isOn) return;
    this.isOn = false;
    this.brush.stop();
    this.#restore();
    this.page.viewer.updateMaps(this.entry);
    this.drawBar();
  }

  setTool(tool) {
    this.tool = tool;
    this.ends = [];
    this.drawBar();
  }

  toggleBall() {
    const is3d = byId("edit-ball").getAttribute("aria-pressed") === "true";
    byId("edit-ball").setAttribute("aria-pressed", String(!is3d));
    this.drawBar();
  }

  resize(factor) {
    byId("edit-radius").value = Math.min(20, Math.max(0.5, Math.round(this.radius * factor * 2) / 2));
    this.drawBar();
  }

  get radius() {
    return Number(byId("edit-radius").value);
  }

  get #structure() {
    return this.page.store.selected;
  }

  interpolate() {
    const last = [...this.operations].reverse().find((o) => o.plane && o.structure === this.#structure);
    if (!last) return this.page.showMessage("Draw the structure with the 2D brush on at least two slices of one plane first.");
    return this.#apply([...this.operations, { tool: "interpolate", structure: this.#structure, plane: last.plane }]);
  }

  undo() {
    if (!this.operations.length) return this.page.showMessage("There is no step of the correction to undo.");
    const undone = this.operations[this.operations.length - 1];
    return this.#apply(this.operations.slice(0, -1), `Undone: ${undone.tool}, ${undone.structure}.`);
  }

  async save() {
    const { page } = this;
    if (!page.reviewer) return page.askReviewer();
    const { id } = this.entry;
    const send = () => api.saveCorrection(id, page.reviewer, this.operations, page.store.since);
    await page.sync.send(send, ({ decisions }) => {
      page.showMessage(`Saved as corrected: ${decisions.map((d) => d.structure).join(", ")} (case ${id}).`, "good");
      this.stop();
      page.budget.refresh();
    });
    return undefined;
  }

  #drawn({ points, plane }) {
    const structure = this.#structure;
    if (!structure) return undefined;
    if (this.tool === "bridge") {
      this.ends.push(points[0]);
      this.drawBar();
      if (this.ends.length < 2) return undefined;
      const ends = this.ends;
      this.ends = [];
      return this.#apply([...this.operations, { tool: "bridge", structure, points_mm: ends }]);
    }
    const is3d = byId("edit-ball").getAttribute("aria-pressed") === "true";
    const step = { tool: this.tool, structure, points_mm: points, radius_mm: this.radius };
    return this.#apply([...this.operations, is3d ? step : { ...step, plane }]);
  }

  // One request at a time, in order.
  #apply(operations, message = "") {
    this.busy = (this.busy ?? Promise.resolve()).then(() => this.#send(operations, message));
    return this.busy;
  }

  async #send(operations, message) {
    if (!this.isOn) return;
    byId("edit-state").textContent = "working …";
    try {
      const buffer = await api.previewEdit(this.entry.id, operations);
      if (!this.isOn) return;
      this.operations = operations;
      this.#show(buffer);
      this.drawBar();
      if (message) this.page.showMessage(message, "good");
    } catch (error) {
      this.page.showMessage(error.message);
      this.drawBar();
    }
  }

  // Write the ids of the box into the map of the page; the format is in editor.py.
  #show(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const { box, structures } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const ids = new Uint8Array(buffer, 4 + length);
    this.changed = structures;
    this.#restore();
    const { maps, shape } = this.entry;
    const [[x0, x1], [y0, y1], [z0, z1]] = box;
    const original = new Uint8Array(ids.length);
    let i = 0;
    for (let z = z0; z < z1; z += 1) {
      for (let y = y0; y < y1; y += 1) {
        for (let at = 2 * (x0 + shape[0] * (y + shape[1] * z)) + 1, x = x0; x < x1; x += 1, at += 2, i += 1) {
          original[i] = maps[at];
          maps[at] = ids[i];
        }
      }
    }
    this.original = { box, ids: original };
    this.page.viewer.updateMaps(this.entry);
  }

  #restore() {
    if (!this.original) return;
    const { box: [[x0, x1], [y0, y1], [z0, z1]], ids } = this.original;
    const { maps, shape } = this.entry;
    let i = 0;
    for (let z = z0; z < z1; z += 1) {
      for (let y = y0; y < y1; y += 1) {
        for (let at = 2 * (x0 + shape[0] * (y + shape[1] * z)) + 1, x = x0; x < x1; x += 1, at += 2, i += 1) maps[at] = ids[i];
      }
    }
    this.original = null;
  }

  drawBar() {
    byId("edit-bar").hidden = !this.isOn;
    document.body.dataset.editing = String(this.isOn);
    byId("edit").setAttribute("aria-pressed", String(this.isOn));
    if (!this.isOn) return;
    for (const button of document.querySelectorAll("#edit-tools [data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === this.tool));
    }
    const is3d = byId("edit-ball").getAttribute("aria-pressed") === "true";
    byId("edit-ball").textContent = is3d ? "3D ball" : "2D disc";
    byId("edit-size").textContent = `${this.radius.toFixed(1)} mm`;
    byId("edit-structure").textContent = this.#structure ?? "no structure";
    byId("edit-undo").disabled = byId("edit-save").disabled = !this.operations.length;
    const changed = Object.entries(this.changed ?? {}).map(([name, [added, removed]]) =>
      `${name}${added ? ` +${added.toFixed(2)}` : ""}${removed ? ` −${removed.toFixed(2)}` : ""} ml`);
    const hint = this.tool === "bridge" && this.ends.length ? "click the other end" : HINTS[this.tool];
    byId("edit-state").textContent = [`${this.operations.length} ${this.operations.length === 1 ? "step" : "steps"}`, ...changed, hint].join(" · ");
    this.brush.start(this.tool === "bridge" ? 0.8 : this.radius, this.tool);
  }
}
