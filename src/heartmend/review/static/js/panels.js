// The two side panels and the bar on top, drawn from what the store holds.

export const CHOICES = {
  open: { sign: "○", word: "to decide" },
  accept: { sign: "✓", word: "accepted" },
  keep: { sign: "↺", word: "kept" },
  manual: { sign: "⚑", word: "by hand" },
  corrected: { sign: "★", word: "corrected" },
};
const STATES = { open: ["○", "to decide"], begun: ["◐", "begun"], done: ["●", "decided"], manual: ["⚑", "by hand"] };
const SEVERITY = { info: ["", ""], look: ["●", "review"], warn: ["▲", "warning"] };

const byId = (id) => document.getElementById(id);
const ml = (value) => (value === 0 ? "0" : value < 0.005 ? "<0.01" : value < 0.1 ? value.toFixed(2) : value.toFixed(1));
const volume = (mm3) => (mm3 < 100 ? `${Math.round(mm3)} mm³` : `${ml(mm3 / 1000)} ml`);
const GRAVITY = { info: 0, look: 1, warn: 2 };

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

export function drawTop(store, who) {
  const counts = store.counts();
  const total = store.cases.size;
  const decided = counts.done + counts.manual;
  byId("bar-done").style.width = `${(100 * decided) / total}%`;
  byId("bar-begun").style.width = `${(100 * counts.begun) / total}%`;
  const hand = counts.manual ? `, ${counts.manual} by hand` : "";
  const begun = counts.begun ? `, ${counts.begun} begun` : "";
  byId("counts").textContent = `${decided} of ${total} decided${hand}${begun}`;
  byId("run-name").textContent = store.run.name;
  byId("who").textContent = who || "your name";
}

export function drawCases(store, onOpen) {
  const shown = store.shown();
  byId("case-list").replaceChildren(
    ...shown.map((id) => {
      const c = store.cases.get(id);
      const state = store.state(id);
      const decided = c.to_decide.filter((s) => store.decision(id, s).choice !== "open").length;
      return element(
        "li",
        { class: id === store.current ? "current" : "", "aria-current": id === store.current && "true", "data-case": id,
          onclick: () => onOpen(id) },
        sign(STATES, state, "state"),
        element("b", {}, id),
        sign(SEVERITY, c.severity, "severity"),
        element("span", { class: "doubt", title: `doubt ${c.doubt.score}` }, c.doubt.score.toFixed(1)),
        element("small", {}, `${ml(c.changed_ml)} ml · ${decided}/${c.to_decide.length}`),
      );
    }),
  );
  byId("case-list").querySelector(".current")?.scrollIntoView({ block: "nearest" });
  const out = Object.keys(store.run.left_out).length;
  const hidden = store.cases.size - shown.length;
  byId("left-out").textContent = [hidden && `${hidden} filtered out`, out && `${out} not mended`].filter(Boolean).join(", ");
}

export function drawStructures(store, onSelect) {
  const c = store.cases.get(store.current);
  const colours = new Map(store.run.structures.map((s) => [s.name, s.colour]));
  byId("case-title").textContent = `Case ${c.case}`;
  const { not_taken: untaken, warnings, remarks, share } = c.doubt;
  const parts = [
    untaken && `${untaken} mended mask${untaken > 1 ? "s" : ""} not taken`,
    warnings && `${warnings} warning${warnings > 1 ? "s" : ""}`,
    remarks && `${remarks} to look at`,
    `${(100 * share).toFixed(1)} % of the labelled voxels changed`,
  ];
  byId("case-doubt").textContent = parts.filter(Boolean).join(", ");
  byId("structures").tBodies[0].replaceChildren(
    ...c.structures.map((s) => {
      const d = store.decision(c.case, s.name);
      const asked = c.to_decide.includes(s.name);
      const { sign: glyph, word } = CHOICES[d.choice];
      return element(
        "tr",
        { class: s.name === store.selected ? "selected" : "", "data-structure": s.name, onclick: () => onSelect(s.name) },
        element("td", {}, swatch(colours.get(s.name))),
        element("td", {}, s.name),
        element("td", { class: "gained" }, ml(s.gained_ml)),
        element("td", { class: "lost" }, ml(s.lost_ml)),
        element("td", {}, sign(SEVERITY, s.severity, "severity")),
        element("td", { class: `choice ${asked ? d.choice : "none"}` }, asked ? `${glyph} ${word}` : "unchanged",
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
  const when = d?.at ? new Date(d.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
  const told = [s?.kept && `Do no harm: ${s.kept}.`, d?.stale && "Decided on an earlier result; look again."];
  if (d?.who && !d.stale) told.push(`${CHOICES[d.choice].word}: ${d.who}, ${when}`);
  byId("decided-by").textContent = told.filter(Boolean).join(" ");
}

export function drawChanges(store, changes, at, onJump) {
  const own = store.selected;
  byId("change-count").textContent = `${changes.length}${own ? `, of ${own} first` : ""}`;
  const order = changes.map((c, i) => [c, i]).sort(([a], [b]) =>
    (b.structure === own) - (a.structure === own) || GRAVITY[b.severity] - GRAVITY[a.severity] || b.volume_mm3 - a.volume_mm3);
  byId("changes").replaceChildren(
    ...order.map(([c, i]) =>
      element(
        "li",
        { class: `${i === at ? "current" : ""} ${own && c.structure !== own ? "other" : ""}`, "data-change": i,
          onclick: () => onJump(i) },
        sign(SEVERITY, c.severity, "severity"),
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
