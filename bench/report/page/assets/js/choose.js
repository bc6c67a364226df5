// Which items are shown in which order: pure functions of the page's state.
const firstCell = Math.max(cells.findIndex((cell) => cell.role === "system"), 0);
const secondCell = (() => {
  const first = cells[firstCell];
  const rest = cells.map((cell, n) => ({ cell, n })).filter(({ n }) => n !== firstCell);
  const like = rest.find(({ cell }) => cell.role === "system" && cell.prompt === first?.prompt
    && cell.asr === first?.asr);
  return (like || rest[0] || { n: firstCell }).n;
})();
const USUAL = {
  a: firstCell, b: secondCell, m: data.lead, sort: "order", desc: false, kind: "", min: "", max: "",
  only: false, apart: false, q: "", changed: false, by: "change", w: "",
};

function readState(query) {
  const state = { ...USUAL };
  for (const [name, usual] of Object.entries(USUAL)) {
    const text = query.get(name);
    if (text === null) continue;
    if (typeof usual === "boolean") state[name] = text === "1";
    else if (typeof usual === "number") {
      const number = Number(text);
      if (Number.isInteger(number) && number >= 0 && number < cells.length) state[name] = number;
    } else state[name] = text;
  }
  if (!metricNames.includes(state.m)) state.m = data.lead;
  return state;
}

function stateQuery(state) {
  const said = new URLSearchParams();
  for (const [name, usual] of Object.entries(USUAL)) {
    if (state[name] === usual) continue;
    said.set(name, typeof usual === "boolean" ? (state[name] ? "1" : "0") : String(state[name]));
  }
  return said.toString();
}

const bound = (text) => text.trim() === "" || Number.isNaN(Number(text)) ? null : Number(text);
function wrongBelow(state) {
  return bound(state.w) ?? metrics.find((metric) => metric.name === state.m)?.wrong ?? 0;
}

const searched = [];
function textOf(item) {
  searched[item] ??= [items[item].id, ...items[item].captions,
    ...cells.map((cell) => cell.at[item] < 0 ? "" : cell.rows.text[cell.at[item]]),
  ].join("\n").toLowerCase();
  return searched[item];
}

function keep(state) {
  const [least, most] = [bound(state.min), bound(state.max)];
  const [words, wrong] = [state.q.trim().toLowerCase(), wrongBelow(state)];
  const bit = kinds.findIndex((kind) => kind.name === state.kind);
  return (item) => {
    const row = rowOf(state.a, item);
    if (row < 0) return false;
    const score = scoreOf(state.a, item, state.m);
    if (least !== null && !(score !== null && score >= least)) return false;
    if (most !== null && !(score !== null && score <= most)) return false;
    const failing = cells[state.a].rows.kinds[row];
    if (state.kind === "any" && !failing) return false;
    if (state.kind === "none" && failing) return false;
    if (bit >= 0 && !((failing >> bit) & 1)) return false;
    if (state.only) {
      const other = scoreOf(state.b, item, state.m);
      if (!(score !== null && score < wrong && other !== null && other >= wrong)) return false;
    }
    if (state.apart && !unlike(state.a, row)) return false;
    return !words || textOf(item).includes(words);
  };
}

const difference = (state, item) => {
  const [one, other] = [scoreOf(state.a, item, state.m), scoreOf(state.b, item, state.m)];
  return one === null || other === null ? null : other - one;
};

// What has no value goes last, whatever the direction; equals stay in the dataset's order.
function sorted(list, value, descending) {
  const keyed = list.map((item) => [item, value(item)]);
  keyed.sort(([m, x], [n, y]) => {
    if (x === null || y === null) return (x === null) - (y === null) || m - n;
    return (descending ? y - x : x - y) || m - n;
  });
  return keyed.map(([item]) => item);
}

function chosen(state) {
  const list = items.map((_, item) => item).filter(keep(state));
  const values = {
    order: (item) => item,
    a: (item) => scoreOf(state.a, item, state.m),
    b: (item) => scoreOf(state.b, item, state.m),
    diff: (item) => difference(state, item),
  };
  return sorted(list, values[state.sort] || values.order, state.desc);
}

function compared(state) {
  const both = items.map((_, item) => item).filter((item) =>
    rowOf(state.a, item) >= 0 && rowOf(state.b, item) >= 0
    && (!state.q.trim() || textOf(item).includes(state.q.trim().toLowerCase()))
    && (!state.changed || spoken(state.a, item) !== spoken(state.b, item)));
  const change = (item) => difference(state, item);
  if (state.by === "worst") return sorted(both, change, false);
  if (state.by === "best") return sorted(both, change, true);
  return sorted(both, (item) => {
    const value = change(item);
    return value === null ? null : Math.abs(value);
  }, true);
}
const spoken = (cell, item) => cells[cell].rows.text[rowOf(cell, item)];
