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
    this.states = new Map(); // of the cases with decisions, computed by the server
    this.since = 0;
    this.filters = { structure: "", state: "", severity: "", ml: 0 };
    this.current = null;
    this.selected = null;
  }

  update({ decisions, states = {} }) {
    for (const [id, state] of Object.entries(states)) this.states.set(id, state);
    for (const d of decisions) {
      const key = `${d.case}\n${d.structure}\n${d.change}`;
      if ((this.decisions.get(key)?.number ?? 0) <= d.number) this.decisions.set(key, d);
      this.since = Math.max(this.since, d.number);
    }
  }

  // Add the cases that became ready, each at its place in the order of review.
  addCases({ cases, added, waiting, left_out: leftOut, states }) {
    const all = [...this.cases.values()].filter((c) => !cases.some((other) => other.case === c.case)).concat(cases);
    all.sort((a, b) => b.priority.score - a.priority.score || (a.case < b.case ? -1 : 1));
    this.cases = new Map(all.map((c) => [c.case, c]));
    this.run.cases = all;
    this.run.left_out = leftOut;
    Object.assign(this, { added, waiting });
    this.update({ decisions: [], states });
  }

  // The current decision about a structure or a change. One about a structure is valid for the two label maps that were
  // reviewed; the key of a change pins its voxels.
  decision(id, structure, change = "") {
    const found = this.decisions.get(`${id}\n${structure}\n${change}`) || { ...NO_DECISION, case: id, structure, change };
    const isValid = found.number === 0 || change || found.stamp === this.cases.get(id).stamp;
    return isValid ? found : { ...found, choice: "open", note: "", stale: true };
  }

  // The choice about a change: its own, or that of the structures that it touches.
  choiceOfChange(id, change) {
    const own = this.decision(id, change.structure, change.key).choice;
    if (own !== "open") return own;
    const whole = change.structures.map((s) => this.decision(id, s).choice);
    return whole.includes("reject") ? "reject" : whole.includes("open") ? "open" : "accept";
  }

  structureState(id, structure) {
    const isChanged = this.cases.get(id).changed_structures.includes(structure);
    return this.states.get(id)?.structures[structure] ?? (isChanged ? "open" : "unchanged");
  }

  // "open", "begun", "decided", or "flagged" when all is decided and something is to be corrected by hand.
  state(id) {
    return this.states.get(id)?.case ?? (this.cases.get(id).changed_structures.length ? "open" : "decided");
  }

  counts() {
    const found = { open: 0, begun: 0, decided: 0, flagged: 0 };
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
      const found = this.structureState(c.case, structure);
      return state === "decided" ? found !== "open" : found === state;
    }
    const now = this.state(c.case);
    return state === "flagged"
      ? c.changed_structures.some((s) => this.structureState(c.case, s) === "flagged")
      : state === "open" ? now === "open" || now === "begun" : now === "decided" || now === "flagged";
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
      structure ? this.structureState(other, structure) === "open" : ["open", "begun"].includes(this.state(other));
    return rotated.find(isOpen) ?? null;
  }
}
