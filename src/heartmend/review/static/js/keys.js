// Every key and what it does; the help is made from the same table.

import { element } from "./panels.js";

export function keyTable(page) {
  return [
    ["n", "next case", () => page.step(1)],
    ["p", "previous case", () => page.step(-1)],
    ["j", "next case that is not decided", () => page.nextOpen()],
    ["ArrowDown", "next structure", () => page.selectBy(1)],
    ["ArrowUp", "previous structure", () => page.selectBy(-1)],
    ["0", "no structure: the whole map", () => page.select(null)],
    ["a", "accept: take the mended structure", () => page.decide("accept")],
    ["k", "keep: the original structure stays", () => page.decide("keep")],
    ["f", "flag: to be corrected by hand", () => page.decide("manual")],
    ["A", "accept all that is open here, then next case", () => page.decideRest("accept")],
    ["K", "keep all that is open here, then next case", () => page.decideRest("keep")],
    ["u", "undo your last decision", () => page.undo()],
    ["e", "note on the structure (Enter saves)", () => page.editNote()],
    ["c", "next change", () => page.jumpBy(1)],
    ["C", "previous change", () => page.jumpBy(-1)],
    ["b", "flip between before and after", () => page.flip()],
    ["[", "blend towards before", () => page.blendBy(-10)],
    ["]", "blend towards after", () => page.blendBy(10)],
    ["d", "colour what changed", () => page.toggleChanges()],
    ["s", "filled or outlines", () => page.toggleFill()],
    ["h", "hide labels, CT alone", () => page.toggleLabels()],
    ["w", "CT window", () => page.nextWindow()],
    ["v", "one view large, or all", () => page.nextLayout()],
    [",", "axial slice down", () => page.slice(0, 0, -1)],
    [".", "axial slice up", () => page.slice(0, 0, 1)],
    ["<", "coronal slice back", () => page.slice(0, -1, 0)],
    [">", "coronal slice forward", () => page.slice(0, 1, 0)],
    [";", "sagittal slice to the left", () => page.slice(-1, 0, 0)],
    ["'", "sagittal slice to the right", () => page.slice(1, 0, 0)],
    ["g", "go to the filters", () => document.getElementById("filter-structure").focus()],
    ["?", "these keys", () => page.help()],
    ["Escape", "close, or leave a field", () => page.leave()],
  ];
}

const SHOWN = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };

export function listenToKeys(page) {
  const table = keyTable(page);
  const act = new Map(table.map(([key, , does]) => [key, does]));
  act.set("ArrowRight", act.get("n"));
  act.set("ArrowLeft", act.get("p"));
  document.getElementById("help-keys").replaceChildren(
    ...table.flatMap(([key, says]) => [
      element("dt", {}, element("kbd", {}, SHOWN[key] ?? key)), element("dd", {}, says),
    ]),
  );
  // Captured before NiiVue, whose canvases have keys of their own.
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const typing = event.target.closest?.("input:not([type=range]):not([type=file]), select, dialog[open]");
      if (typing && event.key !== "Escape") return;
      const does = act.get(event.key);
      if (!does) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      does();
    },
    true,
  );
}
