// Table of keys and their actions; the help dialog is built from it.

import { element } from "./panels.js";

export function keyTable(page) {
  return [
    ["n", "next case", () => page.step(1)],
    ["p", "previous case", () => page.step(-1)],
    ["j", "next open case", () => page.nextOpen()],
    ["q", "open structure whose correction removes most of the expected error in a minute", () => page.worst()],
    ["ArrowDown", "next structure", () => page.selectBy(1)],
    ["ArrowUp", "previous structure", () => page.selectBy(-1)],
    ["0", "all structures", () => page.select(null)],
    ["a", "accept the change or the structure", () => page.decide("accept")],
    ["r", "reject it: keep the original voxels", () => page.decide("reject")],
    ["f", "flag it for correction by hand, with a note", () => page.decide("correct")],
    ["A", "accept all that is open, then next case", () => page.decideOpen("accept")],
    ["R", "reject all that is open, then next case", () => page.decideOpen("reject")],
    ["u", "undo your last decision or note", () => page.undo()],
    ["e", "edit the note on it (Enter saves)", () => page.editNote()],
    ["c", "next change; then a, r and f decide about it", () => page.jumpBy(1)],
    ["C", "previous change", () => page.jumpBy(-1)],
    ["x", "correct by hand: brush, eraser, growth, bridge", () => page.edit.toggle()],
    ["-", "smaller brush", () => page.edit.resize(0.8)],
    ["+", "larger brush", () => page.edit.resize(1.25)],
    ["b", "switch between before and after", () => page.display.flip()],
    ["[", "blend towards before", () => page.display.blendBy(-10)],
    ["]", "blend towards after", () => page.display.blendBy(10)],
    ["d", "show or hide the differences", () => page.display.toggleChanges()],
    ["y", "show or hide the probability of an error", () => page.display.toggleDoubt()],
    ["s", "filled or outlines", () => page.display.toggleFill()],
    ["h", "hide labels, CT only", () => page.display.toggleLabels()],
    ["w", "next CT window", () => page.display.nextWindow()],
    ["1", "axial, coronal and sagittal plane", () => page.display.setLayout("all")],
    ["2", "planes of the heart's own axes", () => page.display.setLayout("heart")],
    ["3", "straightened vessels", () => page.display.setLayout("vessel")],
    ["4", "surfaces in 3D", () => page.display.setLayout("solids")],
    ["v", "one plane or all planes", () => page.display.nextLayout()],
    ["i", "show or hide the crosshair", () => page.display.toggleCrosshair()],
    ["k", "cut the surfaces at the crosshair", () => page.display.nextCut()],
    ["o", "reset the heart's planes", () => page.viewer.cuts.reset()],
    ["t", "next vessel", () => page.viewer.cuts.nextVessel(1)],
    ["T", "previous vessel", () => page.viewer.cuts.nextVessel(-1)],
    ["(", "towards the origin of the vessel", () => page.viewer.cuts.moveAlong(-2)],
    [")", "towards the tip of the vessel", () => page.viewer.cuts.moveAlong(2)],
    [",", "axial slice down", () => page.display.slice(0, 0, -1)],
    [".", "axial slice up", () => page.display.slice(0, 0, 1)],
    ["<", "coronal slice back", () => page.display.slice(0, -1, 0)],
    [">", "coronal slice forward", () => page.display.slice(0, 1, 0)],
    [";", "sagittal slice to the left", () => page.display.slice(-1, 0, 0)],
    ["'", "sagittal slice to the right", () => page.display.slice(1, 0, 0)],
    ["g", "go to the filters", () => document.getElementById("filter-structure").focus()],
    ["?", "show the keys", () => page.help()],
    ["Escape", "close a dialog, leave a field", () => page.close()],
  ];
}

const SYMBOLS = { ArrowDown: "↓", ArrowUp: "↑", Escape: "Esc" };

export function listenToKeys(page) {
  const table = keyTable(page);
  const actions = new Map(table.map(([key, , action]) => [key, action]));
  actions.set("ArrowRight", actions.get("n"));
  actions.set("ArrowLeft", actions.get("p"));
  document.getElementById("help-keys").replaceChildren(
    ...table.flatMap(([key, description]) => [
      element("dt", {}, element("kbd", {}, SYMBOLS[key] ?? key)), element("dd", {}, description),
    ]),
  );
  // Captured before NiiVue, whose canvases have their own keys.
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const isTyping = event.target.closest?.("input:not([type=range]):not([type=file]), select, dialog[open]");
      if (isTyping && event.key !== "Escape") return;
      const action = actions.get(event.key);
      if (!action) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      action();
    },
    true,
  );
}
