// One page for one sentence: the weights are those that the model used, as float32; nothing is fetched.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const state = { kind: null, layer: null, head: "mean", unit: data.pieces ? "words" : "pieces" };

for (const site of data.sites) {
  const bytes = Uint8Array.from(atob(site.weights), (c) => c.charCodeAt(0));
  site.values = new Float32Array(bytes.buffer);
}
const kinds = [...new Set(data.sites.map((site) => site.kind))];
state.kind = kinds.includes("cross") ? "cross" : kinds[0];

function layersOf(kind) { return data.sites.filter((site) => site.kind === kind); }
function site() { return layersOf(state.kind).find((s) => s.layer === state.layer); }

// Weights of one head (or the mean of all) as rows; pieces of one word are joined if asked:
// the sum over the pieces of a key word, the mean over the pieces of a query word.
function matrix(site, head, unit) {
  const { heads, rows, columns, values } = site;
  const chosen = head === "mean" ? [...Array(heads).keys()] : [head];
  const full = Array.from({ length: rows }, () => new Array(columns).fill(0));
  for (const h of chosen)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) full[r][c] += values[(h * rows + r) * columns + c] / chosen.length;
  const queries = words(site.queries, unit), keys = words(site.keys, unit);
  const joined = queries.groups.map((group) =>
    keys.groups.map((columnsOf) =>
      group.reduce((sum, r) => sum + columnsOf.reduce((s, c) => s + full[r][c], 0), 0) / group.length));
  return { weights: joined, queries: queries.labels, keys: keys.labels };
}

function words(side, unit) {
  if (unit === "pieces") return { labels: side.pieces, groups: side.pieces.map((_, i) => [i]) };
  const groups = [], labels = [];
  side.words.forEach((word, i) => {
    if (!groups[word]) { groups[word] = []; labels[word] = ""; }
    groups[word].push(i);
    labels[word] += side.pieces[i].replace(/^▁/, "");
  });
  return { labels, groups };
}

function buttons(id, options, current, choose) {
  const box = at(id);
  box.replaceChildren();
  if (options.length < 2) return;
  for (const [value, label] of options) {
    const button = document.createElement("button");
    button.textContent = label;
    button.setAttribute("aria-pressed", String(value === current));
    button.onclick = () => { choose(value); draw(); };
    box.append(button);
  }
}

