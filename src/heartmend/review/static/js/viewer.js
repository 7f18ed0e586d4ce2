// Display of cases: some are fetched ahead, a few are prepared on hidden canvases, one is shown.

import * as api from "./api.js";
import { Planes } from "./planes.js";
import { Solids } from "./solids.js";

const CANVASES = 3; // the previous case, the displayed one, the next one
const FETCH_AHEAD = 3; // cases
export const WINDOWS = [
  { name: "vessels", level: 250, width: 900 },
  { name: "soft tissue", level: 60, width: 420 },
  { name: "wide", level: 260, width: 1520 },
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
    this.display = { blend: 1, showChanges: true, fill: 0.28, labels: 1, selected: 0, window: 0 };
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
      loading.hidden = false;
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
    this.draw();
    this.onMove([...planes.mm].slice(0, 3));
    await drawn();
    this.#readyAround(id, order);
    return true;
  }

  get entry() {
    return this.shown?.entry ?? null;
  }

  draw(changed = {}) {
    Object.assign(this.display, changed);
    if (!this.entry) return;
    this.#drawPlanes(this.shown);
    this.#drawSolids();
  }

  #drawPlanes(planes) {
    const { stepHu, lowestHu } = planes.entry;
    const { level, width } = WINDOWS[this.display.window];
    const bytes = (hu) => (hu - lowestHu) / stepHu / 255;
    planes.draw({ ...this.display, greyRange: [bytes(level - width / 2), bytes(level + width / 2)] });
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

  goTo(mm) {
    this.shown?.moveTo(mm);
    this.draw();
  }

  step(x, y, z) {
    this.shown?.step(x, y, z);
    this.draw();
  }

  setLayout(name) {
    this.layout = name;
    this.stage.dataset.layout = name;
    for (const p of this.pool) p.setLayout(name);
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
    const { shape, changes } = details;
    return { id, shape, changes, maps, image, stepHu, lowestHu, hasImage, centre, solids: this.solids.build(surfaces, centre) };
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
