// What is written to the server, and what others wrote meanwhile. Only what the server has written is said to be saved.

import * as api from "./api.js";

const POLL_MS = 5000;

export class Sync {
  constructor(store, redraw, tell) {
    Object.assign(this, { store, redraw, tell, isWriting: false });
  }

  begin() {
    setInterval(() => this.#poll(), POLL_MS);
  }

  // One write at a time; `then` gets the decisions that it made.
  async send(write, then) {
    if (this.isWriting) return;
    this.isWriting = true;
    this.#say("saving …", "busy");
    try {
      const written = await write();
      this.store.take(written);
      this.#say("saved", "good");
      this.redraw();
      await then(written);
    } catch (error) {
      this.store.take(error.newer ?? []);
      this.#say("not saved", "bad");
      this.redraw();
      const isConflict = error.status === 409;
      this.tell(isConflict ? `Not saved, ${error.message}.` : `Not saved: ${error.message}. Try again.`);
    } finally {
      this.isWriting = false;
    }
  }

  async #poll() {
    try {
      const newer = await api.getDecisions(this.store.since);
      if (!newer.length) return;
      this.store.take(newer);
      this.redraw();
    } catch {
      this.#say("server not reached", "bad");
    }
  }

  #say(text, kind) {
    const place = document.getElementById("saved");
    place.textContent = text;
    place.className = kind;
  }
}
