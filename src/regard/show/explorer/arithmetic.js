// One cell worked out: score, softmax, weighted sum, output, in the lecture's letters, with the sentence's own numbers.
// Everything is added up again here in double precision and compared with what the model used.
import { html, useEffect, useMemo, useState } from "ui";
import { number, share, tiny } from "numbers";
import { floats, plain, side } from "trace";
import * as client from "client";

const TERMS = 3, LARGEST = 4, LARGEST_EXPONENT = 30;

/** All numbers of one cell. `details` as the document has them; indices count pieces. */
export function workOut(site, details, head, query, key) {
  const [, rows, columns] = site.weights.shape, row = (head * rows + query) * columns;
  const scores = floats(details.scores).subarray(row, row + columns);
  const weights = floats(site.weights).subarray(row, row + columns);
  const most = Math.max(...scores), shift = most > LARGEST_EXPONENT ? most : 0;  // the weights are the same without it
  const total = scores.reduce((sum, e) => sum + Math.exp(e - shift), 0);
  const made = { scores, weights, total, shift, e: scores[key], weight: weights[key], soft: Math.exp(scores[key] - shift) / total };
  made.again = site.takes_greatest ? Number(key === scores.indexOf(most)) : made.soft;
  if (!details.query) return made;
  const d = details.query.shape[2], size = details.values.shape[2];
  const s = floats(details.query).subarray((head * rows + query) * d, (head * rows + query + 1) * d);
  const h = floats(details.keys).subarray((head * columns + key) * d, (head * columns + key + 1) * d);
  const v = details.energy && floats(details.energy);
  const terms = Array.from(s, (_, j) => (v ? v[j] * Math.tanh(s[j] + h[j]) : details.scale * s[j] * h[j]));
  const values = floats(details.values), context = floats(details.context).subarray((head * rows + query) * size, (head * rows + query + 1) * size);
  const sum = new Float64Array(size);
  for (let i = 0; i < columns; i++)
    for (let j = 0; j < size; j++) sum[j] += weights[i] * values[(head * columns + i) * size + j];
  const difference = sum.reduce((worst, each, j) => Math.max(worst, Math.abs(each - context[j])), 0);
  const score = terms.reduce((a, b) => a + b, 0), size_of_terms = terms.reduce((a, b) => a + Math.abs(b), 0);
  return { ...made, s, h, v, terms, score, size: size_of_terms, context, sum, difference, scale: details.scale };
}

const sub = (name, index) => html`<msub><mi>${name}</mi><mi>${index}</mi></msub>`;

/** The lecture's letters: s, h and a of attention to states; q, k and v where both are projections. */
const LETTERS = { scaled: ["q", "k", "v"], dot: ["s", "h", "h"], additive: ["s", "h", "h"] };

function Formula({ which, form, state }) {
  const [query, key, value] = LETTERS[form], e = sub("e", "i"), alpha = sub("α", "i");
  const h = html`<msub class="key"><mi>${key}</mi><mi>i</mi></msub>`, v = html`<msub class="key"><mi>${value}</mi><mi>i</mi></msub>`, s = html`<mi class="query">${query}</mi>`;
  const formulas = {
    dot: html`${e}<mo>=</mo>${s}<mo>·</mo>${h}`,
    scaled: html`${e}<mo>=</mo><mfrac><mrow>${s}<mo>·</mo>${h}</mrow><msqrt><mi>d</mi></msqrt></mfrac>`,
    additive: html`${e}<mo>=</mo><mi>v</mi><mo>·</mo><mi>tanh</mi><mo>(</mo><msub><mi>W</mi><mn>1</mn></msub>${h}<mo>+</mo><msub><mi>W</mi><mn>2</mn></msub>${s}<mo>)</mo>`,
    softmax: html`${alpha}<mo>=</mo><mfrac><mrow><mi>exp</mi><mo>(</mo>${e}<mo>)</mo></mrow><mrow><munder><mo>∑</mo><mi>j</mi></munder><mi>exp</mi><mo>(</mo>${sub("e", "j")}<mo>)</mo></mrow></mfrac>`,
    sum: html`<mi>a</mi><mo>=</mo><munder><mo>∑</mo><mi>i</mi></munder>${alpha}${v}`,
    output: html`<mi>p</mi><mo>=</mo><mi>softmax</mi><mo>(</mo><mi>V</mi>${state}<mo>)</mo>`,
  };
  return html`<math>${formulas[which === "score" ? form : which]}</math>`;
}

