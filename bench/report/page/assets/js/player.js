// One audio element plays for all; a player is a button, a waveform and a time.
const audio = document.getElementById("player");
const players = new Map();
let current = null;
let queue = [];

const PLAY = "M3 1.5v13l11-6.5z";
const PAUSE = "M3 2h3.6v12H3zM9.4 2H13v12H9.4z";

function wavePath(peaks, upTo = 1) {
  const count = Math.floor((peaks.length / 2) * upTo);
  let path = "";
  for (let n = 0; n < count; n += 1) {
    const half = 1 + (parseInt(peaks.slice(2 * n, 2 * n + 2), 16) / 255) * 17;
    path += `M${n * 3 + 1.5} ${(20 - half).toFixed(1)}V${(20 + half).toFixed(1)}`;
  }
  return path;
}

function show(player) {
  const playing = player === current && !audio.paused;
  const share = player === current && audio.duration ? audio.currentTime / audio.duration : 0;
  player.icon.setAttribute("d", playing ? PAUSE : PLAY);
  player.button.setAttribute("aria-label", `${playing ? "Pause" : "Play"} ${player.label}`);
  if (player.heard) player.heard.setAttribute("d", wavePath(player.peaks, share));
  const at = player === current ? audio.currentTime : 0;
  // A slider that moves under a keyboard's focus is read out again and again.
  if (player.seek && !player.seek.matches(":focus-visible")) player.seek.value = at;
  if (player.clock) {
    player.clock.textContent = `${at.toFixed(1)} / ${player.seconds.toFixed(1)} s`;
  }
}

async function start(player, from = null) {
  if (current !== player) {
    const before = current;
    const source = await sourceOf(player.sound);
    if (source === null) { say("This speech is not in the page."); return; }
    current = player;
    audio.src = source;
    if (before) show(before);
  }
  // Chromium may fail to decode right before the end of an MP3.
  if (from !== null) audio.currentTime = Math.max(Math.min(from, player.seconds - 0.3), 0);
  try { await audio.play(); } catch { /* Another sound was begun before this one. */ }
}

function toggle(player) {
  queue = [];
  if (current === player && !audio.paused) audio.pause();
  else start(player);
}

function playInTurn(list) {
  const able = list.filter(Boolean);
  queue = able.slice(1);
  if (able.length) start(able[0], 0);
}

// The pause is told later, when nothing is current any more and no player would hear of it.
function stop() {
  const before = current;
  queue = [];
  audio.pause();
  current = null;
  if (before) show(before);
}
const whySilent = (cell) => cells[cell].asr ? "No speech of its own is kept." : "A text: there is nothing to listen to.";

for (const event of ["play", "pause", "timeupdate", "seeked"]) {
  audio.addEventListener(event, () => current && show(current));
}
function playNext() {
  const next = queue.shift();
  if (next) start(next, 0);
}
audio.addEventListener("ended", playNext);
audio.addEventListener("error", () => {
  const failed = current;
  current = null;
  if (failed) show(failed);
  playNext();
});

// A player for one cell's speech of an item; null where none is kept.
function makePlayer(cell, item, wide = true) {
  const row = rowOf(cell, item);
  const sound = row < 0 ? "" : cells[cell].rows.sound[row];
  if (!sound) return null;
  return soundPlayer(sound, `${cells[cell].label}, ${items[item].id}`, wide);
}

function soundPlayer(sound, label, wide = true) {
  const [seconds, peaks] = data.sounds[sound];
  const icon = svg("path", { d: PLAY });
  const button = h("button", { type: "button", class: "play", on: { click: () => toggle(player) } },
    svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, icon));
  const player = { sound, seconds, peaks, icon, button, label };
  player.element = button;
  if (wide) {
    player.heard = svg("path", { class: "heard" });
    const wave = svg("svg", {
      class: "wave", viewBox: `0 0 ${(peaks.length / 2) * 3} 40`, preserveAspectRatio: "none",
      "aria-hidden": "true",
    }, svg("path", { d: wavePath(peaks) }), player.heard);
    wave.addEventListener("click", (event) => {
      const box = wave.getBoundingClientRect();
      start(player, ((event.clientX - box.left) / box.width) * seconds);
    });
    player.seek = h("input", {
      type: "range", class: "seek", min: 0, max: seconds, step: 0.5, value: 0, "aria-label": `Position in ${label}, in seconds`,
      on: {
        input: () => start(player, Number(player.seek.value)),
        // It stood still while it had the focus: a key goes on from what is heard.
        keydown: () => { if (player === current) player.seek.value = audio.currentTime; },
      },
    });
    player.clock = h("span", { class: "time" });
    player.element = h("div", { class: "player" }, button, h("div", { class: "track" }, wave, player.seek), player.clock);
  }
  players.set(button, player);
  show(player);
  return player;
}
