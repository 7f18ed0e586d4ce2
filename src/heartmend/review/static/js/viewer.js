// Display of cases: some are fetched ahead, a few are prepared on hidden canvases, one is shown.

import * as api from "./api.js";
import { Cuts, TURN_STEP } from "./cuts.js";
import { Overlay, stateText } from "./overlay.js";
import { Planes } from "./planes.js";
import { Reformat } from "./reformat.js";
import { Solids } from "./solids.js";

const CUT_LAYOUTS = ["heart", "vessel"];
const CANVASES = 3; // the previous case, the displayed one, the next one
const FETCH_AHEAD = 3; // cases
export const WINDOWS = [
  { name: "vessels", level: 250, width: 900 },
  { name: "soft tissue", level: 60, width: 420 },
  { name: "bright contrast", level: 400, width: 700 },
  { name: "calcium", level: 500, width: 1000 },
  { name: "all values", level: 260, width: 1520 },
];

const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
const idle = () => new Promise((done) => setTimeout(done, 30));

// Resolve when the graphics card has finished drawing; the page stays responsive.
async function finished(gl) {
  const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
  gl.flush();
  while (fence && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) await idle();
  gl.deleteSync(fence);
}

export class Viewer {
  constructor(run, stage, onMove) {
    this.run = run;
    this.stage = stage;
    this.onMove = onMove;
    this.fetched = new Map();
    this.shown = null;
    this.layout = "all";
    this.display = {
      blend: 1, showChanges: true, fill: 0.28, labels: 1, selected: 0, ct: WINDOWS[0], crosshair: true, cut: "off",
    };
    this.cuts = new Cuts();
    this.overlay = new Overlay(stage.querySelector("#overlay"));
    this.reformat = new Reformat(stage.querySelector("#cuts canvas"), run);
    this.#listenToCuts();
    // After NiiVue, which resizes its canvases and clears them.
    new ResizeObserver(() => drawn().then(() => this.#resized())).observe(stage);
  }

  async start() {
    const moved = (planes, mm) => planes === this.shown && this.#moved(mm);
    this.pool = [];
    for (let i = 0; i < CANVASES; i += 1) {
      const canvas = document.createElement("canvas");
      canvas.className = "plane";
      canvas.tabIndex = -1;
      this.stage.querySelector("#planes").append(canvas);
      const planes = new Planes(canvas, this.run, moved);
      await planes.start();
      this.pool.push(planes);
    }
    this.solids = new Solids(this.stage.querySelector("#solids canvas"), this.run, (mm) => this.goTo(mm));
    await this.solids.start();
  }

  // Show a case. `order`: the cases in the order of the list. Resolves when its planes are drawn.
  async show(id, order, mm) {
    this.wanted = id;
    delete this.stage.dataset.ready;
    this.#fetchAround(id, order);
    let planes = this.pool.find((p) => p.entry?.id === id);
    const loading = this.stage.querySelector("#loading");
    if (!planes) {
      this.#showLoading(id, "Loading …");
      const entry = await this.fetched.get(id).ready;
      if (this.wanted !== id) return false;
      planes = this.pool.find((p) => p.entry?.id === id);
      if (!planes) {
        planes = this.#freeCanvas([]);
        planes.load(entry);
      }
    }
    loading.hidden = true;
    if (!planes.entry.visited) planes.moveTo(mm ?? planes.entry.centre);
    planes.entry.visited = true;
    this.shown = planes;
    for (const p of this.pool) p.canvas.classList.toggle("shown", p === planes);
    if (CUT_LAYOUTS.includes(this.layout)) await this.#loadCuts();
    this.draw();
    this.onMove([...planes.mm].slice(0, 3));
    await drawn();
    this.#readyAround(id, order);
    return true;
  }

  #resized() {
    if (!this.entry) return;
    for (const { nv } of [this.shown, this.solids]) nv.resizeListener();
    this.draw();
  }

  #showLoading(id, text) {
    const loading = this.stage.querySelector("#loading");
    loading.querySelector("b").textContent = `Case ${id}`;
    loading.querySelector("span").textContent = text;
    loading.hidden = false;
  }

