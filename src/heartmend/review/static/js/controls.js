// Buttons, fields and filters.

import { element } from "./panels.js";

const byId = (id) => document.getElementById(id);

export function listenToControls(page) {
  for (const button of document.querySelectorAll("#decide [data-choice]")) {
    button.addEventListener("click", () => page.decide(button.dataset.choice));
  }
  byId("undo").addEventListener("click", () => page.undo());
  byId("note").addEventListener("keydown", (event) => event.key === "Enter" && page.saveNote());
  byId("blend").addEventListener("input", () => page.viewer.draw({ blend: byId("blend").value / 100 }));
  byId("show-changes").addEventListener("click", () => page.toggleChanges());
  byId("show-fill").addEventListener("click", () => page.toggleFill());
  byId("window").addEventListener("click", () => page.nextWindow());
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
    element("option", { value: "" }, "all structures"),
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
