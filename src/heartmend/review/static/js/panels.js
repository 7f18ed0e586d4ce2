// The two side panels and the top bar, drawn from the store.

import { SEVERITY_RANK } from "./store.js";

export const CHOICES = {
  open: { sign: "○", word: "open" },
  accept: { sign: "✓", word: "accept" },
  reject: { sign: "↺", word: "reject" },
  correct: { sign: "⚑", word: "correct" },
  corrected: { sign: "★", word: "corrected" },
};
const STATES = {
  open: ["○", "open"], partial: ["◐", "partly decided"], decided: ["●", "decided"], correct: ["⚑", "to correct by hand"],
};
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
  const decided = counts.decided + counts.correct;
  byId("bar-decided").style.width = `${(100 * decided) / total}%`;
  byId("bar-partial").style.width = `${(100 * counts.partial) / total}%`;
  const correct = counts.correct ? `, ${counts.correct} to correct` : "";
  const partial = counts.partial ? `, ${counts.partial} partly decided` : "";
  byId("counts").textContent = `${decided} of ${total} decided${correct}${partial}`;
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
      const decided = names.filter((s) => store.decision(id, s).choice !== "open").length;
      const isOutside = !store.matchesFilters(c);
      return element(
        "li",
        { class: `${id === store.current ? "current" : ""} ${isOutside ? "outside" : ""}`, title: isOutside ? "not in the filter; shown because it is open" : null, "aria-current": id === store.current && "true", "data-case": id,
          onclick: () => onOpen(id) },
        sign(STATES, store.state(id), "state"),
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
      const isChanged = c.changed_structures.includes(s.name);
      const { sign: glyph, word } = CHOICES[d.choice];
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
        element("td", { class: `choice ${isChanged ? d.choice : "none"}` }, isChanged ? `${glyph} ${word}` : "unchanged",
          d.note ? element("i", { class: "noted", title: d.note }, " ✎") : null),
      );
    }),
  );
}

export function drawDecision(store) {
  const c = store.cases.get(store.current);
  const s = c.structures.find((one) => one.name === store.selected);
  const d = s ? store.decision(c.case, s.name) : null;
  const note = byId("note");
  if (document.activeElement !== note) note.value = d?.note ?? "";
  note.disabled = !s;
  for (const button of document.querySelectorAll("#decide [data-choice]")) {
    button.setAttribute("aria-pressed", String(d?.choice === button.dataset.choice));
  }
  const when = d?.decided_at ? new Date(d.decided_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
  const texts = [
    s?.acceptance_failure && `Acceptance test failed, original kept: ${s.acceptance_failure}.`,
    d?.stale && "Decided about an earlier result; review again.",
  ];
  if (d?.reviewer && !d.stale) texts.push(`${CHOICES[d.choice].word}: ${d.reviewer}, ${when}`);
  byId("decided-by").textContent = texts.filter(Boolean).join(" ");
}

export function drawChanges(store, changes, current, onJump) {
  const selected = store.selected;
  byId("change-count").textContent = `${changes.length}${selected ? `, ${selected} first` : ""}`;
  const order = changes.map((c, i) => [c, i]).sort(([a], [b]) =>
    (b.structure === selected) - (a.structure === selected)
    || SEVERITY_RANK[b.severity] - SEVERITY_RANK[a.severity] || b.volume_mm3 - a.volume_mm3);
  byId("changes").replaceChildren(
    ...order.map(([c, i]) =>
      element(
        "li",
        { class: `${i === current ? "current" : ""} ${selected && c.structure !== selected ? "other" : ""}`, "data-change": i,
          onclick: () => onJump(i) },
        sign(SEVERITIES, c.severity, "severity"),
        element("b", {}, c.structure || "all"),
        element("span", { class: "what" }, ` ${c.action} `),
        element("small", {}, `${c.rule}${c.voxels ? ` · ${volume(c.volume_mm3)}` : ""}`),
        c.note ? element("p", {}, c.note) : null,
      ),
    ),
  );
  byId("changes").querySelector(".current")?.scrollIntoView({ block: "nearest" });
  return order.map(([, i]) => i);
}