  get entry() {
    return this.shown?.entry ?? null;
  }

  // A case that is or will be displayed, when it has been fetched.
  entryOf(id) {
    return this.fetched.get(id)?.ready.catch(() => null);
  }

  // Show the label maps of a case after they were changed on the page.
  updateMaps(entry) {
    this.pool.find((p) => p.entry === entry)?.updateMaps();
    this.reformat.forget(entry);
    this.draw();
  }

  draw(changed = {}) {
    Object.assign(this.display, changed);
    if (!this.entry) return;
    if (CUT_LAYOUTS.includes(this.layout)) this.#drawCuts();
    else this.#drawPlanes(this.shown);
    this.#drawOverlay();
    this.#drawSolids();
  }

  #settings({ stepHu, lowestHu }) {
    const { level, width } = this.display.ct;
    const bytes = (hu) => (hu - lowestHu) / stepHu / 255;
    return { ...this.display, greyRange: [bytes(level - width / 2), bytes(level + width / 2)] };
  }

  #drawPlanes(planes) {
    planes.draw(this.#settings(planes.entry));
  }

  #drawCuts() {
    const { entry, reformat } = this;
    const { clientWidth, clientHeight } = reformat.canvas;
    this.cutTiles = this.cutsOf === entry ? this.cuts.tiles(this.layout, [clientWidth, clientHeight], this.mm) : [];
    reformat.load(entry);
    reformat.begin(this.#settings(entry));
    for (const tile of this.cutTiles) reformat.draw(tile.rect, tile.strip());
  }

  #drawOverlay() {
    const { blend, crosshair, cut } = this.display;
    const state = stateText(blend);
    const isCut = CUT_LAYOUTS.includes(this.layout);
    const flat = isCut
      ? this.cutTiles.map((tile) => ({
        rect: tile.rect, title: tile.title, letters: tile.letters, mmPerPx: tile.mmPerPx, kind: tile.kind,
        lines: crosshair ? tile.crosshair(this.mm) : [],
      }))
      : this.layout === "solids" ? [] : this.shown.tiles();
    const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = this.stage.querySelector("#solids");
    const solid = { rect: [offsetLeft, offsetTop, offsetWidth, offsetHeight], kind: "solid", title: cut === "off" ? "3D" : `3D, ${cut} cut` };
    const tiles = ["axial", "coronal", "sagittal"].includes(this.layout) ? flat : [...flat, solid];
    this.overlay.draw(tiles.map((tile) => ({ ...tile, state })));
  }

  // The views of the displayed case beyond its planes; computed by the server when they are first needed.
  async #loadCuts() {
    const { entry } = this;
    entry.views ??= api.getViews(entry.id);
    this.#showLoading(entry.id, "Its axes and vessels are found …");
    let views;
    try {
      views = await entry.views;
    } catch (error) {
      entry.views = null; // the next attempt asks again
      throw error;
    } finally {
      if (this.entry === entry) this.stage.querySelector("#loading").hidden = true;
    }
    if (this.entry !== entry || this.cutsOf === entry) return;
    this.cuts.load(views);
    this.cutsOf = entry;
    this.#enterLayout();
  }

  // The heart's own planes begin in the middle of the left ventricle, a vessel at the place that is nearest.
  #enterLayout() {
    if (this.layout === "vessel") {
      this.cuts.follow(this.mm);
      if (this.cuts.current) this.shown.moveTo(this.cuts.current.points[this.cuts.current.at]);
    } else if (this.cuts.planes.length && this.onEnter !== this.entry) {
      this.onEnter = this.entry;
      this.shown.moveTo(this.cuts.planes[0].centre);
    }
  }

  get mm() {
    return [...this.shown.mm].slice(0, 3);
  }

  #listenToCuts() {
    const canvas = this.reformat.canvas;
    const at = ({ offsetX: x, offsetY: y }) => {
      const tile = (this.cutTiles ?? []).find(({ rect: [left, top, width, height] }) => x >= left && y >= top && x < left + width && y < top + height);
      return tile && { tile, x: x - tile.rect[0], y: y - tile.rect[1] };
    };
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = at(event);
      canvas.setPointerCapture(event.pointerId);
      if (from && !event.shiftKey) this.#pointAt(from);
    });
    canvas.addEventListener("pointerup", () => (from = null));
    canvas.addEventListener("pointermove", (event) => {
      const now = at(event);
      if (!from || !now || now.tile.title.split(" ")[0] !== from.tile.title.split(" ")[0]) return;
      if (event.shiftKey) this.#tilt(from.tile, event.movementX, event.movementY);
      else this.#pointAt(now);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const found = at(event);
      if (!found) return;
      const by = Math.sign(event.deltaY);
      if (event.ctrlKey) this.zoomCuts(by > 0 ? 1.15 : 1 / 1.15);
      else this.#scroll(found.tile, by);
    }, { passive: false });
  }

  #pointAt({ tile, x, y }) {
    if (tile.index) {
      this.cuts.current.at = tile.index(y);
      this.#goAlong();
    } else this.goTo(tile.mm(x, y), this.layout !== "vessel");
  }

  #tilt(tile, dx, dy) {
    if (tile.index) return this.turnVessel(dx * 0.01);
    if (this.layout !== "heart") return undefined;
    this.cuts.turn(tile.up, dx * 0.006);
    this.cuts.turn(tile.right, dy * 0.006);
    return this.draw();
  }

  #scroll(tile, by) {
    if (tile.index) return this.turnVessel(by * TURN_STEP);
    if (this.layout === "vessel") return this.moveAlong(by);
    const { affine } = this.entry;
    const step = Math.min(...[0, 1, 2].map((j) => Math.hypot(affine[0][j], affine[1][j], affine[2][j])));
    return this.goTo(this.mm.map((v, i) => v - by * step * tile.normal[i]));
  }

  zoomCuts(factor) {
    this.cuts.zoom = Math.min(Math.max(this.cuts.zoom * factor, 0.2), 2.5);
    this.draw();
  }

  resetCuts() {
    if (!this.cuts.planes) return;
    this.cuts.reset();
    this.cuts.zoom = 1;
    this.cuts.angle = 0;
    if (this.layout === "heart" && this.cuts.planes.length) this.goTo(this.cuts.planes[0].centre);
    else this.draw();
  }

  turnVessel(angle) {
    this.cuts.angle = (this.cuts.angle + angle + Math.PI) % Math.PI;
    this.draw();
  }

  nextVessel(by) {
    const count = this.cuts.vessels?.length;
    if (!count) return;
    this.cuts.vessel = (this.cuts.vessel + by + count) % count;
    this.cuts.current.at = 0;
    this.#goAlong();
  }

  moveAlong(by) {
    const vessel = this.cuts.current;
    if (!vessel) return;
    vessel.at = Math.min(Math.max(vessel.at + by, 0), vessel.points.length - 1);
    this.#goAlong();
  }

  #goAlong() {
    const vessel = this.cuts.current;
    this.goTo(vessel.points[vessel.at], false);
  }

  // The surfaces are drawn one frame after the planes: planes never wait for them, and many mouse moves need one draw.
  #drawSolids() {
    if (this.solidsAreDue) return;
    this.solidsAreDue = true;
    drawn().then(() => setTimeout(() => {
      this.solidsAreDue = false;
      if (this.entry) this.solids.show(this.entry.solids, this.display, this.shown.mm, this.entry.centre);
    }));
  }

  goTo(mm, isToBeFollowed = true) {
    this.shown?.moveTo(mm);
    if (isToBeFollowed && this.layout === "vessel" && this.cutsOf === this.entry) this.cuts.follow(mm);
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
    this.cutTiles = [];
    if (this.entry && CUT_LAYOUTS.includes(name)) {
      if (this.cutsOf === this.entry) this.#enterLayout();
      else await this.#loadCuts();
    }
    this.draw();
  }

  // HU (null without a CT) and the ids before and after at a position in mm; null outside the displayed part.
  at(mm) {
    const { entry } = this;
    const voxel = this.shown.nv.frac2vox(this.shown.nv.mm2frac(mm)).map(Math.round);
    if (voxel.some((v, i) => v < 0 || v >= entry.shape[i])) return null;
    const index = voxel[0] + entry.shape[0] * (voxel[1] + entry.shape[1] * voxel[2]);
    const hu = entry.hasImage ? entry.image.img[index] * entry.stepHu + entry.lowestHu : null;
    return { hu, before: entry.maps[2 * index], after: entry.maps[2 * index + 1] };
  }

  #moved(mm) {
    this.onMove([...mm].slice(0, 3));
    if (!CUT_LAYOUTS.includes(this.layout)) this.#drawOverlay();
    this.#drawSolids();
  }

  #fetchAround(id, order) {
    const at = order.indexOf(id);
    const wanted = [id, ...order.slice(at + 1, at + 1 + FETCH_AHEAD), ...order.slice(Math.max(at - 1, 0), at)];
    for (const [other, job] of this.fetched) {
      if (wanted.includes(other)) continue;
      job.controller.abort();
      this.fetched.delete(other);
      if (job.entry) this.#forget(job.entry);
    }
    // One after the other, the next case first.
    let last = Promise.resolve();
    for (const other of wanted) {
      if (!this.fetched.has(other)) {
        const job = { controller: new AbortController() };
        const before = last;
        job.ready = before.then(() => this.#fetch(other, job.controller.signal)).then((entry) => (job.entry = entry));
        this.fetched.set(other, job);
      }
      last = this.fetched.get(other).ready.catch(() => undefined);
    }
  }

  async #fetch(id, signal) {
    const [details, maps, surfaces, file] = await Promise.all([
      api.getCase(id, signal), api.getMaps(id, signal), api.getSurfaces(id, signal), api.getImage(id, signal),
    ]);
    await idle();
    const image = await window.niivue.NVImage.new(file, `${id}.nii`, "gray", 1);
    const { scl_slope: stepHu, scl_inter: lowestHu } = image.hdr;
    image.cal_min = lowestHu;
    image.cal_max = lowestHu + 255 * stepHu;
    const hasImage = this.run.cases.find((c) => c.case === id).has_image;
    const centre = [0, 1, 2].map((i) => {
      const [a, b, c, d] = details.affine[i];
      const [x, y, z] = details.shape.map((n) => (n - 1) / 2);
      return a * x + b * y + c * z + d;
    });
    const { shape, changes, affine } = details;
    return { id, shape, affine, changes, maps, image, stepHu, lowestHu, hasImage, centre, solids: this.solids.build(surfaces, centre) };
  }

  #forget(entry) {
    this.solids.drop(entry.solids);
    for (const planes of this.pool) if (planes.entry === entry && planes !== this.shown) planes.entry = null;
  }

  #freeCanvas(reserved) {
    return this.pool.find((p) => p !== this.shown && !p.entry)
      ?? this.pool.find((p) => p !== this.shown && !reserved.includes(p.entry.id));
  }

  // Prepare the neighbouring cases on hidden canvases, the next one first.
  async #readyAround(id, order) {
    const at = order.indexOf(id);
    const near = [order[at + 1], order[at - 1]].filter(Boolean);
    for (const other of near) {
      if (this.pool.some((p) => p.entry?.id === other)) continue;
      const entry = await this.fetched.get(other)?.ready.catch(() => null);
      await idle();
      if (!entry || this.wanted !== id) return;
      if (CUT_LAYOUTS.includes(this.layout)) entry.views ??= api.getViews(other);
      const planes = this.#freeCanvas(near);
      if (!planes || this.pool.some((p) => p.entry?.id === other)) continue;
      planes.load(entry);
      // A texture is uploaded when it is first drawn: do it before the case is opened.
      this.#drawPlanes(planes);
      await finished(planes.nv.gl);
      if (this.wanted !== id) return;
    }
    this.stage.dataset.ready = near.join(" ");
  }
}
