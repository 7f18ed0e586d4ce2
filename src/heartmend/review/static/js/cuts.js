// Layouts of cuts beside the planes of the axes: the planes of the heart's own axes, and a vessel straightened with its
// cross-section. Positions and lengths are in mm.

import { add, cross, dot, letters, norm, subtract, turn, unit } from "./vectors.js";

export const TURN_STEP = Math.PI / 24;
const HEART_MM = 150; // shown across a plane of the heart
const CROSS_SECTION_MM = 36;
const STRAIGHT_MM = 22; // least width of a straightened vessel
const NEAR_MM = 6; // a vessel is shown at a place that is as near to it

const opposite = (direction) => direction.map((v) => -v);
const SIDES = (right, up) => ({ left: letters(opposite(right)), right: letters(right), top: letters(up), bottom: letters(opposite(up)) });

// Distance of a plane from its place in the middle of the left ventricle.
function position(offset, [behind, before]) {
  const mm = Math.round(Math.abs(offset));
  return mm ? `${mm} mm ${offset > 0 ? before : behind}` : "0 mm";
}

// A plane on the screen. `centre` is in the middle of the tile.
class PlaneTile {
  constructor(rect, title, centre, right, up, acrossMm) {
    Object.assign(this, { rect, title, centre, right, up, mmPerPx: acrossMm / Math.min(rect[2], rect[3]) });
    this.kind = "cut";
    this.letters = SIDES(right, up);
    this.normal = cross(right, up);
  }

  // Position of a point of the tile, x and y in pixels from its left top.
  mm(x, y) {
    const [, , width, height] = this.rect;
    return add(add(this.centre, this.right, (x - width / 2) * this.mmPerPx), this.up, (height / 2 - y) * this.mmPerPx);
  }

  pixel(mm) {
    const way = subtract(mm, this.centre);
    return [this.rect[2] / 2 + dot(way, this.right) / this.mmPerPx, this.rect[3] / 2 - dot(way, this.up) / this.mmPerPx];
  }

  strip() {
    const [, , width, height] = this.rect;
    return [[-1, 1, this.mm(0, 0)], [1, 1, this.mm(width, 0)], [-1, -1, this.mm(0, height)], [1, -1, this.mm(width, height)]];
  }

  crosshair(mm) {
    const [x, y] = this.pixel(mm);
    const [, , width, height] = this.rect;
    const gap = 9;
    return [[0, y, x - gap, y], [x + gap, y, width, y], [x, 0, x, y - gap], [x, y + gap, x, height]];
  }
}

// A vessel, straightened from top to bottom.
class VesselTile {
  constructor(rect, title, vessel, angle) {
    Object.assign(this, { rect, title, vessel, angle });
    const [, , width, height] = rect;
    this.mmPerPx = Math.max((vessel.length + 4) / height, STRAIGHT_MM / width);
    this.top = (height - vessel.length / this.mmPerPx) / 2;
    this.kind = "vessel";
    this.letters = { top: "proximal", bottom: "distal" };
  }

  // Index of the point of the centreline at a height of the tile.
  index(y) {
    const at = Math.round(((y - this.top) * this.mmPerPx) / this.vessel.step);
    return Math.min(Math.max(at, 0), this.vessel.points.length - 1);
  }

  across(index) {
    const { normals, tangents } = this.vessel;
    return turn(normals[index], tangents[index], this.angle);
  }

  mm(x, y) {
    const index = this.index(y);
    return add(this.vessel.points[index], this.across(index), (x - this.rect[2] / 2) * this.mmPerPx);
  }

  strip() {
    const [, , width, height] = this.rect;
    const half = (width / 2) * this.mmPerPx;
    return this.vessel.points.flatMap((point, index) => {
      const y = 1 - (2 * (this.top + (index * this.vessel.step) / this.mmPerPx)) / height;
      const across = this.across(index);
      return [[-1, y, add(point, across, -half)], [1, y, add(point, across, half)]];
    });
  }

