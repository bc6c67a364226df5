// The listening test: blind pairs, then blind ratings; what was answered stays when the page is reloaded.
const SCALE = ["not at all", "poorly", "fairly", "well", "perfectly"];
let test = null;
let hearing = [];

const shelf = (key) => `pixvox-listening/${data.digest}/${key}`;
function kept(key) {
  try { return JSON.parse(localStorage.getItem(shelf(key))); } catch { return null; }
}
function store(key, value) {
  // A browser may forbid storage to files; the test then has to be taken in one go.
  try { localStorage.setItem(shelf(key), JSON.stringify(value)); } catch { /* see above */ }
}

function begin(a, b, rater) {
  const name = `${cells[a].key}/${cells[b].key}/${rater}`;
  const before = kept(name);
  test = { a, b, rater, name, ...trialsOf(a, b, rater), answers: Array.isArray(before) ? before : [] };
  store("last", { a, b, rater });
}
const allTrials = () => [...test.pairs, ...test.ratings];
function answer(value) {
  if (!hearing.every((one) => one.done)) { say("Listen to it first."); return; }
  stop();
  test.answers.push(value);
  store(test.name, test.answers);
  draw();
}

// What is heard, and in which order, hangs on no answer: the trial before is the same again.
function back() {
  stop();
  test.answers.pop();
  store(test.name, test.answers);
  draw();
}

// A player knows when most of it was heard: the last moments are silence, and may fail to decode.
function hear(name, sound) {
  const player = soundPlayer(sound, name);
  hearing.push(player);
  return player.element;
}
function noteHeard(ended) {
  const one = hearing.find((player) => player === current);
  if (!one || one.done || !(ended || audio.currentTime > 0.6 * one.seconds)) return;
  one.done = true;
  if (hearing.every((player) => player.done)) {
    for (const button of document.querySelectorAll("#listen .answers button")) button.disabled = false;
  }
}
audio.addEventListener("timeupdate", () => noteHeard(false));
audio.addEventListener("ended", () => noteHeard(true));
// Not a moment earlier: a screen reader would talk over the speech that is judged.
function tellReady() {
  if (readRoute().view !== "listen" || !test || test.told || !hearing.length || !hearing.every((player) => player.done)) return;
  test.told = true;
  say("You can answer now.");
}
for (const event of ["pause", "ended", "error"]) audio.addEventListener(event, tellReady);

function given() {
  const count = test.pairs.length;
  const name = (item) => items[item].id;
  const pairs = test.pairs.map(({ item, first, second }, n) => ({
    item: name(item), first, second, answer: test.answers[n],
  }));
  const ratings = test.ratings.map(({ item, of }, n) => ({ item: name(item), of, rating: test.answers[count + n] }));
  const body = {
    format: "pixvox-listening-1", page: data.digest, rater: test.rater,
    a: { cell: cells[test.a].key, label: cells[test.a].label },
    b: { cell: cells[test.b].key, label: cells[test.b].label }, pairs, ratings,
  };
  const text = JSON.stringify(body);
  const code = [hashed(text), hashed(text, 0x01234567)].map((part) => part.toString(16).padStart(8, "0")).join("");
  return { body, code };
}

function introduction(state) {
  const last = kept("last");
  const able = heardOf(state.a, state.b).length;
  const start = (event) => {
    event.preventDefault();
    const rater = new FormData(event.target).get("rater").trim();
    if (!rater) { say("Give a number or a name."); return; }
    begin(state.a, state.b, rater.slice(0, 60));
    draw();
  };
  if (state.a === state.b || !able) {
    return [h("p", { class: "card" }, "A listening test compares two systems that have speech of the same pictures. Choose them as A and B in "),
      h("a", { href: address("compare", state) }, "side by side")];
  }
  return [
    h("p", { class: "lead" }, "You see a picture and hear what was said of it. First you choose between two speeches, then you rate single ones. Whose speech it is stays hidden."),
    h("ul", { class: "notes" }, h("li", {}, `About ${Math.min(PAIRS, able) + CHECKS} pairs and ${Math.min(RATED, able) * 4} ratings, ten minutes. Use headphones in a quiet room.`),
      h("li", {}, "You can stop and go on later in this browser. At the end you get a file to send back, and a code."),
      h("li", {}, "Some trials only check that you listen.")),
    h("form", { class: "begin", on: { submit: start } },
      h("label", { class: "field" }, "Your number, or the name you were given", h("input", {
        name: "rater", autocomplete: "off", maxlength: 60, required: true, value: last && last.a === state.a && last.b === state.b ? last.rater : "",
      })),
      h("button", { class: "plain strong" }, "Begin")),
  ];
}

