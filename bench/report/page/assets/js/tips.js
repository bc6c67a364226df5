// What scores and controls say when they are pointed at or have the focus.
const tip = document.getElementById("tip");
let tipOf = null;

function placeTip() {
  const [box, own] = [tipOf.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = Math.min(Math.max(box.left, 8), innerWidth - own.width - 8);
  // No gap: the pointer goes onto a tip, to read or select it, without leaving what it is of.
  // Above a control are others, that a pointer may be on its way to; below the last of them are only results.
  const above = tipOf.matches("label") ? 0 : box.top - own.height;
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${above > 8 ? above : box.bottom}px`;
}
function hideTip() {
  const was = !tip.hidden;
  tip.hidden = true;
  tipOf = null;
  return was;
}
const tipIsFocused = () => tipOf !== null && tipOf.contains(document.activeElement)
  && document.activeElement.matches(":focus-visible");

function showTip(event) {
  if (tip.contains(event.target)) return;
  const from = event.target.closest?.("[data-tip]");
  if (from) {
    tipOf = from;
    tip.textContent = from.dataset.tip;
    tip.hidden = false;
    placeTip();
  } else if (event.type === "focusin" || !tipIsFocused()) hideTip();
}
document.addEventListener("mouseover", showTip);
document.addEventListener("focusin", showTip);
// The focus itself scrolls its table, and would take its own tip away.
document.addEventListener("scroll", () => tipIsFocused() ? placeTip() : hideTip(), true);

// A table of a hundred scores is two stops of the Tab key: its headings, and its scores.
const stopsOf = (element) => [...(element.closest("thead") || element.closest("table")).querySelectorAll(
  element.closest("thead") ? ".sort" : ".tip")];
function stopAt(button) {
  for (const other of stopsOf(button)) other.tabIndex = other === button ? 0 : -1;
}
for (const table of document.querySelectorAll("#overview table")) {
  for (const first of [table.querySelector(".sort"), table.querySelector(".tip")]) if (first) stopAt(first);
}
document.addEventListener("focusin", (event) => { if (event.target.matches(".tip, .sort")) stopAt(event.target); });
document.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || !event.target.matches(".tip, .sort")) return;
  event.preventDefault();
  const all = stopsOf(event.target);
  all[all.indexOf(event.target) + by]?.focus();
});
