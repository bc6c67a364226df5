// What the page holds, and how elements are made of it: as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const { cells, items, metrics, kinds } = data;
const byId = new Map(items.map((item, number) => [item.id, number]));
const metricNames = metrics.map((metric) => metric.name);
for (const cell of cells) {
  cell.at = new Int32Array(items.length).fill(-1);
  cell.rows.item.forEach((item, row) => { cell.at[item] = row; });
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, action] of Object.entries(value)) element.addEventListener(event, action);
    } else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}
const h = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const hidden = (text) => h("span", { class: "hidden-text" }, text);

// What is not on the screen any more is not said late either.
let saying = 0;
function say(text) {
  clearTimeout(saying);
  document.getElementById("said").textContent = text;
}
// While one types, only the last result is worth hearing.
function sayLater(text) {
  clearTimeout(saying);
  saying = setTimeout(() => say(text), 500);
}

const rowOf = (cell, item) => cells[cell].at[item];
function scoreOf(cell, item, metric) {
  const row = cell === null ? -1 : rowOf(cell, item);
  const column = cell === null ? undefined : cells[cell].rows.scores[metric];
  return row < 0 || !column ? null : column[row];
}
const shown = (value, sign = false) => value === null || value === undefined ? "–"
  : (sign && value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(1);
const kindsOf = (cell, row) => kinds.filter((_, bit) => (cells[cell].rows.kinds[row] >> bit) & 1);
const unlike = (cell, row) => {
  const other = cells[cell].rows.other[row];
  return other && other.apart > data.unalike ? other : null;
};
