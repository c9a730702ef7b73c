// A trace as the views need it: numbers out of base64, pieces joined to words, one matrix for one choice of site and head.

const decoded = new WeakMap();

/** The numbers of {shape, base64}: little-endian float32, decoded once. */
export function floats(array) {
  if (!decoded.has(array)) {
    const bytes = Uint8Array.fromBase64?.(array.base64) ?? Uint8Array.from(atob(array.base64), (c) => c.charCodeAt(0));
    decoded.set(array, new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4));
  }
  return decoded.get(array);
}

export const plain = (piece) => piece.replace(/^▁/, "") || "␣";
export const isSpecial = (piece) => /^<\/?s>$|^<pad>$/.test(piece);

const groupings = new WeakMap();

/** The labels along a side and, for each, the positions it stands for: every piece, or the pieces of every word. */
export function side(trace, name, unit) {
  const given = trace.sides[name];
  if (trace.picture && name === "source") unit = "pieces";  // a region is no part of a word
  if (!groupings.has(given)) groupings.set(given, {});
  const known = groupings.get(given);
  known[unit] ??= unit === "pieces"
    ? { labels: given.pieces.map(plain), groups: given.pieces.map((_, i) => [i]), of: given.pieces.map((_, i) => i),
        special: given.pieces.map(isSpecial) }
    : words(given);
  return known[unit];
}

function words({ pieces, words: numbers }) {
  const labels = [], groups = [], special = [];
  numbers.forEach((word, i) => {
    if (!groups[word]) { groups[word] = []; labels[word] = ""; special[word] = isSpecial(pieces[i]); }
    groups[word].push(i);
    labels[word] += pieces[i].replace(/^▁/, "");
  });
  return { labels: labels.map((label) => label || "␣"), groups, of: numbers, special };
}

/** Whether words and pieces differ, so that there is something to choose. */
export function hasPieces(trace) {
  return Object.values(trace.sides).some(({ words: numbers }) => new Set(numbers).size < numbers.length);
}

export const KINDS = { cross: "target → source", encoder: "source → source", decoder: "target → target" };

/** The query of a site that is looked at: the step, or of attention within the source the word. */
export const queryOf = (site, { step, word }) => Math.min(site.queries === "source" ? word : step, site.weights.shape[1] - 1);

export function kinds(trace) {
  const there = [...new Set(trace.sites.map((site) => site.kind))];
  return there.sort((a, b) => Object.keys(KINDS).indexOf(a) - Object.keys(KINDS).indexOf(b));
}

export const layersOf = (trace, kind) => trace.sites.filter((site) => site.kind === kind);

/** The site that is shown: of the wanted kind and layer; else the attention that aligns best, the last but one. */
export function chosenSite(trace, { kind, layer }) {
  if (!trace.sites.length) return null;
  const there = layersOf(trace, kind);
  if (!there.length) return chosenSite(trace, { kind: kinds(trace)[0], layer: null });
  return there.find((site) => site.layer === layer) ?? there[Math.max(0, there.length - 2)];
}

/** Whether attention rollout has something to multiply here. */
export const canRoll = (trace, site) => site.kind !== "decoder" && layersOf(trace, "encoder").length > 1;

/** What of a site is shown: the state's choices as far as the site has them. The map and the table both show just this. */
export function choiceOf(trace, site, state) {
  const heads = site.weights.shape[0], rollout = state.rollout && canRoll(trace, site);
  const head = typeof state.head === "number" && state.head >= heads ? "mean" : state.head;
  return { head, unit: hasPieces(trace) ? state.unit : "pieces", bare: state.bare, rollout };
}

const made = new WeakMap();

/** What is drawn: weights (rows x columns) of one head, or of all, by words or pieces. Made once for each choice. */
export function matrix(trace, site, { head, unit, bare, rollout }) {
  if (!made.has(site)) made.set(site, new Map());
  const known = made.get(site), key = `${head} ${unit} ${bare} ${rollout}`;
  if (!known.has(key)) known.set(key, make(trace, site, { head, unit, bare, rollout }));
  return known.get(key);
}

function make(trace, site, { head, unit, bare, rollout }) {
  const full = rollout ? rolledOut(trace, site) : ofHead(site, head);
  const columns = site.weights.shape[2];
  const queries = side(trace, site.queries, unit), keys = side(trace, site.keys, unit);
  const weights = new Float64Array(queries.groups.length * keys.groups.length);
  queries.groups.forEach((group, q) => keys.groups.forEach((pieces, k) => {
    let sum = 0;
    for (const r of group) for (const c of pieces) sum += full[r * columns + c];
    weights[q * keys.groups.length + k] = sum / group.length;
  }));
  if (bare) withoutSpecial(weights, keys.special);
  return { weights, rows: queries.groups.length, columns: keys.groups.length, queries, keys };
}

/** One head, the mean of all, or the greatest of all, by pieces. */
export function ofHead(site, head) {
  const [heads, rows, columns] = site.weights.shape, values = floats(site.weights), size = rows * columns;
  if (typeof head === "number" && head < heads) return values.subarray(head * size, (head + 1) * size);
  const joined = new Float64Array(size);
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < size; i++)
      joined[i] = head === "max" ? Math.max(joined[i], values[h * size + i]) : joined[i] + values[h * size + i] / heads;
  return joined;
}

/** Attention rollout (Abnar & Zuidema 2020): layers multiplied, half of each going straight through. */
function rolledOut(trace, site) {
  const length = trace.sides.source.pieces.length;
  let flow = identity(length);
  for (const layer of layersOf(trace, "encoder")) {
    if (site.kind === "encoder" && layer.layer > site.layer) break;
    const mean = ofHead(layer, "mean"), half = identity(length);
    for (let i = 0; i < mean.length; i++) half[i] = (half[i] + mean[i]) / 2;
    flow = product(half, flow, length, length, length);
  }
  if (site.kind !== "cross") return flow;
  return product(ofHead(site, "mean"), flow, site.weights.shape[1], length, length);
}

function identity(size) {
  const numbers = new Float64Array(size * size);
  for (let i = 0; i < size; i++) numbers[i * size + i] = 1;
  return numbers;
}

function product(a, b, rows, inner, columns) {
  const out = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < inner; i++) {
      const factor = a[r * inner + i];
      if (factor) for (let c = 0; c < columns; c++) out[r * columns + c] += factor * b[i * columns + c];
    }
  return out;
}

/** The marks of the sentence's ends left out, and each row made to sum to 1 again. */
function withoutSpecial(weights, special) {
  const columns = special.length;
  for (let row = 0; row < weights.length / columns; row++) {
    let left = 0;
    for (let c = 0; c < columns; c++) {
      if (special[c]) weights[row * columns + c] = 0;
      left += weights[row * columns + c];
    }
    if (left > 0) for (let c = 0; c < columns; c++) weights[row * columns + c] /= left;
  }
}

/** The places of the greatest weights of a row, which together have `mass` of it; never one below `least`. */
export function heaviest({ weights, columns }, row, mass = 0.95, least = 0.02) {
  const line = Array.from(weights.subarray(row * columns, (row + 1) * columns), (weight, key) => [weight, key]);
  line.sort((a, b) => b[0] - a[0]);
  const total = line.reduce((sum, [weight]) => sum + weight, 0), kept = [];
  let sum = 0;
  for (const [weight, key] of line) {
    if (weight < least || sum >= mass * total) break;
    kept.push(key);
    sum += weight;
  }
  return kept;
}
