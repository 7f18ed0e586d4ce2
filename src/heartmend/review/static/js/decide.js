// Decisions: about the current change, else about the selected structure. The page shows "saved" only after the server
// has written. A note belongs to what was selected when its field got the focus.

import * as api from "./api.js";
import { element } from "./panels.js";
import { WORDS } from "./states.js";

const byId = (id) => document.getElementById(id);
const LISTED = 6; // flagged changes in the question before all are accepted

const describe = (d, change) => (d.change ? `${change ? change.action : "a change"} of ${d.structure}` : d.structure);

export class Decide {
  constructor(page) {
    this.page = page;
    this.asked = new Set();
    byId("ask-accept").addEventListener("close", () => this.#answered());
  }

  get store() {
    return this.page.store;
  }

  // What a key decides about now: a change that has voxels, else a structure; null without a selection.
  target() {
    const { store } = this;
    const c = store.cases.get(store.current);
    const change = this.page.current();
    if (change?.key) return { case: c.case, structure: change.structure, change: change.key, what: change };
    return store.selected ? { case: c.case, structure: store.selected, change: "" } : null;
  }

  decide(choice) {
    const target = this.target();
    if (!target) return this.page.showMessage("Select a structure (arrow keys) or a change (c) first.");
    const c = this.store.cases.get(target.case);
    if (!target.change && !c.changed_structures.includes(target.structure)) {
      return this.page.showMessage(`${target.structure} is unchanged; no decision is needed.`);
    }
    const note = this.#typedNote(target);
    const entries = [this.#entry(target, choice, note)];
    const state = this.store.structureState(target.case, target.structure);
    if (!target.change && state !== "open" && choice !== "correct") {
      // Nothing of it is open any more: now the whole structure is meant.
      entries.push(...this.#ownDecisions(target).map((d) => this.#entry(d, "open")));
    }
    return this.#write(entries, () => {
      // A flag wants a note: the selection stays, and the field gets the focus.
      if (choice === "correct") return this.editNote();
      return target.change ? this.#nextChange(target) : this.#nextStructure(target);
    });
  }

  // Accept or reject all that is open in the case. Flagged changes are asked for once in each case.
  async decideOpen(choice) {
    const { store, page } = this;
    const c = store.cases.get(store.current);
    const open = c.changed_structures.filter((s) => store.structureState(c.case, s) === "open");
    if (!open.length) return page.nextOpen();
    if (choice === "accept" && !this.asked.has(c.case)) {
      const changes = (await page.viewer.entryOf(c.case))?.changes ?? [];
      const flagged = changes.filter((one) => one.is_flagged && store.choiceOfChange(c.case, one) === "open");
      if (store.current !== c.case) return undefined;
      if (flagged.length) return this.#ask(c, flagged, changes);
    }
    return this.#decideAll(c, open, choice);
  }

  undo() {
    const send = () => api.undoDecision(this.page.reviewer);
    return this.page.sync.send(send, ({ undone, decisions: restored }) => {
      if (!undone.length) return this.page.showMessage("There is nothing to undo.");
      const [d] = restored;
      const changes = this.page.viewer.entry?.id === d.case ? this.page.viewer.entry.changes : [];
      this.page.showMessage(`Undone: ${describeUndone(undone, restored, changes)}.`, "good");
      return this.#show(d);
    });
  }

  // Notes

  editNote() {
    if (this.target()) byId("note").focus();
  }

  saveNote() {
    const note = byId("note");
    const target = this.noteTarget;
    note.blur();
    if (!target) return undefined;
    const known = this.store.decision(target.case, target.structure, target.change);
    return this.#write([this.#entry(target, known.choice, note.value.trim())], () => undefined);
  }

  // The field shows the note on the target, unless someone is writing in it.
  drawNote() {
    const note = byId("note");
    if (document.activeElement === note) return;
    const target = this.target();
    const c = this.store.cases.get(this.store.current);
    this.noteTarget = target && (target.change || c.changed_structures.includes(target.structure)) ? target : null;
    const d = this.noteTarget && this.store.decision(target.case, target.structure, target.change);
    note.value = d?.note ?? "";
    note.disabled = !this.noteTarget;
    note.placeholder = this.noteTarget ? `note on ${describe(target, target.what)} (e), Enter saves` : "no note";
  }

  #typedNote(target) {
    const isOwn = this.noteTarget && ["case", "structure", "change"].every((k) => this.noteTarget[k] === target[k]);
    return isOwn ? byId("note").value.trim() : null;
  }

