// Display of cases: a few are prepared on hidden canvases, one is shown.

import * as api from "./api.js";
import { CUT_LAYOUTS, CutView } from "./cut_view.js";
import { idle, Loader } from "./loader.js";
import { Overlay, stateText } from "./overlay.js";
import { Planes } from "./planes.js";
import { Solids } from "./solids.js";

const CANVASES = 3; // the previous case, the displayed one, the next one
export const WINDOWS = [
  { name: "vessels", level: 250, width: 900 },
  { name: "soft tissue", level: 60, width: 420 },
  { name: "bright contrast", level: 400, width: 700 },
  { name: "calcium", level: 500, width: 1000 },
  { name: "all values", level: 260, width: 1520 },
];

const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

// Resolve when the graphics card has finished drawing; the page stays responsive.
async function finished(gl) {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  gl.flush();
  while (fence && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) await idle();
  gl.deleteSync(fence);
}

export class Viewer {
  // onMove(mm) of the crosshair, onError(text)
  constructor(run, stage, { onMove, onError }) {
    Object.assign(this, { run, stage, onMove, onError });
    this.shown = null;
    this.pool = [];
    this.layout = "all";
    this.display = {
      blend: 1, showChanges: true, fill: 0.28, labels: 1, selected: 0, ct: WINDOWS[0], crosshair: true, cut: "off", doubt: false,
    };
    const planesShown = new Promise((begin) => (this.beginOthers = begin));
    this.loader = new Loader(run, {
      onSurfaces: (entry, buffer) => this.#buildSolids(entry, buffer), onDrop: (entry) => this.#drop(entry), planesShown,
    });
    this.cuts = new CutView(stage.querySelector("#cuts canvas"), run, this);
    this.overlay = new Overlay(stage.querySelector("#overlay"));
    this.others = planesShown.then(() => this.#startOthers());
    // After NiiVue, which resizes its canvases and clears them.
    new ResizeObserver(() => drawn().then(() => this.#resized())).observe(stage);
  }

  // One canvas: what else is needed is started when the first case is shown.
  async start() {
    await this.#addPlanes();
  }

  async #startOthers() {
    await drawn();
    this.solids = new Solids(this.stage.querySelector("#solids canvas"), this.run, (mm) => this.goTo(mm));
    await this.solids.start();
    while (this.pool.length < CANVASES) await this.#addPlanes();
  }

  async #addPlanes() {
    const canvas = document.createElement("canvas");
    canvas.className = "plane";
    canvas.tabIndex = -1;
    this.stage.querySelector("#planes").append(canvas);
    const planes = new Planes(canvas, this.run, (moved, mm) => moved === this.shown && this.#moved(mm));
    await planes.start();
    planes.setLayout(this.layout);
    this.pool.push(planes);
  }

  // Fetch a case and its neighbours; also before the viewer has started.
  fetch(id, order) {
    this.wanted = id;
    this.loader.fetch(id, order);
  }

  // Show a case. `order`: the cases in the order of the list. Resolves when its planes are drawn.
  async show(id, order, mm) {
    this.fetch(id, order);
    delete this.stage.dataset.ready;
    let planes = this.#planesOf(id);
    if (!planes) {
      this.showLoading(id, "Loading …");
      const entry = await this.loader.ready(id);
      if (this.shown) await this.others;
      if (this.wanted !== id) return false;
      planes = this.#planesOf(id);
      if (!planes) {
        planes = this.#freeCanvas([]);
        planes.load(entry);
      }
    }
    this.hideLoading();
    if (!planes.entry.visited) planes.moveTo(mm ?? planes.entry.centre);
    planes.entry.visited = true;
    this.shown = planes;
    for (const p of this.pool) p.canvas.classList.toggle("shown", p === planes);
    if (this.cuts.isOn) await this.cuts.load();
    this.draw();
    this.onMove(this.mm);
    await drawn();
    this.beginOthers();
    this.#readyAround(id, order);
    return true;
  }

  #resized() {
    if (!this.entry) return;
    for (const one of [this.shown, this.solids]) one?.nv.resizeListener();
    this.draw();
  }

  showLoading(id, text) {
    const loading = this.stage.querySelector("#loading");
    loading.querySelector("b").textContent = `Case ${id}`;
    loading.querySelector("span").textContent = text;
    loading.hidden = false;
  }

  hideLoading() {
    this.stage.querySelector("#loading").hidden = true;
  }

  get entry() {
    return this.shown?.entry ?? null;
  }

  // A case that is or will be displayed, when it has been fetched.
  entryOf(id) {
    return this.loader.ready(id)?.catch(() => null);
  }

  // Show the label maps of a case after they were changed on the page.
  updateMaps(entry) {
    this.pool.find((p) => p.entry === entry)?.updateMaps();
    this.cuts.forget(entry);
    this.draw();
  }

  draw(changed = {}) {
    Object.assign(this.display, changed);
    if (!this.entry) return;
    if (this.display.doubt && this.entry.hasDoubt) this.#fetchDoubt(this.entry);
    if (this.cuts.isOn) this.cuts.draw(this.#settings(this.entry));
    else this.shown.draw(this.#settings(this.entry));
    this.#drawOverlay();
    this.#drawSolids();
    if ("doubt" in changed) this.onMove(this.mm);
  }

  // The probabilities of errors are fetched when they are first shown.
  #fetchDoubt(entry) {
    if (entry.doubtJob) return;
    entry.doubtJob = api.getUncertainty(entry.id).then((found) => (entry.doubt = found));
    entry.doubtJob.then(() => entry === this.entry && this.draw({ doubt: this.display.doubt }), (error) => this.onError(`The uncertainty cannot be displayed: ${error.message}`));
  }

  #settings({ stepHu, lowestHu }) {
    const { level, width } = this.display.ct;
    const bytes = (hu) => (hu - lowestHu) / stepHu / 255;
    return { ...this.display, greyRange: [bytes(level - width / 2), bytes(level + width / 2)] };
  }

  #drawOverlay() {
    const { blend, crosshair } = this.display;
    const state = stateText(blend);
    const flat = this.cuts.isOn
      ? this.cuts.tiles.map((tile) => ({
        rect: tile.rect, title: tile.title, letters: tile.letters, mmPerPx: tile.mmPerPx, kind: tile.kind,
        lines: crosshair ? tile.crosshair(this.mm) : [],
      }))
      : this.layout === "solids" ? [] : this.shown.tiles();
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.stage.querySelector("#solids");
    const solid = { rect: [offsetLeft, offsetTop, offsetWidth, offsetHeight], kind: "solid", title: this.#solidTitle() };
    const tiles = ["axial", "coronal", "sagittal"].includes(this.layout) ? flat : [...flat, solid];
    this.overlay.draw(tiles.map((tile) => ({ ...tile, state })));
  }

  #solidTitle() {
    const { solids, surfacesError } = this.entry;
    if (!solids) return surfacesError ? `3D: ${surfacesError}` : "3D, being made …";
    return this.display.cut === "off" ? "3D" : `3D, ${this.display.cut} cut`;
  }

