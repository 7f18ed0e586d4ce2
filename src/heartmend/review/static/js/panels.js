// The two side panels and the top bar, drawn from the store.

import { CASE_STATES, STATE_OF_CHOICE, STRUCTURE_STATES, WORDS } from "./states.js";
import { SEVERITY_RANK } from "./store.js";

const SEVERITIES = { info: ["", ""], review: ["●", "review"], warning: ["▲", "warning"] };

const byId = (id) => document.getElementById(id);
const ml = (value) => (value === 0 ? "0" : value < 0.005 ? "<0.01" : value < 0.1 ? value.toFixed(2) : value.toFixed(1));
const volume = (mm3) => (mm3 < 100 ? `${Math.round(mm3)} mm³` : `${ml(mm3 / 1000)} ml`);
const count = (n, one, many) => (n ? `${n} ${n > 1 ? many : one}` : "");

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}

function sign(table, key, className) {
  const [glyph, word] = table[key];
  return element("span", { class: `${className} ${key}`, title: word, "aria-label": word }, glyph);
}

function swatch(colour) {
  const chip = element("i", { class: "swatch" });
  chip.style.background = `rgb(${colour.join(",")})`;
  return chip;
}

export function drawTop(store, reviewer) {
  const counts = store.counts();
  const total = store.cases.size + store.waiting;
  const decided = counts.decided + counts.flagged;
  byId("bar-decided").style.width = `${(100 * decided) / total}%`;
  byId("bar-partial").style.width = `${(100 * counts.begun) / total}%`;
  const flagged = counts.flagged ? `, ${counts.flagged} flagged` : "";
  const begun = counts.begun ? `, ${counts.begun} begun` : "";
  byId("counts").textContent = `${decided} of ${total} decided${flagged}${begun}`;
  byId("run-name").textContent = store.run.name;
  byId("reviewer").textContent = reviewer || "your name";
}

export function drawCases(store, onOpen) {
  const shown = store.shown();
  byId("case-list").replaceChildren(
    ...shown.map((id) => {
      const c = store.cases.get(id);
      // With a filter for a structure, the figures are those of this structure.
      const { structure } = store.filters;
      const member = c.structures.find((s) => s.name === structure);
      const names = structure ? c.changed_structures.filter((s) => s === structure) : c.changed_structures;
      const changed = structure ? (member?.added_ml ?? 0) + (member?.removed_ml ?? 0) : c.changed_ml;
      const decided = names.filter((s) => store.structureState(id, s) !== "open").length;
      const isOutside = !store.matchesFilters(c);
      return element(
        "li",
        { class: `${id === store.current ? "current" : ""} ${isOutside ? "outside" : ""}`, title: isOutside ? "not in the filter; shown because it is open" : null, "aria-current": id === store.current && "true", "data-case": id,
          onclick: () => onOpen(id) },
        sign(CASE_STATES, store.state(id), "state"),
        element("b", {}, id),
        sign(SEVERITIES, c.severity, "severity"),
        element("span", { class: "priority", title: `review priority ${c.priority.score}` }, c.priority.score.toFixed(1)),
        element("small", {}, `${ml(changed)} ml · ${decided} of ${names.length}${isOutside ? " · not in the filter" : ""}`),
      );
    }),
  );
  byId("case-list").querySelector(".current")?.scrollIntoView({ block: "nearest" });
  const leftOut = Object.keys(store.run.left_out).length;
  const hidden = store.cases.size - shown.length;
  const { waiting } = store;
  byId("left-out").textContent = [
    hidden && `${hidden} filtered out`, waiting && `${waiting} being prepared`, leftOut && `${leftOut} left out`,
  ].filter(Boolean).join(", ");
}

