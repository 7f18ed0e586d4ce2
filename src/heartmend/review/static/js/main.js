// The page: what a key or a click does.

import * as api from "./api.js";
import { listenToControls } from "./controls.js";
import { listenToKeys } from "./keys.js";
import { drawCases, drawChanges, drawDecision, drawStructures, drawTop } from "./panels.js";
import { Store } from "./store.js";
import { Sync } from "./sync.js";
import { Viewer, WINDOWS } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const LAYOUTS = ["all", "axial", "coronal", "sagittal", "solids"];

class Page {
  async begin() {
    this.store = new Store(await api.getRun());
    this.store.take(await api.getDecisions(0));
    this.who = localStorage.getItem("heartmend.who") || this.store.run.reviewer;
    this.sync = new Sync(this.store, () => this.#draw(), (text) => this.tell(text));
    this.changeAt = -1;
    this.changeOrder = [];
    this.viewer = new Viewer(this.store.run, byId("stage"), (mm) => this.#tellPlace(mm));
    await this.viewer.begin();
    listenToControls(this);
    listenToKeys(this);
    this.#drawControls();
    const first = [...this.store.cases.keys()];
    await this.open(first.find((id) => this.store.state(id) === "open") ?? first[0]);
    if (!this.who) this.askWho();
    this.sync.begin();
  }

  // Cases

  async open(id) {
    if (!id) return;
    this.store.current = id;
    this.changeAt = -1;
    const c = this.store.cases.get(id);
    const open = c.structures.find((s) => c.to_decide.includes(s.name) && this.#choice(s.name) === "open");
    this.store.selected = (open ?? c.structures.find((s) => c.to_decide.includes(s.name)))?.name ?? null;
    this.viewer.look.selected = this.#idOf(this.store.selected);
    this.#draw();
    const place = c.structures.find((s) => s.name === this.store.selected)?.at_mm;
    try {
      if (await this.viewer.show(id, this.store.shown(), place)) {
        this.#drawChanges();
        document.body.dataset.shown = id;
      }
    } catch (error) {
      if (error.name !== "AbortError") this.tell(`Case ${id} cannot be shown: ${error.message}`);
    }
  }

  step(by) {
    return this.open(this.store.neighbour(this.store.current, by));
  }

  nextOpen() {
    const next = this.store.nextOpen(this.store.current);
    if (next) return this.open(next);
    return this.tell("Every case that the filters show is decided.", "good");
  }

  // Structures and changes

  select(name, jump = true) {
    this.store.selected = name;
    this.changeAt = -1;
    this.viewer.draw({ selected: this.#idOf(name) });
    this.#draw();
    this.#drawChanges();
    const s = this.store.cases.get(this.store.current).structures.find((one) => one.name === name);
    if (jump && s?.at_mm) this.viewer.goTo(s.at_mm);
  }

  selectBy(by) {
    const names = this.store.cases.get(this.store.current).structures.map((s) => s.name);
    const at = names.indexOf(this.store.selected);
    this.select(names[(at + by + names.length) % names.length] ?? names[0]);
  }

  jump(index) {
    const change = this.viewer.entry?.changes[index];
    if (!change) return;
    this.changeAt = index;
    this.#drawChanges();
    this.viewer.goTo(change.at_mm);
  }

  jumpBy(by) {
    const order = this.changeOrder;
    const at = order.indexOf(this.changeAt);
    this.jump(order[at < 0 ? (by > 0 ? 0 : order.length - 1) : (at + by + order.length) % order.length]);
  }

  // Decisions: the page says so when the server has written it, not before.

  decide(choice) {
    const { selected } = this.store;
    const c = this.store.cases.get(this.store.current);
    if (!selected) return this.tell("Choose a structure first (arrow keys).");
    if (!c.to_decide.includes(selected)) return this.tell(`${selected} did not change; nothing is to be decided.`);
    return this.#write(c, [selected], choice, byId("note").value.trim(), () => this.#selectNextOpen(c));
  }

  decideRest(choice) {
    const c = this.store.cases.get(this.store.current);
    const open = c.to_decide.filter((s) => this.#choice(s) === "open");
    if (!open.length) return this.nextOpen();
    return this.#write(c, open, choice, null, () => this.nextOpen());
  }

  async #write(c, structures, choice, note, then) {
    if (!this.who) return this.askWho();
    const entries = structures.map((structure) => {
      const d = this.store.decision(c.case, structure);
      return { case: c.case, structure, choice, note: note ?? d.note, stamp: c.stamp, seen: d.number };
    });
    return this.sync.send(() => api.writeDecisions(this.who, entries), then);
  }

  undo() {
    return this.sync.send(() => api.undoDecision(this.who), (back) => {
      if (!back.length) return this.tell("There is nothing to undo.");
      if (back[0].case !== this.store.current) return this.open(back[0].case).then(() => this.select(back[0].structure));
      return this.select(back[0].structure);
    });
  }

  #selectNextOpen(c) {
    if (c.case !== this.store.current) return;
    const names = c.structures.map((s) => s.name);
    const at = names.indexOf(this.store.selected);
    const order = [...names.slice(at + 1), ...names.slice(0, at)];
    const next = order.find((s) => c.to_decide.includes(s) && this.#choice(s) === "open");
    if (next) this.select(next);
  }

  editNote() {
    byId("note").focus();
  }

  saveNote() {
    const c = this.store.cases.get(this.store.current);
    const { selected } = this.store;
    byId("note").blur();
    if (!selected || !c.to_decide.includes(selected)) return undefined;
    return this.#write(c, [selected], this.#choice(selected), byId("note").value.trim(), () => undefined);
  }

  // The look

  flip() {
    this.#blend(this.viewer.look.blend > 0.5 ? 0 : 100);
  }

  blendBy(by) {
    this.#blend(Math.min(100, Math.max(0, Number(byId("blend").value) + by)));
  }

  #blend(percent) {
    byId("blend").value = percent;
    this.viewer.draw({ blend: percent / 100 });
  }

  toggleChanges() {
    this.viewer.draw({ showChanges: !this.viewer.look.showChanges });
    this.#drawControls();
  }

  toggleFill() {
    this.viewer.draw({ fill: this.viewer.look.fill ? 0 : 0.28 });
    this.#drawControls();
  }

  toggleLabels() {
    const labels = this.viewer.look.labels ? 0 : 1;
    this.viewer.draw({ labels, showChanges: Boolean(labels) });
    this.#drawControls();
  }

  nextWindow() {
    this.viewer.draw({ window: (this.viewer.look.window + 1) % WINDOWS.length });
    this.#drawControls();
  }

  nextLayout() {
    this.viewer.setLayout(LAYOUTS[(LAYOUTS.indexOf(this.viewer.layout) + 1) % LAYOUTS.length]);
  }

  slice(x, y, z) {
    this.viewer.step(x, y, z);
  }

  // Talking

  tell(text, kind = "bad") {
    const banner = byId("banner");
    banner.className = kind;
    banner.querySelector("span").textContent = text;
    banner.hidden = false;
  }

  help() {
    byId("help").showModal();
  }

  leave() {
    byId("banner").hidden = true;
    document.querySelector("dialog[open]")?.close();
    document.activeElement?.blur();
  }

  askWho() {
    byId("who-input").value = this.who ?? "";
    byId("ask-who").showModal();
  }

  #tellPlace(mm) {
    const found = this.viewer.entry && this.viewer.at(mm);
    const name = (id) => this.store.run.structures.find((s) => s.id === id)?.name ?? "background";
    const change = found && (found.before === found.after ? name(found.after) : `${name(found.before)} → ${name(found.after)}`);
    const hu = found?.hu === null || !found ? "" : `${Math.round(found.hu)} HU · `;
    byId("readout").textContent = found ? `${hu}${change} · ${mm.map((v) => v.toFixed(0)).join(", ")} mm` : "";
  }

  #choice(structure) {
    return this.store.decision(this.store.current, structure).choice;
  }

  #idOf(name) {
    return this.store.run.structures.find((s) => s.name === name)?.id ?? 0;
  }

  setWho(name) {
    if (!name) return;
    this.who = name;
    localStorage.setItem("heartmend.who", name);
    drawTop(this.store, name);
  }

  filter(filters) {
    this.store.filters = filters;
    this.#draw();
  }

  #draw() {
    drawTop(this.store, this.who);
    drawCases(this.store, (id) => this.open(id));
    drawStructures(this.store, (name) => this.select(name));
    drawDecision(this.store);
  }

  #drawChanges() {
    this.changeOrder = drawChanges(this.store, this.viewer.entry?.changes ?? [], this.changeAt, (i) => this.jump(i));
  }

  #drawControls() {
    byId("show-changes").setAttribute("aria-pressed", String(this.viewer.look.showChanges));
    byId("show-fill").setAttribute("aria-pressed", String(this.viewer.look.fill > 0));
    byId("window").textContent = `CT: ${WINDOWS[this.viewer.look.window].name}`;
  }

  async loadTable(file) {
    try {
      const { written, known, older } = await api.loadTable(await file.text());
      this.store.take(await api.getDecisions(0));
      this.#draw();
      this.tell(`Table taken: ${written} decisions written, ${known} known already, ${older} older than what is here.`, "good");
    } catch (error) {
      this.tell(error.message);
    }
  }
}

// Named so that a test, or a curious person at the console, finds it.
window.page = new Page();
window.page.begin().catch((error) => {
  document.getElementById("loading").textContent = `The page could not begin: ${error.message}`;
  document.getElementById("loading").hidden = false;
});
