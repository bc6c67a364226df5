// What one rater hears, in which order: a function of the page, the two systems and who rates.
const PAIRS = 12;
const CHECKS = 2;
const RATED = 6;
const encoder = new TextEncoder();

// Fowler, Noll and Vo's hash (FNV-1a, 32 bits) of a text's UTF-8.
function hashed(text, basis = 0x811c9dc5) {
  let value = basis;
  for (const byte of encoder.encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}
// A generator of numbers in [0, 1) for a seed (mulberry32).
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
function shuffled(list, draw) {
  const mixed = [...list];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(draw() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

const soundOf = (cell, item) => (cell === null || rowOf(cell, item) < 0 ? "" : cells[cell].rows.sound[rowOf(cell, item)]);
// People's own speech is the hidden reference, where the run has it.
function referenceOf(item) {
  const at = cells.findIndex((cell, number) => cell.role === "ceiling" && soundOf(number, item));
  return at < 0 ? null : at;
}
const heardOf = (a, b) => items.map((_, item) => item).filter((item) => soundOf(a, item) && soundOf(b, item));

// A sound for each condition of an item. The anchor is speech of another picture.
function conditions(a, b, item, other) {
  const reference = referenceOf(item);
  const good = reference === null ? a : reference;
  return {
    a: soundOf(a, item), b: soundOf(b, item),
    reference: soundOf(reference, item),
    anchor: soundOf(good, other) || soundOf(a, other),
  };
}

// Raters who are numbers take the pictures in turn, so that all are heard about as often.
function trialsOf(a, b, rater) {
  const able = heardOf(a, b);
  const order = shuffled(able, random(hashed(`${data.digest}/${cells[a].key}/${cells[b].key}`)));
  const number = /^\d{1,9}$/.test(rater) ? Number(rater) : hashed(rater);
  const count = Math.min(PAIRS, order.length);
  const at = (place) => order[(number * count + place) % order.length];
  const draw = random(hashed(`${data.digest}/${rater}`));
  const mine = Array.from({ length: count }, (_, place) => ({ item: at(place), other: at(place + 1) }));
  // Each system stands first in half of the pairs.
  const firsts = shuffled(mine.map((_, place) => ((place + number) % 2 ? "b" : "a")), draw);
  const pairs = mine.map(({ item, other }, place) => ({
    item, other, first: firsts[place], second: firsts[place] === "a" ? "b" : "a",
  }));
  for (const { item, other } of shuffled(mine, draw).slice(0, order.length > 1 ? CHECKS : 0)) {
    const good = referenceOf(item) === null ? "a" : "reference";
    const sides = draw() < 0.5 ? [good, "anchor"] : ["anchor", good];
    pairs.splice(Math.floor(draw() * (pairs.length + 1)), 0, { item, other, first: sides[0], second: sides[1] });
  }
  const rated = mine.slice(0, RATED).flatMap(({ item, other }) => {
    const sounds = conditions(a, b, item, other);
    return Object.keys(sounds).filter((of) => sounds[of]).map((of) => ({ item, other, of }));
  });
  return { pairs, ratings: shuffled(rated, draw) };
}
