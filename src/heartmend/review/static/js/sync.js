// Writing of decisions, and polling for decisions of other reviewers. "saved" is shown only after the server has written.

import * as api from "./api.js";

const POLL_MS = 5000;
const FIRST_CASE_MS = 200; // while the reviewer waits for a case
const NEXT_CASE_MS = 2000; // while others are prepared

export const after = (ms) => new Promise((done) => setTimeout(done, ms));

export class Sync {
  constructor(store, redraw, showMessage) {
    Object.assign(this, { store, redraw, showMessage, isWriting: false });
  }

  start() {
    setInterval(() => this.#poll(), POLL_MS);
  }

  // Resolve when a case is ready; the others are added to the list when they are.
  async firstCase() {
    let delay = 0;
    while (!this.store.cases.size && this.store.waiting) {
      await this.moreCases(delay);
      delay = FIRST_CASE_MS;
    }
  }

  async followCases() {
    while (this.store.waiting) await this.moreCases(NEXT_CASE_MS);
  }

  async moreCases(delay = FIRST_CASE_MS) {
    await after(delay);
    try {
      const found = await api.getCases(this.store.added);
      const isNew = found.waiting !== this.store.waiting || found.cases.length;
      this.store.addCases(found);
      if (isNew && this.store.current) this.redraw();
    } catch {
      this.#showStatus("no connection", "bad");
    }
  }

  // One write at a time; `then` gets the decisions that were written.
  async send(write, then) {
    if (this.isWriting) return;
    this.isWriting = true;
    this.#showStatus("saving …", "busy");
    try {
      const written = await write();
      this.store.update(written);
      this.#showStatus("saved", "good");
      this.redraw();
      await then(written);
    } catch (error) {
      if (error.newer) this.store.update(error.newer);
      this.#showStatus("not saved", "bad");
      this.redraw();
      const isConflict = error.status === 409;
      this.showMessage(isConflict ? `Not saved, ${error.message}.` : `Not saved: ${error.message}. Try again.`);
    } finally {
      this.isWriting = false;
    }
  }

  async #poll() {
    try {
      const newer = await api.getDecisions(this.store.since);
      if (!newer.decisions.length) return;
      this.store.update(newer);
      this.redraw();
    } catch {
      this.#showStatus("no connection", "bad");
    }
  }

  #showStatus(text, kind) {
    const status = document.getElementById("saved");
    status.textContent = text;
    status.className = kind;
  }
}