/** What is read out. One attention of a stack of layers is added to what passes it; else the decoder reads the context beside its state. */
function readOut(trace, site) {
  const s = html`<mi class="query">s</mi>`;
  if (trace.search !== null && /\.\d+\./.test(site.name)) return s;
  return html`<mi>f</mi><mo>(</mo>${trace.search === null ? html`<mi>a</mi>` : html`<mo>[</mo><mi>a</mi><mo>;</mo>${s}<mo>]</mo>`}<mo>)</mo>`;
}

function Strip({ values, labels, from = 0, marked }) {
  const most = Math.max(1e-9, ...Array.from(values, (value) => (Number.isFinite(value) ? Math.abs(value - from) : 0)));
  return html`<span class="strip" aria-hidden="true">${Array.from(values, (value, i) => html`<i key=${i}
    class=${i === marked ? "marked" : value < 0 ? "minus" : ""} title=${labels ? `${labels[i]}: ${number(value, 4)}` : number(value, 4)}
    style=${`block-size: ${Number.isFinite(value) ? Math.max(4, (100 * Math.abs(value - from)) / most) : 2}%`}></i>`)}</span>`;
}

function Check({ difference, against }) {
  const fine = difference <= 1e-5 * Math.max(1, Math.abs(against));
  return html`<span class=${`check ${fine ? "fine" : "wrong"}`}>${fine ? "✓" : "✕"} differs from the model's by ${tiny(difference)}</span>`;
}

export function Arithmetic({ trace, site, head, query, chosenKey, canOverride, onOverride }) {
  const [details, setDetails] = useState(undefined), [failed, setFailed] = useState(null);
  useEffect(() => {
    let current = true;
    setDetails(undefined);
    setFailed(null);
    client.details(trace, site).then((found) => current && setDetails(found), (error) => current && setFailed(error.message));
    return () => { current = false; };
  }, [trace, site]);
  const first = typeof head === "number" ? head : 0, rows = site.weights.shape[1];
  const number_of_row = Math.min(query, rows - 1);
  const key = useMemo(() => {
    if (chosenKey !== null && chosenKey < site.weights.shape[2]) return chosenKey;
    const columns = site.weights.shape[2], start = (first * rows + number_of_row) * columns;
    const line = floats(site.weights).subarray(start, start + columns);
    return line.indexOf(Math.max(...line));
  }, [site, first, number_of_row, chosenKey]);
  const queries = side(trace, site.queries, "pieces").labels, keys = side(trace, site.keys, "pieces").labels;
  return html`<section class="card arithmetic" aria-labelledby="arithmetic-title">
    <h2 id="arithmetic-title">The arithmetic <small>query <bdi class="query">${queries[number_of_row]}</bdi>, key${" "}
      <bdi class="key">${keys[key]}</bdi>, ${site.name}${site.weights.shape[0] > 1 ? `, head ${first + 1}` : ""}</small></h2>
    ${failed ? html`<p class="error">${failed}</p>` : details === undefined ? html`<p class="quiet">…</p>`
      : details === null ? html`<p class="quiet">The numbers behind these weights are not in this file.</p>`
      : html`<${Lines} trace=${trace} site=${site} details=${details} head=${first} query=${number_of_row} index=${key} keys=${keys} />`}
    ${canOverride && details && html`<${Override} scores=${floats(details.scores).subarray((first * rows + number_of_row) * keys.length, (first * rows + number_of_row + 1) * keys.length)}
      index=${key} label=${keys[key]} onOverride=${(weights) => onOverride(first, number_of_row, weights)} />`}
  </section>`;
}

