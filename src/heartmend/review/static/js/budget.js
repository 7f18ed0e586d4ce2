// Review budget: how much error is estimated to be left, how many cases hold half of it, and the refit that learns from
// corrected cases. The estimates are those of priority.py, the minutes those of correction_time.py.

import * as api from "./api.js";

const POLL_MS = 4000;
const byId = (id) => document.getElementById(id);

// Share of the estimated error that is left, and the number of open cases, in the order of the list, that hold half of it.
export function budget(store) {
  let all = 0;
  const left = [];
  for (const c of store.cases.values()) {
    const open = new Set(c.changed_structures.filter((s) => store.structureState(c.case, s) === "open"));
    let own = 0;
    for (const s of c.structures) {
      all += s.expected_error;
      if (open.has(s.name)) own += s.expected_error;
    }
    if (open.size) left.push(own);
  }
  const sum = left.reduce((a, b) => a + b, 0);
  let met = 0;
  let half = 0;
  for (const own of [...left].sort((a, b) => b - a)) {
    if (met >= sum / 2) break;
    met += own;
    half += 1;
  }
  return { share: all ? sum / all : 0, mean: left.length ? sum / left.length : 0, cases: left.length, half };
}

// The open structure of all cases whose correction removes most of the expected error in a minute.
export function worstOpen(store) {
  let worst = null;
  for (const c of store.cases.values()) {
    for (const s of c.structures) {
      const isOpen = c.changed_structures.includes(s.name) && store.structureState(c.case, s.name) === "open";
      const gain = s.expected_error / s.minutes;
      if (isOpen && (!worst || gain > worst.gain)) worst = { case: c.case, structure: s.name, error: s.expected_error, gain };
    }
  }
  return worst;
}

export class Budget {
  constructor(page) {
    this.page = page;
    byId("refit").addEventListener("click", () => this.start());
    this.#poll();
  }

  draw() {
    const { share, cases, half } = budget(this.page.store);
    byId("budget").textContent = cases
      ? `about ${Math.round(100 * share)} % of the estimated error is open; half of it is in ${half} of ${cases} cases`
      : "nothing is open";
  }

  async start() {
    try {
      this.#show(await api.startRefit());
      this.#poll(POLL_MS);
    } catch (error) {
      this.page.showMessage(error.message);
    }
  }

  // Ask after each saved correction, and while a refit runs.
  async #poll(wait = 0) {
    await new Promise((done) => setTimeout(done, wait));
    try {
      const found = await api.getRefit();
      this.#show(found);
      if (found.state === "running") this.#poll(POLL_MS);
    } catch {
      this.#poll(POLL_MS);
    }
  }

  refresh() {
    return this.#poll();
  }

  #show({ state, message, corrected, needed, is_possible: isPossible }) {
    const wasRunning = this.state === "running";
    this.state = state;
    const button = byId("refit");
    button.hidden = !isPossible;
    button.disabled = state === "running" || corrected < needed;
    button.textContent = state === "running" ? "refit runs …" : `refit (${corrected} of ${needed} corrected)`;
    if (corrected >= needed && state !== "running") button.textContent = `refit from ${corrected} corrected cases`;
    if (wasRunning && state === "done") window.location.reload();
    if (wasRunning && state === "failed") this.page.showMessage(`The refit failed: ${message}`);
  }
}