function button(key, text, value) {
  return h("button", { type: "button", class: "plain", disabled: true, on: { click: () => answer(value) } },
    h("kbd", {}, key), ` ${text}`);
}
function trial(number) {
  const one = allTrials()[number];
  const sounds = conditions(test.a, test.b, one.item, one.other);
  const pass = number < test.pairs.length;
  const [done, count] = pass ? [number, test.pairs.length] : [number - test.pairs.length, test.ratings.length];
  const shown_ = h("div", { class: "shown" }, picture(one.item, "The picture that is spoken of"));
  const head = h("p", { class: "count", id: "place" }, `${pass ? "Pair" : "Rating"} ${done + 1} of ${count}`);
  const bar = h("progress", { max: count, value: done, "aria-label": "How far you are" });
  // Every trial asks the same: what is new of it is which one it is.
  const ask = (text) => h("h2", { id: "question", tabindex: -1, "aria-describedby": "place" }, text);
  const change = number > 0 ? [h("p", {}, h("button", { type: "button", class: "plain", on: { click: back } },
    "Change the last answer"))] : [];
  if (pass) {
    return [head, bar, shown_, ask("Which speech describes the picture better?"),
      h("div", { class: "sounds" }, h("div", {}, h("h3", {}, "First"), hear("the first", sounds[one.first])),
        h("div", {}, h("h3", {}, "Second"), hear("the second", sounds[one.second]))),
      h("div", { class: "answers", role: "group", "aria-labelledby": "question" }, button("←", "the first", one.first),
        button("0", "no difference", "tie"), button("→", "the second", one.second)),
      h("p", { class: "soft small" }, h("kbd", {}, "Space"), " plays the first and then the second."), ...change];
  }
  return [head, bar, shown_, ask("How well does the speech describe the picture?"),
    h("div", { class: "sounds" }, h("div", {}, hear("the speech", sounds[one.of]))),
    h("div", { class: "answers", role: "group", "aria-labelledby": "question" },
      SCALE.map((word, n) => button(String(n + 1), word, n + 1))),
    h("p", { class: "soft small" }, h("kbd", {}, "Space"), " plays it."), ...change];
}

function ended() {
  const { body, code } = given();
  const blob = new Blob([JSON.stringify({ ...body, code })], { type: "application/json" });
  const name = test.rater.replace(/[^\w-]+/g, "_").slice(0, 40);
  return [h("h2", { id: "question", tabindex: -1 }, "Thank you"),
    h("p", {}, "Your code is ", h("strong", { id: "code" }, code), ". Please send back the file as well."),
    h("p", {}, h("a", { class: "plain strong", id: "answers", href: URL.createObjectURL(blob), download: `listening-${name}.json` },
      "Download your answers"))];
}

function draw() {
  hearing = [];
  test.told = false;
  // The same words twice in a row may not be read out a second time.
  say("");
  const number = test.answers.length;
  const view = document.getElementById("listen");
  // Other views say whose speech is whose.
  document.querySelector("nav").hidden = number < allTrials().length;
  view.querySelector(".test").replaceChildren(...(number < allTrials().length ? trial(number) : ended()));
  view.querySelector("#question").focus({ preventScroll: true });
}

function listenKey(key) {
  if (!test || test.answers.length >= allTrials().length) return false;
  if (key === " ") { if (current && !audio.paused) stop(); else playInTurn(hearing); return true; }
  const pair = test.pairs[test.answers.length];
  // Keys that scroll a page down cast no vote.
  const values = pair ? { ArrowLeft: pair.first, 0: "tie", ArrowRight: pair.second }
    : Object.fromEntries(SCALE.map((_, n) => [String(n + 1), n + 1]));
  if (!(key in values)) return false;
  answer(values[key]);
  return true;
}

function renderListen(state, section) {
  test = null;
  hearing = [];
  section.replaceChildren(h("h1", { id: "listen-title", tabindex: -1 }, "Listening test"),
    h("div", { class: "test" }, introduction(state)));
}
