// State of the page: the cases in the order of review, the current decisions, the filters, and the selection.

export const SEVERITY_RANK = { info: 0, review: 1, warning: 2 };
const NO_DECISION = { number: 0, choice: "open", note: "", reviewer: "", decided_at: "" };

export class Store {
  constructor(run) {
    this.run = run;
    this.cases = new Map(run.cases.map((c) => [c.case, c]));
    this.waiting = run.waiting;
    this.added = run.added;
    this.decisions = new Map();
    this.since = 0;
    this.filters = { structure: "", state: "", severity: "", ml: 0 };
    this.current = null;
    this.selected = null;
  }

  update(decisions) {
    for (const d of decisions) {
      const key = `${d.case}\n${d.structure}`;
      if ((this.decisions.get(key)?.number ?? 0) <= d.number) this.decisions.set(key, d);
      this.since = Math.max(this.since, d.number);
    }
  }

  // Add the cases that became ready, each at its place in the order of review.
  addCases({ cases, added, waiting, left_out: leftOut }) {
    const all = [...this.cases.values()].filter((c) => !cases.some((other) => other.case === c.case)).concat(cases);
    all.sort((a, b) => b.priority.score - a.priority.score || (a.case < b.case ? -1 : 1));
    this.cases = new Map(all.map((c) => [c.case, c]));
    this.run.cases = all;
    this.run.left_out = leftOut;
    Object.assign(this, { added, waiting });
  }

  // The current decision about a structure. A decision about label maps that were repaired again since is not valid.
  decision(id, structure) {
    const found = this.decisions.get(`${id}\n${structure}`) || NO_DECISION;
    const isValid = found.number === 0 || found.stamp === this.cases.get(id).stamp;
    return isValid ? found : { ...found, choice: "open", note: "", stale: true };
  }

  // "open", "partial", "decided", or "correct" when all is decided and a structure is to be corrected by hand.
  state(id) {
    const structures = this.cases.get(id).changed_structures;
    const choices = structures.map((s) => this.decision(id, s).choice);
    const open = choices.filter((c) => c === "open").length;
    if (open > 0) return open === structures.length ? "open" : "partial";
    return choices.includes("correct") ? "correct" : "decided";
  }

  counts() {
    const found = { open: 0, partial: 0, decided: 0, correct: 0 };
    for (const id of this.cases.keys()) found[this.state(id)] += 1;
    return found;
  }

  matchesFilters(c) {
    const { structure, state, severity, ml } = this.filters;
    // With a structure, all filters are about it.
    const member = c.structures.find((s) => s.name === structure);
    if (structure && !c.changed_structures.includes(structure)) return false;
    const changed = structure ? member.added_ml + member.removed_ml : c.changed_ml;
    const rank = SEVERITY_RANK[structure ? member.severity : c.severity];
    if (changed < ml || (severity && rank < SEVERITY_RANK[severity])) return false;
    if (!state) return true;
    if (structure) {
      const choice = this.decision(c.case, structure).choice;
      return state === "decided" ? choice !== "open" : choice === state;
    }
    const now = this.state(c.case);
    return state === "correct"
      ? c.changed_structures.some((s) => this.decision(c.case, s).choice === "correct")
      : state === "open" ? now === "open" || now === "partial" : now === "decided" || now === "correct";
  }

  // The displayed case stays in the list when a decision removes it from the filter.
  shown() {
    return [...this.cases.values()].filter((c) => c.case === this.current || this.matchesFilters(c)).map((c) => c.case);
  }

  neighbour(id, step) {
    const order = this.shown();
    return order[order.indexOf(id) + step] ?? null;
  }

  nextOpen(id) {
    const order = this.shown();
    const from = order.indexOf(id);
    const rotated = [...order.slice(from + 1), ...order.slice(0, from)];
    const { structure } = this.filters;
    const isOpen = (other) =>
      structure ? this.decision(other, structure).choice === "open" : ["open", "partial"].includes(this.state(other));
    return rotated.find(isOpen) ?? null;
  }
}
