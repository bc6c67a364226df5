// The item browser's list: filters above, a row an item below.
const STEP = 100;

function select(label, name, state, options, view) {
  return h("label", {}, label, h("select", {
    name, on: { change: (event) => go(address(view, { ...now(), [name]: typed(name, event.target.value) })) },
  }, options.map(([value, text]) =>
    h("option", { value, selected: typed(name, value) === state[name] }, text))));
}
function typed(name, value) {
  if (typeof USUAL[name] === "boolean") return value === "1";
  return typeof USUAL[name] === "number" ? Number(value) : value;
}

function entry(label, name, state, view, attributes = {}) {
  return h("label", {}, label, h("input", {
    name, value: state[name], autocomplete: "off", ...attributes,
    on: { input: (event) => go(address(view, { ...now(), [name]: event.target.value }), false) },
  }));
}
function check(label, name, state, view, why) {
  return [
    h("label", { class: "check", "data-tip": why }, h("input", {
      type: "checkbox", name, checked: state[name], "aria-describedby": `why-${name}`,
      on: { change: (event) => go(address(view, { ...now(), [name]: event.target.checked })) },
    }), label),
    // Beside the label, for what is in it would be part of the name.
    h("span", { class: "hidden-text", id: `why-${name}` }, why)];
}
// One cell alone is compared with nothing.
const lone = cells.length < 2;
const now = () => readState(readRoute().query);
const cellOptions = () => cells.map((cell, number) => [number, cell.label]);
const metricOptions = () => metrics.map((metric) => [metric.name, metric.name]);

function listToolbar(state) {
  const present = kinds.filter((_, bit) => cells.some((cell) => cell.rows.kinds.some((k) => (k >> bit) & 1)));
  const others = cells.some((cell) => cell.rows.other.length);
  return h("form", { class: "toolbar", role: "search", "aria-label": "Filter and sort items",
    on: { submit: (event) => event.preventDefault() } },
    entry("Search text", "q", state, "items", { type: "search", placeholder: "word, caption, item" }),
    select("System A", "a", state, cellOptions(), "items"),
    !lone && select("System B", "b", state, cellOptions(), "items"),
    select("Score", "m", state, metricOptions(), "items"),
    select("Sort by", "sort", state, [["order", "dataset's order"], ["a", "A's score"],
      ...(lone ? [] : [["b", "B's score"], ["diff", "difference, B − A"]])], "items"),
    select("Order", "desc", state, [["0", "lowest first"], ["1", "highest first"]], "items"),
    select("A fails as", "kind", state, [["", "all items"], ["any", "any kind"], ["none", "no kind"],
      ...present.map((kind) => [kind.name, kind.name])], "items"),
    h("div", { class: "range" },
      entry("A from", "min", state, "items", { inputmode: "decimal", size: 5 }),
      entry("A up to", "max", state, "items", { inputmode: "decimal", size: 5 })),
    !lone && check("only A is wrong", "only", state, "items",
      "A scores below the bound, and B does not. The bound is the median of all items unless you write another."),
    !lone && entry("wrong is below", "w", { w: state.w || String(wrongBelow(state)) }, "items", { inputmode: "decimal" }),
    others && check("ASRs disagree", "apart", state, "items", "Another ASR makes other words of A's speech."),
    h("button", { type: "button", name: "reset", class: "plain", on: { click: () => go("#/items") } }, "Reset"));
}

function listRow(item, state) {
  const difference_ = difference(state, item);
  return h("li", { "data-item": items[item].id },
    h("a", { class: "open", href: address("item", state, items[item].id) },
      picture(item),
      h("span", {},
        h("span", { class: "id" }, items[item].id), h("br"),
        differing(state.a, item), h("br"), badges(state.a, item)),
      h("span", { class: "points" },
        h("span", {}, hidden(`${state.m} of A: `), h("b", { class: "number" }, shown(scoreOf(state.a, item, state.m)))),
        !lone && h("span", { class: "soft number" }, `B ${shown(scoreOf(state.b, item, state.m))}`),
        !lone && h("span", { class: `number ${difference_ > 0 ? "up" : difference_ < 0 ? "down" : "soft"}` },
          `B − A ${shown(difference_, true)}`))));
}

// A hundred rows at first, or as many as it takes to have the `wanted` item among them.
function more(list, element, made, wanted) {
  let until = 0;
  const button = h("button", { type: "button", name: "more", class: "plain", on: { click: () => {
    const first = until;
    add();
    element.children[first]?.querySelector("a, button")?.focus();
  } } });
  function add() {
    element.append(...list.slice(until, until + STEP).map(made));
    until = Math.min(until + STEP, list.length);
    button.hidden = until >= list.length;
    button.textContent = `Show ${Math.min(STEP, list.length - until)} more of ${list.length}`;
  }
  do add(); while (until <= list.indexOf(wanted));
  return h("p", {}, button);
}

function sortedBy(state) {
  const by = { a: `A's ${state.m}`, b: `B's ${state.m}`, diff: `the difference in ${state.m}, B − A` }[state.sort];
  return by ? `sorted by ${by}, ${state.desc ? "highest" : "lowest"} first`
    : `in the dataset's order${state.desc ? ", last first" : ""}`;
}

function renderList(state, section, whole, wanted) {
  const list = chosen(state);
  const element = h("ol", { class: "list", "aria-label": "Items" });
  const rest = more(list, element, (item) => listRow(item, state), wanted);
  const results = h("div", { class: "results" },
    h("p", { class: "count" },
      `${list.length} of ${items.length} items, ${sortedBy(state)}; ${state.m} of A: ${cells[state.a].label}${lone ? "" : `; B: ${cells[state.b].label}`}`),
    legend(),
    list.length ? element : h("p", {}, "No item is left by these filters. ", h("a", { href: "#/items" }, "Show all items")),
    rest);
  if (!whole && section.querySelector(".results")) {
    section.querySelector(".results").replaceWith(results);
    return;
  }
  section.replaceChildren(
    h("h1", { id: "items-title", tabindex: -1 }, "Items"),
    h("p", { class: "soft small" }, h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " go through the items, ",
      h("kbd", {}, "Space"), " plays A, ", !lone && [h("kbd", {}, "b"), " plays B, "], h("kbd", {}, "Enter"), " opens, ",
      h("kbd", {}, "/"), " searches."),
    listToolbar(state), results);
}