  crosshair() {
    const y = this.top + (this.vessel.at * this.vessel.step) / this.mmPerPx;
    const [, , width] = this.rect;
    const [middle, gap] = [width / 2, 14];
    return [[0, y, middle - gap, y], [middle + gap, y, width, y]];
  }
}

export class Cuts {
  constructor() {
    this.tilt = [];
    this.angle = 0;
    this.vessel = 0;
    this.zoom = 1;
  }

  // Take the views of a case, as the server computes them.
  load({ planes, vessels }) {
    this.planes = planes;
    this.vessels = vessels.map((v) => {
      const triples = (flat) => Array.from({ length: flat.length / 3 }, (_, i) => flat.slice(3 * i, 3 * i + 3));
      const points = triples(v.points);
      const tangents = points.map((_, i) => unit(subtract(points[Math.min(i + 1, points.length - 1)], points[Math.max(i - 1, 0)])));
      return { structure: v.structure, length: v.length_mm, step: v.step_mm, points, normals: triples(v.normals), tangents, at: 0 };
    });
    this.vessel = 0;
    this.angle = 0;
    this.zoom = 1;
    this.reset();
  }

  // The planes as the axes of the heart define them.
  reset() {
    this.tilt = this.planes.map((p) => ({ right: p.right, up: p.up }));
    this.isTilted = false;
  }

  // Rotate all planes together about an axis, so that they stay at right angles to each other.
  turn(axis, angle) {
    this.tilt = this.tilt.map(({ right, up }) => ({ right: turn(right, axis, angle), up: turn(up, axis, angle) }));
    this.isTilted = true;
  }

  // Go to the place of the paths that is nearest to a position, where a path is near.
  follow(mm) {
    let best = { distance: NEAR_MM };
    for (const number of [this.vessel, ...this.vessels.keys()]) {
      this.vessels[number]?.points.forEach((point, at) => {
        const distance = norm(subtract(point, mm));
        // Paths share their beginnings: the current one is kept where it is as near.
        const isNearer = distance < best.distance - (number === best.number || best.number === undefined ? 0 : 0.5);
        if (isNearer) best = { distance, number, at };
      });
    }
    if (best.number === undefined) return;
    this.vessel = best.number;
    this.current.at = best.at;
  }

  get current() {
    return this.vessels[this.vessel];
  }

  // The tiles of a layout in an area of width x height pixels; the fourth part is the 3D view.
  tiles(layout, [width, height], mm) {
    const [w, h] = [width / 2, height / 2];
    if (layout === "heart" && this.planes.length) {
      const rects = [[0, 0, w, h], [w, 0, w, h], [0, h, w, h]];
      return this.planes.map((plane, i) => {
        const { right, up } = this.tilt[i];
        const normal = cross(right, up);
        const offset = dot(subtract(mm, plane.centre), normal);
        const centre = add(plane.centre, normal, offset);
        const name = `${plane.name[0].toUpperCase()}${plane.name.slice(1)}${this.isTilted ? ", tilted" : ""}`;
        const title = `${name}, ${position(offset, plane.sides)}`;
        return new PlaneTile(rects[i], title, centre, right, up, HEART_MM * this.zoom);
      });
    }
    const vessel = this.current;
    if (layout !== "vessel" || !vessel) return [];
    const point = vessel.points[vessel.at];
    const [right, tangent] = [turn(vessel.normals[vessel.at], vessel.tangents[vessel.at], this.angle), vessel.tangents[vessel.at]];
    const degrees = Math.round((this.angle * 180) / Math.PI);
    const straight = `${vessel.structure} ${this.vessel + 1} of ${this.vessels.length}`;
    return [
      new VesselTile([0, 0, w / 2, height], `${straight}, straightened, ${degrees}°`, vessel, this.angle),
      new VesselTile([w / 2, 0, w / 2, height], `${degrees + 90}°`, vessel, this.angle + Math.PI / 2),
      new PlaneTile([w, 0, w, h], `Cross-section, ${(vessel.at * vessel.step).toFixed(0)} of ${vessel.length.toFixed(0)} mm`, point, right, cross(tangent, right), CROSS_SECTION_MM * this.zoom),
    ];
  }
}
