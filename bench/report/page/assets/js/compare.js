// Two cells side by side: the baseline stays at the left, the largest changes come first.
const pairPlayers = new Map();

function side(name, cell, item) {
  const player = makePlayer(cell, item, false);
  return [player, h("td", { class: "text", "data-name": name }, h("div", { class: "line-up" }, player && player.element,
    h("div", {}, differing(cell, item), h("div", {}, badges(cell, item)))))];
}

function delta(value, most) {
  if (value === null) return null;
  const wide = most ? (Math.abs(value) / most) * 50 : 0;
  return svg("svg", { class: `delta ${value < 0 ? "down" : "up"}`, viewBox: "0 0 100 10", preserveAspectRatio: "none",
    "aria-hidden": "true" }, svg("rect", { x: value < 0 ? 50 - wide : 50, width: wide, height: 10 }));
}

function pairRow(item, state, most) {
  const value = difference(state, item);
  const [one, left] = side(`A: ${cells[state.a].label}`, state.a, item);
  const [other, right] = side(`B: ${cells[state.b].label}`, state.b, item);
  const row = h("tr", { "data-item": items[item].id },
    h("th", { scope: "row" }, h("a", { href: address("item", state, items[item].id) }, picture(item), items[item].id)),
    left, h("td", { "data-name": `${state.m} of A` }, shown(scoreOf(state.a, item, state.m))),
    right, h("td", { "data-name": `${state.m} of B` }, shown(scoreOf(state.b, item, state.m))),
    h("td", { class: value < 0 ? "down" : value > 0 ? "up" : "", "data-name": "B − A" }, shown(value, true), delta(value, most)));
  pairPlayers.set(row, [one, other]);
  return row;
}

function tiles(state) {
  const all = items.map((_, item) => difference(state, item)).filter((value) => value !== null);
  const mean = all.reduce((sum, value) => sum + value, 0) / (all.length || 1);
  const corpus = (cell) => cells[cell].scores[state.m]?.score ?? null;
  const said = [
    [`${state.m} of A, all items`, shown(corpus(state.a))], [`${state.m} of B, all items`, shown(corpus(state.b))],
    ["mean change of an item", shown(all.length ? mean : null, true)],
    ["items better", String(all.filter((value) => value > 0).length)],
    ["items worse", String(all.filter((value) => value < 0).length)],
    ["items alike", String(all.filter((value) => value === 0).length)],
  ];
  return h("dl", { class: "tiles" }, said.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const FIRST = { change: "largest changes", worst: "worst regressions", best: "largest gains" };

function renderCompare(state, section, whole, wanted) {
  pairPlayers.clear();
  const list = compared(state);
  const most = Math.max(...list.map((item) => Math.abs(difference(state, item) ?? 0)), 1e-9);
  const body = h("tbody", {});
  const rest = more(list, body, (item) => pairRow(item, state, most), wanted);
  const results = h("div", { class: "results" },
    tiles(state),
    h("p", { class: "count" }, `${list.length} of ${items.length} items, ${FIRST[state.by] || FIRST.change} first`),
    legend(),
    h("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "Items side by side" },
      h("table", { class: "pair" }, h("thead", {}, h("tr", {},
        h("th", { scope: "col", class: "left" }, "item"),
        h("th", { scope: "col", class: "left" }, `A: ${cells[state.a].label}`), h("th", { scope: "col" }, "A"),
        h("th", { scope: "col", class: "left" }, `B: ${cells[state.b].label}`), h("th", { scope: "col" }, "B"),
        h("th", { scope: "col" }, "B − A"))), body)),
    rest);
  if (!whole && section.querySelector(".results")) {
    section.querySelector(".results").replaceWith(results);
    return;
  }
  section.replaceChildren(
    h("h1", { id: "compare-title", tabindex: -1 }, "Side by side"),
    h("p", { class: "soft small" }, h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " go through the items, ",
      h("kbd", {}, "Space"), " plays A and then B."),
    h("form", { class: "toolbar", "aria-label": "What is compared", on: { submit: (event) => event.preventDefault() } },
      select("Baseline A", "a", state, cellOptions(), "compare"),
      select("Other B", "b", state, cellOptions(), "compare"),
      select("Score", "m", state, metricOptions(), "compare"),
      select("First come", "by", state, Object.entries(FIRST), "compare"),
      entry("Search text", "q", state, "compare", { type: "search" }),
      check("changed only", "changed", state, "compare", "Only items of which the two say other words are shown.")),
    results);
}
