// A transcript beside its nearest reference: what is added, missing and put for something else.
function differing(cell, item) {
  const row = rowOf(cell, item);
  const words = h("span", { class: "words" });
  if (row < 0) return words;
  const pieces = cells[cell].rows.pieces[row];
  for (const [op, wanted, said] of pieces) {
    if (words.childNodes.length) words.append(" ");
    if (op === "=") words.append(said);
    else if (op === "+") words.append(h("ins", {}, hidden("added: "), said, hidden(". ")));
    else if (op === "-") words.append(h("del", {}, hidden("missing: "), wanted, hidden(". ")));
    else {
      words.append(h("span", { class: "swap" }, hidden("instead of "), h("del", {}, wanted),
        hidden(" it says "), h("ins", {}, said), hidden(". ")));
    }
  }
  if (!cells[cell].rows.text[row]) words.append(h("em", { class: "soft" }, " nothing was heard"));
  return words;
}

const legend = () => h("p", { class: "key" }, "Beside the nearest reference: ",
  h("span", { class: "words" }, h("ins", {}, "added"), " ", h("del", {}, "missing"), " ",
    h("span", { class: "swap" }, h("del", {}, "wanted"), h("ins", {}, "said instead"))));

function badges(cell, item) {
  const row = rowOf(cell, item);
  if (row < 0) return [];
  const made = kindsOf(cell, row).map((kind) =>
    h("span", { class: "badge", "data-tip": kind.meaning }, kind.name));
  const other = unlike(cell, row);
  if (other) {
    const heard = `${other.asr} hears: ${other.text || "nothing"}`;
    made.push(h("span", { class: "badge odd", "data-tip": heard }, "ASRs disagree"));
  }
  return made;
}

// A tip needs a pointer; where there is room, a kind's meaning is plain text.
function failings(cell, row) {
  const found = kindsOf(cell, row);
  return found.length > 0 && h("ul", { class: "failings", "aria-label": "What its failures mean" },
    found.map((kind) => h("li", {}, `${kind.name}: ${kind.meaning}`)));
}
