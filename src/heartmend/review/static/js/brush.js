// The brush on the planes: its outline under the pointer, and strokes in mm. Events are taken before NiiVue, which moves
// the crosshair; the wheel and the keys still change the slice.

const PLANES = ["axial", "coronal", "sagittal"]; // NiiVue's numbers
const NO_PLANES = ["heart", "vessel", "solids"]; // layouts
const STEP_PX = 3; // between two points of a stroke

export class Brush {
  constructor(stage, shown, onStroke) {
    Object.assign(this, { stage, shown, onStroke, radius: 0 });
    this.overlay = document.createElement("canvas");
    this.overlay.id = "brush";
    this.overlay.hidden = true;
    stage.append(this.overlay);
    const listen = (name, action) => stage.addEventListener(name, (event) => this.radius && action(event), true);
    listen("pointerdown", (event) => this.#down(event));
    listen("pointermove", (event) => this.#move(event));
    listen("pointerup", (event) => this.#up(event));
    for (const name of ["mousedown", "mousemove", "mouseup", "touchstart", "touchmove", "touchend"]) {
      listen(name, (event) => this.#locate(event.touches?.[0] ?? event) && event.stopPropagation());
    }
    stage.addEventListener("pointerleave", () => this.#clear());
  }

  start(radius, tool) {
    Object.assign(this, { radius, tool });
    this.overlay.hidden = false;
  }

  stop() {
    this.radius = 0;
    this.stroke = null;
    this.overlay.hidden = true;
  }

  // Position in mm, plane and px per mm under the pointer; null outside of the planes.
  #locate(event) {
    const planes = this.shown();
    if (!planes?.entry || NO_PLANES.includes(this.stage.dataset.layout)) return null;
    const { nv, canvas } = planes;
    const rect = canvas.getBoundingClientRect();
    const dpr = canvas.width / rect.width;
    const [x, y] = [(event.clientX - rect.left) * dpr, (event.clientY - rect.top) * dpr];
    const tile = nv.tileIndex(x, y);
    if (tile < 0 || tile >= nv.screenSlices.length) return null;
    const plane = PLANES[nv.screenSlices[tile].axCorSag];
    const mmAt = (px, py) => {
      const frac = nv.screenXY2TextureFrac(px, py, tile, false);
      return frac[0] < -1 ? null : [...nv.frac2mm(frac)].slice(0, 3);
    };
    const mm = mmAt(x, y);
    const other = mmAt(x + 20, y);
    if (!plane || !mm || !other) return null;
    const distance = Math.hypot(...mm.map((v, i) => v - other[i]));
    return { mm, plane, tile, perMm: distance ? 20 / distance / dpr : 0, x: event.clientX - rect.left, y: event.clientY - rect.top };
  }

  #down(event) {
    const at = this.#locate(event);
    if (!at || event.button > 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.stage.setPointerCapture(event.pointerId);
    this.stroke = { points: [at.mm], line: [at], plane: at.plane, tile: at.tile };
    this.#draw(at);
  }

  #move(event) {
    const at = this.#locate(event);
    if (!at) return this.#clear();
    if (this.stroke && at.tile === this.stroke.tile) {
      const last = this.stroke.line[this.stroke.line.length - 1];
      if (Math.hypot(at.x - last.x, at.y - last.y) >= STEP_PX) {
        this.stroke.points.push(at.mm);
        this.stroke.line.push(at);
      }
    }
    if (this.stroke) event.stopPropagation();
    return this.#draw(at);
  }

  #up(event) {
    const { stroke } = this;
    if (!stroke) return;
    event.stopPropagation();
    this.stroke = null;
    this.#clear();
    this.onStroke({ points: stroke.points, plane: stroke.plane });
  }

  #clear() {
    this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
  }

  #draw(at) {
    const { clientWidth, clientHeight } = this.stage;
    if (this.overlay.width !== clientWidth || this.overlay.height !== clientHeight) {
      Object.assign(this.overlay, { width: clientWidth, height: clientHeight });
    }
    const pen = this.overlay.getContext("2d");
    this.#clear();
    const radius = Math.max(2, this.radius * at.perMm);
    if (this.stroke) {
      pen.strokeStyle = this.tool === "erase" ? "#ff6a1388" : "#56b4e988";
      Object.assign(pen, { lineWidth: 2 * radius, lineCap: "round", lineJoin: "round" });
      pen.beginPath();
      pen.moveTo(this.stroke.line[0].x, this.stroke.line[0].y);
      for (const { x, y } of this.stroke.line) pen.lineTo(x, y + 0.01);
      pen.stroke();
    }
    Object.assign(pen, { lineWidth: 1.5, strokeStyle: "#ffffff" });
    pen.beginPath();
    pen.arc(at.x, at.y, radius, 0, 2 * Math.PI);
    pen.stroke();
  }
}