  get mm() {
    return [...this.shown.mm].slice(0, 3);
  }

  async #buildSolids(entry, buffer) {
    await this.others;
    if (entry.isDropped) return;
    entry.solids = this.solids.build(buffer, entry.centre);
    if (entry !== this.entry) return;
    this.#drawOverlay();
    this.#drawSolids();
  }

  // The surfaces are drawn one frame after the planes: planes never wait for them, and many mouse moves need one draw.
  #drawSolids() {
    if (this.solidsAreDue || !this.solids) return;
    this.solidsAreDue = true;
    drawn().then(() => setTimeout(() => {
      this.solidsAreDue = false;
      if (this.entry) this.solids.show(this.entry.solids ?? [], this.display, this.shown.mm, this.entry.centre);
    }));
  }

  moveTo(mm) {
    this.shown?.moveTo(mm);
  }

  goTo(mm, isToBeFollowed = true) {
    this.moveTo(mm);
    if (isToBeFollowed) this.cuts.follow(mm);
    this.draw();
  }

  step(x, y, z) {
    this.shown?.step(x, y, z);
    this.draw();
  }

  async setLayout(name) {
    this.layout = name;
    this.stage.dataset.layout = name;
    for (const p of this.pool) p.setLayout(name);
    if (this.entry && CUT_LAYOUTS.includes(name)) await this.cuts.show();
    this.draw();
  }

  // HU (null without a CT) and the ids before and after at a position in mm; null outside the displayed part.
  at(mm) {
    const { entry } = this;
    const voxel = this.shown.nv.frac2vox(this.shown.nv.mm2frac(mm)).map(Math.round);
    if (voxel.some((v, i) => v < 0 || v >= entry.shape[i])) return null;
    const index = voxel[0] + entry.shape[0] * (voxel[1] + entry.shape[1] * voxel[2]);
    const hu = entry.hasImage ? entry.image.img[index] * entry.stepHu + entry.lowestHu : null;
    const doubt = this.display.doubt && entry.doubt ? entry.doubt[index] : null;
    return { hu, doubt, before: entry.maps[2 * index], after: entry.maps[2 * index + 1] };
  }

  #moved(mm) {
    this.onMove([...mm].slice(0, 3));
    if (!this.cuts.isOn) this.#drawOverlay();
    this.#drawSolids();
  }

  #drop(entry) {
    entry.isDropped = true;
    if (entry.solids) this.solids.drop(entry.solids);
    entry.solids = null;
    for (const planes of this.pool) if (planes.entry === entry && planes !== this.shown) planes.entry = null;
  }

  #planesOf(id) {
    return this.pool.find((p) => p.entry?.id === id);
  }

  #freeCanvas(reserved) {
    return this.pool.find((p) => p !== this.shown && !p.entry)
      ?? this.pool.find((p) => p !== this.shown && !reserved.includes(p.entry.id));
  }

  // Prepare the neighbouring cases on hidden canvases, the next one first.
  async #readyAround(id, order) {
    const at = order.indexOf(id);
    const near = [order[at + 1], order[at - 1]].filter(Boolean);
    await this.others;
    for (const other of near) {
      if (this.#planesOf(other)) continue;
      const entry = await this.entryOf(other);
      await idle();
      if (!entry || this.wanted !== id) return;
      if (this.cuts.isOn) this.cuts.prefetch(entry);
      const planes = this.#freeCanvas(near);
      if (!planes || this.#planesOf(other)) continue;
      planes.load(entry);
      // A texture is uploaded when it is first drawn: do it before the case is opened.
      planes.draw(this.#settings(entry));
      await finished(planes.nv.gl);
      if (this.wanted !== id) return;
    }
    for (const one of [id, ...near]) await (await this.entryOf(one))?.surfaces;
    if (this.wanted === id) this.stage.dataset.ready = near.join(" ");
  }
}
