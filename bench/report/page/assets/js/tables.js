// The overview's tables: sorted by a column within each of their blocks, and downloaded as CSV.
function compareCells(one, other) {
  const [a, b] = [one, other].map((cell) => cell.dataset.value);
  if (a !== undefined && b !== undefined) return Number(a) - Number(b);
  return one.textContent.trim().localeCompare(other.textContent.trim(), "en", { numeric: true });
}

function sortBody(body, column, direction) {
  const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
  rows.forEach((row, place) => { row.dataset.place ??= place; });
  // What has no value is last, whatever the direction; equals stay in the table's own order.
  const lacks = (row) => ["-", "–"].includes(row.cells[column].textContent.trim());
  rows.sort((one, other) => {
    const own = one.dataset.place - other.dataset.place;
    if (direction === "none") return own;
    const by = compareCells(one.cells[column], other.cells[column]);
    return lacks(one) - lacks(other) || (direction === "descending" ? -by : by) || own;
  });
  body.append(...rows);
}

function sortTable(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const numbers = table.querySelector(`tbody tr:not(.block) > :nth-child(${head.cellIndex + 1})[data-value]`);
  const before = head.getAttribute("aria-sort");
  // The first press shows the highest number, or the first word.
  const direction = { none: numbers ? "descending" : "ascending",
    [numbers ? "descending" : "ascending"]: numbers ? "ascending" : "descending" }[before] || "none";
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === head ? direction : "none");
  }
  for (const body of table.tBodies) sortBody(body, head.cellIndex, direction);
  say(direction === "none" ? "In the table's own order." : `Sorted by ${button.textContent.trim()}, ${direction}.`);
}

function download(id) {
  const { file, text } = data.csv[id];
  const link = h("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: file });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`${file} is downloaded.`);
}

document.getElementById("overview").addEventListener("click", (event) => {
  const button = event.target.closest(".sort, [data-csv]");
  if (!button) return;
  if (button.dataset.csv) download(button.dataset.csv);
  else sortTable(button);
});