export function drawStructures(store, onSelect) {
  const c = store.cases.get(store.current);
  const colours = new Map(store.run.structures.map((s) => [s.name, s.colour]));
  byId("case-title").textContent = `Case ${c.case}`;
  const { n_not_accepted, n_warning, n_review, changed_fraction } = c.priority;
  const reasons = [
    count(n_not_accepted, "structure failed the acceptance test", "structures failed the acceptance test"),
    count(n_warning, "warning", "warnings"),
    count(n_review, "change to review", "changes to review"),
    `${(100 * changed_fraction).toFixed(1)} % of the labelled voxels changed`,
  ];
  byId("case-priority").textContent = reasons.filter(Boolean).join(", ");
  byId("structures").tBodies[0].replaceChildren(
    ...c.structures.map((s) => {
      const d = store.decision(c.case, s.name);
      const state = store.structureState(c.case, s.name);
      const [glyph, word] = STRUCTURE_STATES[state];
      return element(
        "tr",
        { class: s.name === store.selected ? "selected" : "", "data-structure": s.name, onclick: () => onSelect(s.name) },
        element("td", {}, swatch(colours.get(s.name))),
        element("td", {}, s.name),
        element("td", { class: "volume" }, ml(s.before_ml)),
        element("td", { class: "volume" }, ml(s.after_ml)),
        element("td", { class: "added" }, ml(s.added_ml)),
        element("td", { class: "removed" }, ml(s.removed_ml)),
        element("td", {}, sign(SEVERITIES, s.severity, "severity")),
        element("td", { class: `choice ${state}` }, `${glyph} ${word}`,
          d.note ? element("i", { class: "noted", title: d.note }, " ✎") : null),
      );
    }),
  );
}

export function drawDecision(store, target) {
  const c = store.cases.get(store.current);
  const s = c.structures.find((one) => one.name === store.selected);
  const d = target && store.decision(c.case, target.structure, target.change);
  byId("target").textContent = target
    ? `${target.change ? `${target.what.action}, ${target.structure}` : target.structure}${target.change ? " (this change)" : ""}`
    : "nothing selected";
  for (const button of document.querySelectorAll("#decide [data-choice]")) {
    button.setAttribute("aria-pressed", String(d?.choice === button.dataset.choice));
  }
  const when = d?.decided_at ? new Date(d.decided_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
  const texts = [
    s?.acceptance_failure && `Acceptance test failed, original kept: ${s.acceptance_failure}.`,
    d?.stale && "Decided about an earlier result; review again.",
  ];
  if (d?.reviewer && !d.stale) texts.push(`${WORDS[d.choice]}: ${d.reviewer}, ${when}`);
  byId("decided-by").textContent = texts.filter(Boolean).join(" ");
}

export function drawChanges(store, changes, current, actions) {
  const { current: id, selected } = store;
  const touches = (c) => c.structures.includes(selected) || c.structure === selected;
  const decidable = changes.filter((c) => c.key);
  const open = decidable.filter((c) => store.choiceOfChange(id, c) === "open").length;
  byId("change-count").textContent = `${open} of ${decidable.length} open${selected ? `, ${selected} first` : ""}`;
  const order = changes.map((c, i) => [c, i]).sort(([a], [b]) =>
    touches(b) - touches(a) || Boolean(b.key) - Boolean(a.key)
    || SEVERITY_RANK[b.severity] - SEVERITY_RANK[a.severity] || b.volume_mm3 - a.volume_mm3);
  byId("changes").replaceChildren(
    ...order.map(([c, i]) => {
      const state = c.key ? STATE_OF_CHOICE[store.choiceOfChange(id, c)] : "unchanged";
      const [glyph, word] = STRUCTURE_STATES[state];
      const note = c.key && store.decision(id, c.structure, c.key).note;
      const button = (choice, text, title) => element(
        "button",
        { class: "one", title, "data-decide": choice, onclick: (event) => { event.stopPropagation(); actions.decide(i, choice); } },
        text,
      );
      return element(
        "li",
        { class: `${i === current ? "current" : ""} ${selected && !touches(c) ? "other" : ""}`, "data-change": i,
          "data-key": c.key, "data-state": state, onclick: () => actions.jump(i) },
        element("span", { class: `choice-sign ${state}`, title: c.key ? word : "nothing to decide" }, c.key ? glyph : "·"),
        sign(SEVERITIES, c.severity, "severity"),
        element("b", {}, c.structure || "all"),
        element("span", { class: "what" }, ` ${c.action} `),
        element("small", {}, `${c.rule}${c.voxels ? ` · ${volume(c.volume_mm3)}` : ""}`),
        note ? element("i", { class: "noted", title: note }, " ✎") : null,
        c.key ? element("span", { class: "decide-one" }, button("accept", "✓", "Accept this change (a)"), button("reject", "↺", "Reject this change (r)")) : null,
        c.note ? element("p", {}, c.note) : null,
      );
    }),
  );
  byId("changes").querySelector(".current")?.scrollIntoView({ block: "nearest" });
  return order.map(([, i]) => i);
}
