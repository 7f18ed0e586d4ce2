// What the page knows: the cases in their order, the decisions that hold, the filters, what is looked at.

const RANK = { info: 0, look: 1, warn: 2 };
const NOTHING = { number: 0, choice: "open", note: "", who: "", at: "" };

export class Store {
  constructor(run) {
    this.run = run;
    this.cases = new Map(run.cases.map((c) => [c.case, c]));
    this.decisions = new Map();
    this.since = 0;
    this.filters = { structure: "", state: "", severity: "", ml: 0 };
    this.current = null;
    this.selected = null;
  }

  take(decisions) {
    for (const d of decisions) {
      const key = `${d.case}\n${d.structure}`;
      if ((this.decisions.get(key)?.number ?? 0) <= d.number) this.decisions.set(key, d);
      this.since = Math.max(this.since, d.number);
    }
  }

  // What holds about a structure. A decision on maps that were mended again since counts as none.
  decision(id, structure) {
    const found = this.decisions.get(`${id}\n${structure}`) || NOTHING;
    const current = found.number === 0 || found.stamp === this.cases.get(id).stamp;
    return current ? found : { ...found, choice: "open", note: "", stale: true };
  }

  // "open", "begun", "done", or "manual" when all is decided and something waits for a hand.
  state(id) {
    const todo = this.cases.get(id).to_decide;
    const choices = todo.map((s) => this.decision(id, s).choice);
    const open = choices.filter((c) => c === "open").length;
    if (open > 0) return open === todo.length ? "open" : "begun";
    return choices.includes("manual") ? "manual" : "done";
  }

  counts() {
    const found = { open: 0, begun: 0, done: 0, manual: 0 };
    for (const id of this.cases.keys()) found[this.state(id)] += 1;
    return found;
  }

  isShown(c) {
    const { structure, state, severity, ml } = this.filters;
    const looked = structure ? c.structures.filter((s) => s.name === structure) : c.structures;
    const changed = structure ? looked.reduce((sum, s) => sum + s.gained_ml + s.lost_ml, 0) : c.changed_ml;
    const gravest = structure ? Math.max(0, ...looked.map((s) => RANK[s.severity])) : RANK[c.severity];
    if (structure && !looked.length) return false;
    if (changed < ml || (severity && gravest < RANK[severity])) return false;
    if (!state) return true;
    if (structure) {
      const choice = this.decision(c.case, structure).choice;
      return state === "done" ? choice !== "open" : choice === state;
    }
    const now = this.state(c.case);
    return state === "manual"
      ? c.to_decide.some((s) => this.decision(c.case, s).choice === "manual")
      : state === "open" ? now === "open" || now === "begun" : now === "done" || now === "manual";
  }

  // The case that is looked at stays in the list when a decision takes it out of the filter.
  shown() {
    return [...this.cases.values()].filter((c) => c.case === this.current || this.isShown(c)).map((c) => c.case);
  }

  neighbour(id, step) {
    const order = this.shown();
    return order[order.indexOf(id) + step] ?? null;
  }

  nextOpen(id) {
    const order = this.shown();
    const from = order.indexOf(id);
    const turned = [...order.slice(from + 1), ...order.slice(0, from)];
    return turned.find((other) => ["open", "begun"].includes(this.state(other))) ?? null;
  }
}