  #entry(target, choice, note = null) {
    const { case: id, structure, change } = target;
    const d = this.store.decision(id, structure, change);
    const { stamp } = this.store.cases.get(id);
    return { case: id, structure, change, choice, note: note ?? d.note, stamp, follows: d.number };
  }

  #ownDecisions(target) {
    const changes = this.page.viewer.entry?.id === target.case ? this.page.viewer.entry.changes : [];
    return changes
      .filter((one) => one.key && one.structures.includes(target.structure))
      .map((one) => this.store.decision(target.case, one.structure, one.key))
      .filter((d) => d.number && d.choice !== "open");
  }

  async #write(entries, then) {
    if (!this.page.reviewer) return this.page.askReviewer();
    return this.page.sync.send(() => api.writeDecisions(this.page.reviewer, entries), then);
  }

  #decideAll(c, open, choice) {
    const entries = open.map((structure) => this.#entry({ case: c.case, structure, change: "" }, choice));
    return this.#write(entries, () => this.page.nextOpen());
  }

  #nextChange(target) {
    if (target.case !== this.store.current) return;
    const { changes } = this.page.viewer.entry;
    const order = this.page.changeOrder;
    const at = order.findIndex((i) => changes[i].key === target.change);
    const next = [...order.slice(at + 1), ...order.slice(0, at)].find(
      (i) => changes[i].key && this.store.choiceOfChange(target.case, changes[i]) === "open");
    if (next !== undefined) this.page.jump(next);
  }

  #nextStructure(target) {
    if (target.case !== this.store.current) return;
    const c = this.store.cases.get(target.case);
    const names = c.structures.map((s) => s.name);
    const at = names.indexOf(target.structure);
    const next = [...names.slice(at + 1), ...names.slice(0, at)].find(
      (s) => c.changed_structures.includes(s) && this.store.structureState(c.case, s) === "open");
    if (next) this.page.select(next);
  }

  async #show(d) {
    if (d.case !== this.store.current) await this.page.open(d.case);
    this.page.select(d.structure);
    const index = d.change ? this.page.viewer.entry?.changes.findIndex((one) => one.key === d.change) : -1;
    if (index >= 0) this.page.jump(index);
  }

  #ask(c, flagged, changes) {
    this.question = { c, first: changes.indexOf(flagged[0]) };
    const rows = flagged.slice(0, LISTED).map((one) => element("li", {}, `${one.structure} ${one.action}${one.note ? `: ${one.note}` : ""}`));
    if (flagged.length > LISTED) rows.push(element("li", {}, `and ${flagged.length - LISTED} more`));
    const many = flagged.length > 1 ? `${flagged.length} open changes need` : "1 open change needs";
    byId("ask-accept-text").textContent = `Case ${c.case}: ${many} a look:`;
    byId("ask-accept-list").replaceChildren(...rows);
    byId("ask-accept").returnValue = "";
    byId("ask-accept").showModal();
  }

  #answered() {
    const { c, first } = this.question;
    this.asked.add(c.case);
    if (byId("ask-accept").returnValue !== "accept") return this.page.jump(first);
    const open = c.changed_structures.filter((s) => this.store.structureState(c.case, s) === "open");
    return this.#decideAll(c, open, "accept");
  }
}

// For example "the note on RV (case 3)", "the flag on RA (case 3)", "3 decisions of case 3 (accepted)".
export function describeUndone(undone, restored, changes = []) {
  const [d] = undone;
  if (undone.length > 1) return `${undone.length} decisions of case ${d.case} (${WORDS[d.choice]})`;
  const before = restored.find((r) => r.structure === d.structure && r.change === d.change);
  const what = describe(d, changes.find((one) => one.key === d.change));
  if (before && before.choice === d.choice) return `the note on ${what} (case ${d.case})`;
  return `${WORDS[d.choice]} for ${what} (case ${d.case})`;
}
