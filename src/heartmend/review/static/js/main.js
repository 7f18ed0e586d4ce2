// The page: actions of keys and buttons.

import * as api from "./api.js";
import { Budget, worstOpen } from "./budget.js";
import { listenToControls } from "./controls.js";
import { Decide } from "./decide.js";
import { Display } from "./display.js";
import { Edit } from "./edit.js";
import { listenToKeys } from "./keys.js";
import { drawCases, drawChanges, drawDecision, drawStructures, drawTop } from "./panels.js";
import { Store } from "./store.js";
import { after, Sync } from "./sync.js";
import { Viewer } from "./viewer.js";

const PATIENCE_MS = 150; // until the canvas starts although no case is there yet

const byId = (id) => document.getElementById(id);

class Page {
  async start() {
    this.store = new Store(await api.getRun());
    this.store.update(await api.getDecisions(0));
    this.reviewer = localStorage.getItem("heartmend.reviewer") || this.store.run.reviewer;
    this.sync = new Sync(this.store, () => this.#draw(), (text) => this.showMessage(text));
    this.decisions = new Decide(this);
    this.currentChange = -1;
    this.changeOrder = [];
    this.viewer = new Viewer(this.store.run, byId("stage"), {
      onMove: (mm) => this.#showPosition(mm), onError: (text) => this.showMessage(text),
    });
    this.display = new Display(this);
    this.edit = new Edit(this);
    this.budget = new Budget(this);
    listenToControls(this);
    listenToKeys(this);
    this.display.drawControls();
    // The first case is on its way before the canvas starts, which takes the main thread.
    const arrival = this.sync.firstCase().then(() => this.#fetchFirst());
    await Promise.race([arrival, after(PATIENCE_MS)]);
    await this.viewer.start();
    const first = await arrival;
    await this.open(first);
    this.display.drawControls();
    if (!this.reviewer) this.askReviewer();
    this.sync.start();
    this.sync.followCases();
  }

  // Cases

  #fetchFirst() {
    if (!this.store.cases.size) throw new Error(Object.entries(this.store.run.left_out).map((one) => one.join(": ")).join("; "));
    const ids = [...this.store.cases.keys()];
    const first = ids.find((id) => ["open", "begun"].includes(this.store.state(id))) ?? ids[0];
    this.viewer.fetch(first, ids);
    return first;
  }

  async open(id) {
    if (!id) return;
    if (id !== this.store.current && !this.#leaveEdit()) return;
    this.store.current = id;
    this.currentChange = -1;
    const c = this.store.cases.get(id);
    // With a filter for a structure, this is what is reviewed.
    const named = c.changed_structures.find((name) => name === this.store.filters.structure);
    const open = c.changed_structures.find((name) => this.store.structureState(id, name) === "open");
    this.store.selected = named ?? open ?? c.changed_structures[0] ?? null;
    this.viewer.display.selected = this.#idOf(this.store.selected);
    this.#draw();
    const point = c.structures.find((s) => s.name === this.store.selected)?.point_mm;
    try {
      if (await this.viewer.show(id, this.store.shown(), point)) {
        this.#drawChanges();
        document.body.dataset.shown = id;
      }
    } catch (error) {
      if (error.name !== "AbortError") this.showMessage(`Case ${id} cannot be displayed: ${error.message}`);
    }
  }

  step(by) {
    return this.open(this.store.neighbour(this.store.current, by));
  }

  async nextOpen() {
    const { current } = this.store;
    let next = this.store.nextOpen(current);
    while (!next && this.store.waiting && this.store.current === current) {
      this.showMessage("The next case is being prepared …", "good");
      await this.sync.moreCases();
      next = this.store.nextOpen(current);
    }
    if (this.store.current !== current) return undefined;
    byId("banner").hidden = true;
    if (next) return this.open(next);
    return this.showMessage("All listed cases are decided.", "good");
  }

  // The open structure whose correction removes most of the expected error in a minute, in any case.
  async worst() {
    const found = worstOpen(this.store);
    if (!found) return this.showMessage("Nothing is open.", "good");
    if (found.case !== this.store.current) await this.open(found.case);
    return this.select(found.structure);
  }

  // Structures and changes

  select(name, jump = true) {
    this.store.selected = name;
    this.currentChange = -1;
    this.viewer.draw({ selected: this.#idOf(name) });
    this.#draw();
    const s = this.store.cases.get(this.store.current).structures.find((one) => one.name === name);
    if (jump && s?.point_mm) this.viewer.goTo(s.point_mm);
  }

  selectBy(by) {
    const names = this.store.cases.get(this.store.current).structures.map((s) => s.name);
    const at = names.indexOf(this.store.selected);
    this.select(names[(at + by + names.length) % names.length] ?? names[0]);
  }

  jump(index) {
    const change = this.viewer.entry?.changes[index];
    if (!change) return;
    this.currentChange = index;
    this.#draw();
    this.viewer.goTo(change.point_mm);
  }

  jumpBy(by) {
    const order = this.changeOrder;
    const at = order.indexOf(this.currentChange);
    this.jump(order[at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length]);
  }

  // The change that is displayed; null without one.
  current() {
    return (this.viewer.entry?.id === this.store.current && this.viewer.entry?.changes[this.currentChange]) || null;
  }

  // Decisions

  decide(choice) {
    return this.decisions.decide(choice);
  }

  decideOpen(choice) {
    return this.decisions.decideOpen(choice);
  }

  decideChange(index, choice) {
    this.jump(index);
    return this.decisions.decide(choice);
  }

  // While a case is corrected, undo is about the steps of the correction.
  undo() {
    return this.edit.isOn ? this.edit.undo() : this.decisions.undo();
  }

  // A correction that is not saved is not lost without a question.
  #leaveEdit() {
    if (this.edit.isOn && this.edit.operations.length && !window.confirm("Discard the correction that is not saved?")) return false;
    this.edit.stop();
    return true;
  }

  editNote() {
    return this.decisions.editNote();
  }

  saveNote() {
    return this.decisions.saveNote();
  }

  // Messages and dialogs

  // On a narrow screen one part of the page is visible at a time.
  showTab(name) {
    document.body.dataset.tab = name;
    for (const button of document.querySelectorAll("#tabs button")) button.setAttribute("aria-pressed", String(button.dataset.tab === name));
  }

  showMessage(text, kind = "bad") {
    const banner = byId("banner");
    banner.className = kind;
    banner.querySelector("span").textContent = text;
    banner.hidden = false;
  }

  help() {
    byId("help").showModal();
  }

  close() {
    byId("banner").hidden = true;
    document.querySelector("dialog[open]")?.close();
    document.activeElement?.blur();
  }

  askReviewer() {
    byId("reviewer-input").value = this.reviewer ?? "";
    byId("ask-reviewer").showModal();
  }

  #showPosition(mm) {
    const found = this.viewer.entry && this.viewer.at(mm);
    const name = (id) => this.store.run.structures.find((s) => s.id === id)?.name ?? "background";
    const change = found && (found.before === found.after ? name(found.after) : `${name(found.before)} → ${name(found.after)}`);
    const hu = found?.hu === null || !found ? "" : `${Math.round(found.hu)} HU · `;
    const doubt = found?.doubt ? `error ${found.doubt} % · ` : "";
    byId("readout").textContent = found ? `${hu}${doubt}${change} · ${mm.map((v) => v.toFixed(0)).join(", ")} mm` : "";
  }

  #idOf(name) {
    return this.store.run.structures.find((s) => s.name === name)?.id ?? 0;
  }

  setReviewer(name) {
    if (!name) return;
    this.reviewer = name;
    localStorage.setItem("heartmend.reviewer", name);
    drawTop(this.store, name);
  }

  filter(filters) {
    const isOther = filters.structure !== this.store.filters.structure;
    this.store.filters = filters;
    const { changed_structures: changed } = this.store.cases.get(this.store.current);
    if (isOther && changed.includes(filters.structure)) this.select(filters.structure);
    this.#draw();
  }

  #draw() {
    drawTop(this.store, this.reviewer);
    drawCases(this.store, (id) => {
      this.showTab("images");
      this.open(id);
    });
    drawStructures(this.store, (name) => this.select(name));
    if (this.edit?.isOn) this.edit.drawBar();
    this.budget?.draw();
    drawDecision(this.store, this.decisions.target());
    this.decisions.drawNote();
    this.#drawChanges();
  }

  #drawChanges() {
    const entry = this.viewer.entry?.id === this.store.current ? this.viewer.entry : null;
    const actions = { jump: (i) => this.jump(i), decide: (i, choice) => this.decideChange(i, choice) };
    this.changeOrder = drawChanges(this.store, entry?.changes ?? [], this.currentChange, actions);
  }

  async loadTable(file) {
    try {
      const { written, known, older } = await api.loadTable(await file.text());
      this.store.update(await api.getDecisions(0));
      this.#draw();
      this.showMessage(`Table imported: ${written} decisions written, ${known} known already, ${older} older than the current ones.`, "good");
    } catch (error) {
      this.showMessage(error.message);
    }
  }
}

// Global, so that tests and the browser console can use it.
window.page = new Page();
window.page.start().catch((error) => {
  document.querySelector("#loading span").textContent = `The page could not start: ${error.message}`;
  document.getElementById("loading").hidden = false;
});
