// Cases from the server: the displayed one and its neighbours are kept, others are fetched when they are wanted. The
// surfaces follow the planes, because the server may have to make them first.

import * as api from "./api.js";

const FETCH_AHEAD = 3; // cases

export const idle = () => new Promise((done) => setTimeout(done, 30));

export class Loader {
  // onSurfaces(entry, buffer), onDrop(entry). Surfaces and other cases wait for the planes of the first.
  constructor(run, { onSurfaces, onDrop, planesShown }) {
    Object.assign(this, { run, onSurfaces, onDrop, planesShown });
    this.jobs = new Map();
    this.lastSurfaces = planesShown;
  }

  // Fetch a case and those around it, one after the other, the next one first. `order`: the cases as they are listed.
  fetch(id, order) {
    const at = order.indexOf(id);
    const wanted = [id, ...order.slice(at + 1, at + 1 + FETCH_AHEAD), ...order.slice(Math.max(at - 1, 0), at)];
    for (const [other, job] of this.jobs) {
      if (wanted.includes(other)) continue;
      job.controller.abort();
      this.jobs.delete(other);
      if (job.entry) this.onDrop(job.entry);
    }
    let last = Promise.resolve();
    for (const other of wanted) {
      if (!this.jobs.has(other)) {
        const job = { controller: new AbortController() };
        const before = last;
        job.ready = before.then(() => this.#fetch(other, job.controller.signal)).then((entry) => (job.entry = entry));
        this.jobs.set(other, job);
      }
      last = this.jobs.get(other).ready.catch(() => undefined).then(() => this.planesShown);
    }
  }

  // Resolves with a case that is fetched; undefined for one that is not wanted.
  ready(id) {
    return this.jobs.get(id)?.ready;
  }

  async #fetch(id, signal) {
    const [details, maps, file] = await Promise.all([api.getCase(id, signal), api.getMaps(id, signal), api.getImage(id, signal)]);
    await idle();
    const image = await window.niivue.NVImage.new(file, `${id}.nii`, "gray", 1);
    const { scl_slope: stepHu, scl_inter: lowestHu } = image.hdr;
    image.cal_min = lowestHu;
    image.cal_max = lowestHu + 255 * stepHu;
    const { has_image: hasImage, has_uncertainty: hasDoubt } = this.run.cases.find((c) => c.case === id);
    const centre = [0, 1, 2].map((i) => {
      const [a, b, c, d] = details.affine[i];
      const [x, y, z] = details.shape.map((n) => (n - 1) / 2);
      return a * x + b * y + c * z + d;
    });
    const { shape, changes, affine } = details;
    const entry = { id, shape, affine, changes, maps, image, stepHu, lowestHu, hasImage, hasDoubt, centre, solids: null };
    entry.surfaces = this.#fetchSurfaces(entry, signal);
    return entry;
  }

  // One after the other: the server makes one at a time, and the planes of other cases are not to wait for it.
  #fetchSurfaces(entry, signal) {
    const before = this.lastSurfaces;
    const job = before.then(() => api.getSurfaces(entry.id, signal)).then((buffer) => this.onSurfaces(entry, buffer));
    this.lastSurfaces = job.catch(() => undefined);
    job.catch((error) => (entry.surfacesError = error.message));
    return this.lastSurfaces;
  }
}
