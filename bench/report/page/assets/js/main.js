// Draws what the address says, moves the focus there, and listens to the keyboard.
let drawn = "";

function render(whole = true) {
  const { view, id, query } = readRoute();
  const state = readState(query);
  const moved = drawn !== `${view}/${id}`;
  const left = moved && drawn.startsWith("item/") ? drawn.slice("item/".length) : undefined;
  drawn = `${view}/${id}`;
  if (moved) { stop(); say(""); document.querySelector("nav").hidden = false; }
  for (const name of VIEWS) {
    const other = document.getElementById(name);
    other.hidden = name !== view;
    if (name !== view && name !== "overview") other.replaceChildren();
  }
  hideTip();
  const section = document.getElementById(view);
  if (view === "items") renderList(state, section, whole, byId.get(left));
  if (view === "item") renderItem(state, section, id);
  if (view === "compare") renderCompare(state, section, whole, byId.get(left));
  if (view === "listen" && (moved || !test)) renderListen(state, section);
  const links = { overview: "#/", items: "#/items", item: "#/items", compare: "#/compare", listen: "#/listen" };
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === links[view]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "overview" ? data.title : `${section.querySelector("h1").textContent} – ${data.title}`;
  if (!moved && (view === "items" || view === "compare")) sayLater(section.querySelector(".count").textContent);
  return { section, moved, left };
}

function follow() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const focused = document.activeElement?.name;
  const { section, moved, left } = render();
  const title = section.querySelector("h1");
  const row = left !== undefined && section.querySelector(`[data-item="${CSS.escape(left)}"] a`);
  if (row) {
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center", behavior: "instant" });
  } else if (moved) {
    window.scrollTo(0, 0);
    title.focus({ preventScroll: true });
  } else if (focused) section.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  // What had the focus may be gone with what was drawn before: from <body> a Tab starts at the very top.
  if (document.activeElement === document.body) title.focus({ preventScroll: true });
}

const typing = (element) => element.matches("input:not([type=checkbox], [type=range]), select, textarea");
function step(selector, by) {
  const all = [...document.querySelectorAll(selector)];
  if (!all.length) return;
  const at = all.findIndex((one) => one.contains(document.activeElement));
  const next = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  (next.matches("a, button") ? next : next.querySelector("a, button")).focus();
  next.scrollIntoView({ block: "nearest" });
}

function listKey(key) {
  if (key === "ArrowDown" || key === "ArrowUp") step("#items .open", key === "ArrowDown" ? 1 : -1);
  else if (key === " " || key === "b") {
    const row = document.activeElement.closest("li[data-item]");
    if (!row) return false;
    const cell = key === "b" ? now().b : now().a;
    const player = makePlayer(cell, byId.get(row.dataset.item), false);
    if (!player) say(whySilent(cell));
    else if (current?.sound === player.sound && !audio.paused) stop();
    else playInTurn([player]);
  } else if (key === "/") document.querySelector("#items [name=q]").focus();
  else return false;
  return true;
}

function itemKey(key) {
  if (key === "ArrowDown" || key === "ArrowUp") mark(marked + (key === "ArrowDown" ? 1 : -1));
  else if (key === "ArrowRight") document.querySelector("#item [rel=next]")?.click();
  else if (key === "ArrowLeft") document.querySelector("#item [rel=prev]")?.click();
  else if (key === "Escape") go(address("items", now()));
  else if (key === " ") {
    const one = itemPlayers[marked];
    if (!one) return false;
    if (one.player) toggle(one.player);
    else say(whySilent(one.cell));
  }
  else return false;
  return true;
}

function compareKey(key) {
  if (key === "ArrowDown" || key === "ArrowUp") step("#compare tbody tr", key === "ArrowDown" ? 1 : -1);
  else if (key === " " || key === "p") {
    const row = document.activeElement.closest("tr[data-item]");
    if (!row) return false;
    const pair = pairPlayers.get(row);
    if (!pair.some(Boolean)) say("No speech of either is kept.");
    else if (pair.some((one) => one && one.sound === current?.sound) && !audio.paused) stop();
    else playInTurn(pair);
  } else return false;
  return true;
}

const KEYS = { items: listKey, item: itemKey, compare: compareKey, listen: listenKey };
document.addEventListener("keydown", (event) => {
  // Whoever closes a tip wants no more than that.
  if (event.key === "Escape" && hideTip()) return;
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const presses = event.key === " " && event.target.matches("button, summary, [type=checkbox]");
  const scrolls = event.target.matches(".scroll, [type=range]") && event.key.startsWith("Arrow");
  if (presses || scrolls) return;
  if (KEYS[readRoute().view]?.(event.key)) event.preventDefault();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const text = document.getElementById(button.dataset.copy);
    getSelection().selectAllChildren(text);
    try { await navigator.clipboard.writeText(text.textContent); button.textContent = "Copied"; }
    catch { button.textContent = "Selected: copy it with the keyboard"; }
    say(button.textContent);
  }
  if (event.target.closest(".skip")) {
    event.preventDefault();
    document.getElementById("main").focus();
  }
});
addEventListener("hashchange", follow);
render();
