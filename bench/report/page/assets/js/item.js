// One item: picture, references, and every system's speech and words.
let itemPlayers = [];
let itemList = [];

function truths(cell, item) {
  const [facts, row] = [items[item].facts, rowOf(cell, item)];
  if (!facts.length || row < 0) return null;
  return h("ul", { class: "truths", "aria-label": "Facts of the picture" }, facts.map(([kind, wanted], n) => {
    const [said, right] = cells[cell].rows.facts[row][n];
    const names = wanted.split("|").join(" or ");
    if (right) return h("li", { class: "right" }, `✓ ${kind} ${said}`);
    if (said) return h("li", { class: "wrong" }, `✗ ${kind} ${said}, not ${names}`);
    return h("li", { class: "missed" }, `○ ${kind} ${names} not said`);
  }));
}

function scoreList(cell, item) {
  return h("ul", { class: "scores", "aria-label": "Scores" }, metrics.map((metric) =>
    h("li", {}, h("span", {}, `${metric.name} `), shown(scoreOf(cell, item, metric.name)))));
}

function systemCard(cell, item) {
  const row = rowOf(cell, item);
  if (row < 0) return null;
  const own = cells[cell];
  const player = makePlayer(cell, item);
  const facts = [own.rows.seconds[row] ? `${own.rows.seconds[row].toFixed(1)} s` : "", own.asr || "a text",
    own.rows.logprob[row] === null ? "" : `log-probability ${own.rows.logprob[row].toFixed(2).replace("-", "−")}`];
  const other = own.rows.other[row];
  const number = itemPlayers.length;
  // What has the focus is what is marked, however it came there: the keys act on it.
  const card = h("article", { class: "system", tabindex: -1, "aria-label": own.label,
    on: { focusin: () => mark(number, false) } },
    h("header", {}, h("h2", {}, own.label),
      h("span", { class: "soft small" }, facts.filter(Boolean).join(" · "))),
    player ? player.element : h("p", { class: "soft small" }, whySilent(cell)),
    h("p", {}, differing(cell, item)),
    h("div", {}, badges(cell, item)), failings(cell, row),
    own.rows.reason[row] && h("p", { class: "small" }, `Failed: ${own.rows.reason[row]}`),
    other && h("p", { class: "small soft" }, `${other.asr} hears: ${other.text || "nothing"}`),
    truths(cell, item), scoreList(cell, item));
  itemPlayers.push({ player, card, cell });
  return card;
}

function renderItem(state, section, id) {
  const item = byId.get(id);
  itemPlayers = [];
  itemList = chosen(state);
  if (item === undefined) {
    section.replaceChildren(h("h1", { id: "item-title", tabindex: -1 }, "No such item"),
      h("p", {}, `This page has no item ${id}. `, h("a", { href: "#/items" }, "Show all items")));
    return;
  }
  const place = itemList.indexOf(item);
  const turn = (by, text) => {
    const next = place < 0 ? undefined : itemList[place + by];
    return next === undefined ? h("button", { type: "button", class: "plain", disabled: true }, text)
      : h("a", { class: "plain", rel: by < 0 ? "prev" : "next", href: address("item", state, items[next].id) }, text);
  };
  const it = items[item];
  section.replaceChildren(
    h("div", { class: "turn" },
      h("a", { href: address("items", state) }, "All items"),
      turn(-1, "← Previous"), turn(1, "Next →"),
      h("span", { class: "soft small" }, place < 0 ? "not among the filtered items" : `${place + 1} of ${itemList.length}`)),
    h("h1", { id: "item-title", tabindex: -1 }, it.id),
    h("div", { class: "item" },
      h("div", {}, picture(item, it.captions[0] ? `The picture: ${it.captions[0]}` : "The picture"),
        it.captions.length > 0 && h("h2", { id: "refs" }, "References"),
        it.captions.length > 0 && h("ol", { class: "captions", "aria-labelledby": "refs" }, it.captions.map((text, n) =>
          h("li", { class: n === it.left_out && "out" }, text,
            n === it.left_out && " (left out: ceilings say it, prompts are cut from it)"))),
        legend(),
        h("p", { class: "soft small" }, h("kbd", {}, "←"), " ", h("kbd", {}, "→"), " other items, ",
          h("kbd", {}, "↑"), " ", h("kbd", {}, "↓"), " other systems, ", h("kbd", {}, "Space"), " plays, ",
          h("kbd", {}, "Esc"), " back to the list.")),
      h("div", { class: "systems" }, cells.map((_, cell) => systemCard(cell, item)))));
  mark(Math.max(itemPlayers.findIndex((one) => one.cell === state.a), 0), false);
}

let marked = 0;
function mark(number, focus = true) {
  if (!itemPlayers.length) return;
  marked = Math.min(Math.max(number, 0), itemPlayers.length - 1);
  itemPlayers.forEach(({ card }, n) => card.classList.toggle("on", n === marked));
  const { card, player } = itemPlayers[marked];
  if (focus) {
    (player ? player.button : card).focus();
    card.scrollIntoView({ block: "nearest" });
  }
}