function element(name, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function drawLines({ weights, queries, keys }) {
  const svg = at("lines"), row = 27, width = 460, left = 150, right = 310;
  const height = Math.max(queries.length, keys.length) * row + 12;
  const y = (i, count) => (height - count * row) / 2 + i * row + row / 2;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("aria-label", "Links between words");
  svg.replaceChildren();
  weights.forEach((line, q) => line.forEach((weight, k) => {
    if (weight < 0.04) return;
    const from = y(k, keys.length), to = y(q, queries.length), middle = (left + right) / 2;
    svg.append(element("path", {
      d: `M${left + 8} ${from} C${middle} ${from} ${middle} ${to} ${right - 8} ${to}`,
      "stroke-width": (0.5 + 7 * weight).toFixed(2), "stroke-opacity": (0.2 + 0.7 * weight).toFixed(2),
      "data-key": k, "data-query": q,
    }));
  }));
  const words = (labels, x, anchor, side) => labels.forEach((label, i) => {
    const text = element("text", { x, y: y(i, labels.length) + 5, "text-anchor": anchor, tabindex: 0, [`data-${side}`]: i }, label);
    text.onmouseenter = text.onfocus = () => isolate(side, i);
    text.onmouseleave = text.onblur = () => isolate(null);
    svg.append(text);
  });
  words(keys, left, "end", "key");
  words(queries, right, "start", "query");
}

function isolate(side, index) {
  for (const node of at("lines").children) {
    const mine = side === null || node.getAttribute(`data-${side}`) === String(index);
    const other = node.tagName === "text" && side !== null && node.getAttribute(`data-${side}`) === null;
    node.classList.toggle("faded", !mine && !other);
    node.classList.toggle("chosen", side !== null && mine && node.tagName === "text");
  }
}

function drawMap({ weights, queries, keys }) {
  const table = at("map"), wide = keys.length > 11;
  table.style.setProperty("--cell", wide ? "27px" : "34px");
  table.style.fontSize = wide ? ".72rem" : "";
  const head = document.createElement("thead"), body = document.createElement("tbody");
  const cell = (name, text) => { const node = document.createElement(name); node.textContent = text; return node; };
  const top = document.createElement("tr");
  top.append(cell("td", ""));
  top.firstChild.style.border = "none";
  keys.forEach((key) => { const th = cell("th", ""); const span = cell("span", key); span.dir = "auto"; th.append(span); top.append(th); });
  head.append(top);
  weights.forEach((line, q) => {
    const tr = document.createElement("tr"), label = cell("th", queries[q]);
    label.dir = "auto";
    tr.append(label);
    line.forEach((weight, k) => {
      const td = cell("td", weight >= 0.05 ? weight.toFixed(2).replace(/^0/, "") : "");
      td.style.backgroundColor = `rgba(var(--ramp), ${Math.min(1, weight).toFixed(3)})`;
      td.classList.toggle("strong", weight > 0.55);
      td.onmouseenter = () => {
        at("caption").textContent = `“${queries[q]}” looks at “${keys[k]}” with ${weight.toFixed(4)}`;
        tr.classList.add("chosen");
        top.children[k + 1].classList.add("chosen");
      };
      td.onmouseleave = () => { tr.classList.remove("chosen"); top.children[k + 1].classList.remove("chosen"); };
      tr.append(td);
    });
    body.append(tr);
  });
  table.replaceChildren(head, body);
}

function drawWall() {
  const box = at("wall");
  box.replaceChildren();
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--ramp").split(",").map(Number);
  for (const candidate of layersOf(state.kind))
    for (let head = 0; head < candidate.heads; head++) {
      const button = document.createElement("button"), canvas = document.createElement("canvas");
      const { weights } = matrix(candidate, head, "pieces");
      canvas.width = weights[0].length;
      canvas.height = weights.length;
      const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
      weights.flat().forEach((weight, i) => pixels.data.set([...colour, Math.round(255 * Math.min(1, weight))], 4 * i));
      context.putImageData(pixels, 0, 0);
      const label = `${candidate.layer === null ? "" : `layer ${candidate.layer + 1} · `}head ${head + 1}`;
      button.append(canvas, label);
      button.setAttribute("aria-pressed", String(candidate.layer === state.layer && head === state.head));
      button.onclick = () => { state.layer = candidate.layer; state.head = head; draw(); };
      box.append(button);
    }
}

const NAMES = { cross: "target → source", self: "self", encoder: "source → source", decoder: "target → target" };

function draw() {
  const layers = layersOf(state.kind);
  if (!layers.some((s) => s.layer === state.layer)) state.layer = layers[layers.length - 1].layer;
  if (state.head !== "mean" && state.head >= site().heads) state.head = "mean";
  buttons("kinds", kinds.map((k) => [k, NAMES[k] ?? k]), state.kind, (k) => { state.kind = k; });
  buttons("layers", layers.map((s) => [s.layer, `layer ${s.layer + 1}`]), state.layer, (l) => { state.layer = l; });
  const heads = [["mean", "all heads"], ...Array.from({ length: site().heads }, (_, h) => [h, `${h + 1}`])];
  buttons("heads", site().heads > 1 ? heads : [], state.head, (h) => { state.head = h; });
  buttons("units", data.pieces ? [["words", "words"], ["pieces", "pieces"]] : [], state.unit, (u) => { state.unit = u; });
  const shown = matrix(site(), state.head, state.unit);
  at("caption").textContent = "Each row sums to 1. Point at a cell to read its weight.";
  drawLines(shown);
  drawMap(shown);
  drawWall();
}

at("source").textContent = data.source;
at("target").textContent = data.target;
at("model").textContent = data.model;
at("score").textContent = data.score;
document.title = `${data.source} · regard`;
draw();
