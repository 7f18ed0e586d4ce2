// The view of the cuts: planes of the heart's own axes, or a straightened vessel. The pointer moves, tilts and zooms
// them. Positions are in mm.

import * as api from "./api.js";
import { Cuts, TURN_STEP } from "./cuts.js";
import { Reformat } from "./reformat.js";

export const CUT_LAYOUTS = ["heart", "vessel"];

export class CutView {
  // viewer: the displayed case (entry), its layout, and the crosshair (mm, goTo, moveTo, draw, showLoading).
  constructor(canvas, run, viewer) {
    this.viewer = viewer;
    this.geometry = new Cuts();
    this.reformat = new Reformat(canvas, run);
    this.tiles = [];
    this.of = null; // the case whose views are loaded
    this.#listen(canvas);
  }

  get isOn() {
    return CUT_LAYOUTS.includes(this.viewer.layout);
  }

  draw(settings) {
    const { reformat, viewer } = this;
    const { clientWidth, clientHeight } = reformat.canvas;
    this.tiles = this.of === viewer.entry ? this.geometry.tiles(viewer.layout, [clientWidth, clientHeight], viewer.mm) : [];
    reformat.load(viewer.entry);
    reformat.begin(settings);
    for (const tile of this.tiles) reformat.draw(tile.rect, tile.strip());
  }

  // The label maps of a case were changed on the page.
  forget(entry) {
    this.reformat.forget(entry);
  }

  // Ask for the views of a case before it is shown.
  prefetch(entry) {
    entry.views ??= api.getViews(entry.id);
  }

  // The views of the displayed case beyond its planes; computed by the server when they are first needed.
  async load() {
    const { entry } = this.viewer;
    this.prefetch(entry);
    this.viewer.showLoading(entry.id, "Its axes and vessels are found …");
    let views;
    try {
      views = await entry.views;
    } catch (error) {
      entry.views = null; // the next attempt asks again
      throw error;
    } finally {
      if (this.viewer.entry === entry) this.viewer.hideLoading();
    }
    if (this.viewer.entry !== entry || this.of === entry) return;
    this.geometry.load(views);
    this.of = entry;
    this.enter();
  }

  // Show the layout: load the views where that was not done.
  async show() {
    this.tiles = [];
    if (this.of === this.viewer.entry) this.enter();
    else await this.load();
  }

  // The heart's own planes begin in the middle of the left ventricle, a vessel at the place that is nearest.
  enter() {
    const { geometry, viewer } = this;
    if (viewer.layout === "vessel") {
      geometry.follow(viewer.mm);
      if (geometry.current) viewer.moveTo(geometry.current.points[geometry.current.at]);
    } else if (geometry.planes.length && this.entered !== viewer.entry) {
      this.entered = viewer.entry;
      viewer.moveTo(geometry.planes[0].centre);
    }
  }

  // A vessel follows the crosshair.
  follow(mm) {
    if (this.viewer.layout === "vessel" && this.of === this.viewer.entry) this.geometry.follow(mm);
  }

  reset() {
    const { geometry, viewer } = this;
    if (!geometry.planes) return;
    geometry.reset();
    geometry.zoom = 1;
    geometry.angle = 0;
    if (viewer.layout === "heart" && geometry.planes.length) viewer.goTo(geometry.planes[0].centre);
    else viewer.draw();
  }

  nextVessel(by) {
    const count = this.geometry.vessels?.length;
    if (!count) return;
    this.geometry.vessel = (this.geometry.vessel + by + count) % count;
    this.geometry.current.at = 0;
    this.#goAlong();
  }

  moveAlong(by) {
    const vessel = this.geometry.current;
    if (!vessel) return;
    vessel.at = Math.min(Math.max(vessel.at + by, 0), vessel.points.length - 1);
    this.#goAlong();
  }

  #goAlong() {
    const vessel = this.geometry.current;
    this.viewer.goTo(vessel.points[vessel.at], false);
  }

  #zoom(factor) {
    this.geometry.zoom = Math.min(Math.max(this.geometry.zoom * factor, 0.2), 2.5);
    this.viewer.draw();
  }

  #turnVessel(angle) {
    this.geometry.angle = (this.geometry.angle + angle + Math.PI) % Math.PI;
    this.viewer.draw();
  }

  // Pointer

  #listen(canvas) {
    const at = ({ offsetX: x, offsetY: y }) => {
      const number = this.tiles.findIndex(({ rect: [left, top, width, height] }) => x >= left && y >= top && x < left + width && y < top + height);
      const tile = this.tiles[number];
      return tile && { number, tile, x: x - tile.rect[0], y: y - tile.rect[1] };
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
      if (!from || now?.number !== from.number) return;
      if (event.shiftKey) this.#tilt(now.tile, event.movementX, event.movementY);
      else this.#pointAt(now);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const found = at(event);
      if (!found) return;
      const by = Math.sign(event.deltaY);
      if (event.ctrlKey) this.#zoom(by > 0 ? 1.15 : 1 / 1.15);
      else this.#scroll(found.tile, by);
    }, { passive: false });
  }

  #pointAt({ tile, x, y }) {
    if (tile.index) {
      this.geometry.current.at = tile.index(y);
      this.#goAlong();
    } else this.viewer.goTo(tile.mm(x, y), this.viewer.layout !== "vessel");
  }

  #tilt(tile, dx, dy) {
    if (tile.index) return this.#turnVessel(dx * 0.01);
    if (this.viewer.layout !== "heart") return undefined;
    this.geometry.turn(tile.up, dx * 0.006);
    this.geometry.turn(tile.right, dy * 0.006);
    return this.viewer.draw();
  }

  #scroll(tile, by) {
    if (tile.index) return this.#turnVessel(by * TURN_STEP);
    if (this.viewer.layout === "vessel") return this.moveAlong(by);
    const { affine } = this.viewer.entry;
    const step = Math.min(...[0, 1, 2].map((j) => Math.hypot(affine[0][j], affine[1][j], affine[2][j])));
    return this.viewer.goTo(this.viewer.mm.map((v, i) => v - by * step * tile.normal[i]));
  }
}