/** What if? The row of weights is replaced; where a key is hidden none can be given. */
function Override({ scores, index, label, onOverride }) {
  const visible = Array.from(scores, (score) => Number(score !== -Infinity)), count = visible.reduce((a, b) => a + b, 0);
  return html`<p class="override">What if it had looked${" "}
    ${visible[index] > 0 && html`<button type="button" onClick=${() => onOverride(visible.map((_, i) => Number(i === index)))}>only at <bdi class="key">${label}</bdi></button>`}
    ${count > 1 && html` <button type="button" onClick=${() => onOverride(visible.map((each) => each / count))}>at all alike</button>`}?</p>`;
}

function Lines({ trace, site, details, head, query, index, keys }) {
  const worked = workOut(site, details, head, query, index);
  const order = Array.from(worked.weights.keys()).sort((a, b) => worked.weights[b] - worked.weights[a]).slice(0, LARGEST);
  const form = site.form === "additive" ? "additive" : worked.scale !== undefined && worked.scale !== 1 ? "scaled" : "dot";
  const step = site.queries === "target" ? trace.steps[query] : null;
  return html`<ol class="lines">
    <li><b>score</b><${Formula} which="score" form=${form} />
      <span>${worked.s ? html`<${Terms} worked=${worked} /> = <b>${number(worked.score)}</b>${worked.e === -Infinity && html`, hidden: <b>−∞</b>`} <${Check} difference=${worked.e === -Infinity ? 0 : Math.abs(worked.score - worked.e)} against=${worked.size} />`
        : html`<b>${number(worked.e)}</b>`}</span></li>
    <li><b>softmax</b><${Formula} which="softmax" form=${form} />
      <span>exp(${number(worked.e)}${worked.shift ? ` − ${number(worked.shift)}` : ""}) / Σ = ${number(Math.exp(worked.e - worked.shift))} / ${number(worked.total)} = ${site.takes_greatest ? html`${number(worked.soft, 4)}; all to the greatest: <b>${worked.again}</b>` : html`<b>${number(worked.again, 4)}</b>`}
        <${Check} difference=${Math.abs(worked.again - worked.weight)} against=${1} />
        <span class="strips"><${Strip} values=${worked.scores} labels=${keys} marked=${index} /> → <${Strip} values=${worked.weights} labels=${keys} marked=${index} /></span></span></li>
    <li><b>sum</b><${Formula} which="sum" form=${form} />
      <span>${order.map((i, place) => html`${place > 0 && " + "}${number(worked.weights[i])}·<bdi class="key">${keys[i]}</bdi>`)}${
        keys.length > order.length && " + …"}${worked.sum && html` = [${Array.from(worked.sum.subarray(0, 4), (each) => number(each)).join(", ")}${worked.sum.length > 4 ? ", …" : ""}]
        <${Check} difference=${worked.difference} against=${Math.max(...worked.context.map(Math.abs))} /> <span class="strips"><${Strip} values=${worked.sum} /></span>`}</span></li>
    ${step && html`<li><b>output</b><${Formula} which="output" form=${form} state=${readOut(trace, site)} />
      <span>exp(${number(step.logit)} − ${number(step.log_total)}) = <b>${number(Math.exp(step.logit - step.log_total), 4)}</b> for${" "}
        <bdi class="query">${plain(trace.sides.target.pieces[query])}</bdi>
        <${Check} difference=${Math.abs(Math.exp(step.logit - step.log_total) - Math.exp(step.log_prob))} against=${1} /></span></li>`}
  </ol>`;
}

function Terms({ worked: { s, h, v, terms, scale } }) {
  const [all, setAll] = useState(false);
  const one = (j) => v
    ? html`${number(v[j])}·tanh(<i class="query">${number(s[j])}</i> + <i class="key">${number(h[j])}</i>)`
    : html`<i class="query">${number(s[j])}</i>·<i class="key">${number(h[j])}</i>`;
  const shown = all ? terms.length : Math.min(TERMS, terms.length), divided = !v && scale !== 1;
  return html`${divided && "("}${Array.from({ length: shown }, (_, j) => html`${j > 0 && " + "}${one(j)}`)}${
    shown < terms.length && html` + <button type="button" class="more" onClick=${() => setAll(true)}>${terms.length - shown} more</button>`}${
    divided && html`)·${number(scale, 3)}`}`;
}
