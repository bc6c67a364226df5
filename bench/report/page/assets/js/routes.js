// Where one is, in the address: `#/items?a=1&q=dog`. Only what is not usual stands there.
const VIEWS = ["overview", "items", "item", "compare", "listen"];
const NAMES = { "": "overview", items: "items", item: "item", compare: "compare", listen: "listen" };

function readRoute() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, rest] = [path.split("/")[0], path.slice(path.indexOf("/") + 1)];
  let id = "";
  try { id = path.includes("/") ? decodeURIComponent(rest) : ""; } catch { id = rest; }
  // One cell alone has nothing to stand beside.
  const view = name === "compare" && cells.length < 2 ? "overview" : NAMES[name] || "overview";
  return { view, id, query: new URLSearchParams(query || "") };
}

function address(view, state, id) {
  const said = stateQuery(state);
  const path = view === "overview" ? "" : id === undefined ? view : `${view}/${encodeURIComponent(id)}`;
  return `#/${path}${said ? `?${said}` : ""}`;
}

// Typing changes where one is without a step for the back button; all else is one.
function go(target, step = true) {
  if (target === location.hash) return;
  if (step) location.hash = target;
  else {
    history.replaceState(null, "", target);
    render(false);
  }
}
