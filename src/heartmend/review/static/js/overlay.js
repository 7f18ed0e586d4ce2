// Text on the images: what is shown, the anatomical letters of both ends of each axis, a scale bar, and the crosshair
// of the cuts that NiiVue does not draw.

import { element } from "./panels.js";

const SCALES_MM = [1, 2, 5, 10, 20, 50, 100];
const LONGEST_BAR_PX = 110;

const percent = (share) => Math.round(100 * share);

// "AFTER", "BEFORE", or the shares of both.
export function stateText(blend) {
  if (blend === 0) return "BEFORE";
  return blend === 1 ? "AFTER" : `BEFORE ${100 - percent(blend)} % · AFTER ${percent(blend)} %`;
}

export class Overlay {
  constructor(root) {
    this.root = root;
    this.tiles = [];
  }

  // Each tile: {rect, title, state, kind, letters: {left, right, top, bottom}, mmPerPx, lines: [[x1, y1, x2, y2]]}.
  draw(tiles) {
    while (this.tiles.length < tiles.length) this.tiles.push(this.#make());
    this.tiles.forEach((made, i) => {
      const tile = tiles[i];
      made.root.hidden = !tile;
      if (tile) this.#fill(made, tile);
    });
  }

  #make() {
    const parts = Object.fromEntries(["state", "title", "left", "right", "top", "bottom", "bar"].map((name) => [name, element("span", { class: `on-${name}` })]));
    parts.ruler = element("span", { class: "on-ruler" }, parts.bar, element("i", {}));
    parts.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const { state, title, left, right, top, bottom, ruler, svg } = parts;
    parts.root = element("div", { class: "tile" }, svg, element("div", { class: "on-head" }, state, title), left, right, top, bottom, ruler);
    this.root.append(parts.root);
    return parts;
  }

  #fill(made, tile) {
    const [left, top, width, height] = tile.rect;
    Object.assign(made.root.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    made.root.dataset.kind = tile.kind;
    made.state.textContent = tile.state ?? "";
    made.state.dataset.state = tile.state === "BEFORE" ? "before" : tile.state === "AFTER" ? "after" : "both";
    made.title.textContent = tile.title;
    for (const side of ["left", "right", "top", "bottom"]) made[side].textContent = tile.letters?.[side] ?? "";
    made.ruler.hidden = !tile.mmPerPx;
    if (tile.mmPerPx) {
      const mm = SCALES_MM.findLast((one) => one / tile.mmPerPx <= LONGEST_BAR_PX) ?? SCALES_MM[0];
      made.bar.textContent = mm < 10 ? `${mm} mm` : `${mm / 10} cm`;
      made.ruler.lastChild.style.width = `${mm / tile.mmPerPx}px`;
    }
    made.svg.replaceChildren(
      ...(tile.lines ?? []).map(([x1, y1, x2, y2, kind]) => {
        const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        for (const [name, value] of Object.entries({ x1, y1, x2, y2, class: kind ?? "cross" })) line.setAttribute(name, value);
        return line;
      }),
    );
  }
}
