// Sounds and pictures by name: from this page, or from a piece of its folder, loaded when needed.
const held = new Map();
const waiting = new Map();
globalThis.pixvoxMedia = (piece) => {
  for (const [name, text] of Object.entries(piece)) held.set(name, text);
};

function medium(name) {
  if (held.has(name)) return Promise.resolve(held.get(name));
  const here = document.getElementById(`m-${name}`);
  if (here) return Promise.resolve(here.textContent);
  const piece = data.pieces[name];
  if (piece === undefined) {
    // Media stand at the page's end, so that all else is shown before they are read.
    if (document.readyState !== "loading") return Promise.resolve(null);
    return new Promise((done) => {
      document.addEventListener("DOMContentLoaded", done, { once: true });
    }).then(() => medium(name));
  }
  if (!waiting.has(piece)) {
    waiting.set(piece, new Promise((done) => {
      const source = `${encodeURIComponent(data.folder)}/piece-${String(piece).padStart(4, "0")}.js`;
      const script = h("script", { src: source, on: { load: done, error: done } });
      document.head.append(script);
    }));
  }
  return waiting.get(piece).then(() => held.get(name) ?? null);
}

const sources = new Map();
async function sourceOf(name) {
  if (sources.has(name)) return sources.get(name);
  const text = await medium(name);
  if (text === null) return null;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const blob = new Blob([bytes], { type: data.media[name] });
  sources.set(name, URL.createObjectURL(blob));
  return sources.get(name);
}

function picture(item, alt = "") {
  const name = items[item].picture;
  if (!name) return h("span", { class: "blank" }, "no picture");
  const image = h("img", { alt, loading: "lazy", decoding: "async" });
  medium(name).then((text) => {
    if (text) image.src = `data:${data.media[name]};base64,${text}`;
  });
  return image;
}
