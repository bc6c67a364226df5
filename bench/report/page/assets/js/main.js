// Draws what the address says, moves the focus there, and listens to the keyboard.
let drawn = "";

function render(whole = true) {
  const { view, id, query } = readRoute();
  const state = readState(query);
  const moved = drawn !== `${view}/${id}`;
  drawn = `${view}/${id}`;
  if (moved) { stop(); document.querySelector("nav").hidden = false; }
  for (const name of VIEWS) {
    const other = document.getElementById(name);
    other.hidden = name !== view;
    if (name !== view && name !== "overview") other.replaceChildren();
  }
  const section = document.getElementById(view);
  if (view === "items") renderList(state, section, whole);
  if (view === "item") renderItem(state, section, id);
  if (view === "compare") renderCompare(state, section, whole);
  if (view === "listen" && (moved || !test)) renderListen(state, section);
  const links = { overview: "#/", items: "#/items", item: "#/items", compare: "#/compare", listen: "#/listen" };
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === links[view]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "overview" ? data.title : `${section.querySelector("h1").textContent} – ${data.title}`;
  return { section, moved };
}

function follow() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const focused = document.activeElement?.name;
  const { section, moved } = render();
  if (moved) {
    window.scrollTo(0, 0);
    section.querySelector("h1").focus({ preventScroll: true });
  } else if (focused) section.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
}

const typing = (element) => element.matches("input:not([type=checkbox]), select, textarea");
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
    const state = now();
    playInTurn([makePlayer(key === "b" ? state.b : state.a, byId.get(row.dataset.item), false)]);
  } else if (key === "/") document.querySelector("#items [name=q]").focus();
  else return false;
  return true;
}

function itemKey(key) {
  if (key === "ArrowDown" || key === "ArrowUp") mark(marked + (key === "ArrowDown" ? 1 : -1));
  else if (key === "ArrowRight") document.querySelector("#item [rel=next]")?.click();
  else if (key === "ArrowLeft") document.querySelector("#item [rel=prev]")?.click();
  else if (key === "Escape") go(address("items", now()));
  else if (key === " ") { if (itemPlayers[marked]?.player) toggle(itemPlayers[marked].player); }
  else return false;
  return true;
}

function compareKey(key) {
  if (key === "ArrowDown" || key === "ArrowUp") step("#compare tbody tr", key === "ArrowDown" ? 1 : -1);
  else if (key === " " || key === "p") {
    const row = document.activeElement.closest("tr[data-item]");
    if (!row) return false;
    if (current && !audio.paused) stop();
    else playInTurn(pairPlayers.get(row));
  } else return false;
  return true;
}

const KEYS = { items: listKey, item: itemKey, compare: compareKey, listen: listenKey };
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTip();
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const presses = event.key === " " && event.target.matches("button, summary, input");
  const scrolls = event.target.matches(".scroll") && event.key.startsWith("Arrow");
  if (presses || scrolls) return;
  if (KEYS[readRoute().view]?.(event.key)) event.preventDefault();
});

const tip = document.getElementById("tip");
function showTip(event) {
  const from = event.target.closest?.("[data-tip]");
  if (!from) return hideTip();
  tip.textContent = from.dataset.tip;
  tip.hidden = false;
  const [box, own] = [from.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = Math.min(Math.max(box.left, 8), innerWidth - own.width - 8);
  const above = box.top - own.height - 8;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${above > 8 ? above : box.bottom + 8}px`;
}
function hideTip() { tip.hidden = true; }
document.addEventListener("mouseover", showTip);
document.addEventListener("focusin", showTip);
document.addEventListener("scroll", hideTip, true);

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
