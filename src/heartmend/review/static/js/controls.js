// Buttons, fields and filters.

import { element } from "./panels.js";
import { WINDOWS } from "./viewer.js";

const byId = (id) => document.getElementById(id);

export function listenToControls(page) {
  for (const button of document.querySelectorAll("#decide [data-choice]")) {
    button.addEventListener("click", () => page.decide(button.dataset.choice));
  }
  byId("undo").addEventListener("click", () => page.undo());
  byId("note").addEventListener("keydown", (event) => event.key === "Enter" && page.saveNote());
  byId("blend").addEventListener("input", () => page.viewer.draw({ blend: byId("blend").value / 100 }));
  byId("show-changes").addEventListener("click", () => page.display.toggleChanges());
  byId("show-doubt").addEventListener("click", () => page.display.toggleDoubt());
  byId("show-fill").addEventListener("click", () => page.display.toggleFill());
  byId("window").replaceChildren(
    ...WINDOWS.map(({ name, width, level }, i) => element("option", { value: i }, `${name}, ${width} / ${level}`)),
    element("option", { value: "own", disabled: true }, "own values"),
  );
  byId("window").addEventListener("change", () => page.display.setWindow(WINDOWS[byId("window").value]));
  for (const part of ["width", "level"]) {
    byId(`window-${part}`).addEventListener("change", (event) => {
      if (event.target.validity.valid && event.target.value !== "") page.display.setWindow({ [part]: Number(event.target.value) });
    });
  }
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => page.display.setLayout(button.dataset.view));
  for (const button of document.querySelectorAll("#tabs button")) button.addEventListener("click", () => page.showTab(button.dataset.tab));
  byId("cut").addEventListener("click", () => page.display.nextCut());
  byId("crosshair").addEventListener("click", () => page.display.toggleCrosshair());
  byId("reset-cuts").addEventListener("click", () => page.viewer.cuts.reset());
  byId("next-vessel").addEventListener("click", () => page.viewer.cuts.nextVessel(1));
  byId("help-button").addEventListener("click", () => page.help());
  byId("reviewer").addEventListener("click", () => page.askReviewer());
  byId("banner").querySelector("button").addEventListener("click", () => page.close());
  byId("ask-reviewer").addEventListener("close", () => {
    page.setReviewer(byId("reviewer-input").value.trim());
  });
  byId("load-table").addEventListener("change", (event) => {
    if (event.target.files[0]) page.loadTable(event.target.files[0]);
    event.target.value = "";
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filter-structure").replaceChildren(
    element("option", { value: "" }, "any structure"),
    ...page.store.run.structures.map((s) => element("option", { value: s.name }, s.name)),
  );
  byId("filters").addEventListener("input", () => {
    page.filter({
      structure: byId("filter-structure").value, state: byId("filter-state").value,
      severity: byId("filter-severity").value, ml: Number(byId("filter-ml").value) || 0,
    });
  });
  // A button keeps no focus: the space key would press it again.
  document.addEventListener("click", (event) => event.target.closest("button, a")?.blur());
}
