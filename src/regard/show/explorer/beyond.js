// What there is to see where attention is not all, or is not there: the fixed vector, what leaving words out does, experts.
import { html, useEffect, useState } from "ui";
import { number, share } from "numbers";
import { floats, plain, side } from "trace";
import * as client from "client";
import { isDeep, pixels, rampColour } from "map";

/** A model without attention: all that the decoder gets of the source is one vector. */
export function Bottleneck({ trace, theme }) {
  if (!trace.handed_over) return null;
  const values = floats(trace.handed_over), most = Math.max(...Array.from(values, Math.abs)) || 1;
  const across = Math.ceil(Math.sqrt(values.length * 6)), rows = Math.ceil(values.length / across);
  const image = pixels(Array.from({ length: across * rows }, (_, i) => Math.abs(values[i] ?? 0) / most), rows, across, rampColour());
  return html`<section class="card bottleneck" aria-labelledby="bottleneck-title">
    <h2 id="bottleneck-title">The bottleneck <small>this model has no attention: there is nothing to look at</small></h2>
    <p class="flow"><span>${trace.sides.source.pieces.map((piece) => html`<bdi class="key">${plain(piece)}</bdi> `)}</span>
      <b>→</b><img src=${image} alt=${`${values.length} numbers, the darker the larger`} /><b>→</b>
      <span>${trace.sides.target.pieces.map((piece) => html`<bdi class="query">${plain(piece)}</bdi> `)}</span></p>
    <p class="caption">Whatever the source says, and however long it is, the decoder starts from these ${values.length.toLocaleString("en")} numbers:
      [${Array.from(values.subarray(0, 8), (value) => number(value)).join(", ")}, …]. The same ones, whichever word is being said.</p>
  </section>`;
}

/** Leave one word out: what each target word loses without each source word. Needs no attention, and does not trust it. */
export function Influence({ trace, step, onStep }) {
  const [array, setArray] = useState(trace.influence);
  const [open, setOpen] = useState(!trace.sites.some((site) => site.kind === "cross"));
  const [failed, setFailed] = useState(null);
  useEffect(() => {
    setArray(trace.influence);
    if (open && !trace.influence)
      client.influence(trace).then(setArray, (error) => setFailed(error.message));
  }, [trace, open]);
  if (!trace.influence && !client.online) return null;
  return html`<section class="card influence" aria-labelledby="influence-title">
    <div class="between"><h2 id="influence-title">Leave a word out <small>what the output really depends on</small></h2>
      ${!open && html`<button type="button" onClick=${() => setOpen(true)}>compute</button>`}</div>
    ${failed && html`<p class="error">${failed}</p>`}
    ${open && array && html`<${InfluenceMap} trace=${trace} array=${array} step=${step} onStep=${onStep} />`}
    <p class="caption">Attention is not by itself an explanation. Here each source word is left out in turn, and the darker the cell,
      the less probable the target word becomes without it (in nats).</p>
  </section>`;
}

function InfluenceMap({ trace, array, step, onStep }) {
  const [rows, columns] = array.shape, values = floats(array);
  const keys = side(trace, "source", "words"), labels = keys.labels.filter((_, i) => !keys.special[i]);
  const queries = side(trace, "target", "pieces").labels, most = Math.max(1, ...values);
  return html`<div class="table" tabindex="0" role="group" aria-label="Leave a word out: table"><table>
    <thead><tr><td></td>${labels.map((label) => html`<th scope="col"><bdi>${label}</bdi></th>`)}</tr></thead>
    <tbody>${queries.slice(0, rows).map((query, q) => html`<tr class=${q === step ? "now" : ""} onClick=${() => onStep(q)}>
      <th scope="row"><bdi>${query}</bdi></th>
      ${Array.from({ length: columns }, (_, k) => {
        const value = values[q * columns + k];
        return html`<td style=${`--strength: ${Math.max(0, value / most).toFixed(3)}`} class=${isDeep(value / most) ? "on" : ""}
          title=${number(value, 4)}>${Math.abs(value) >= 0.1 ? number(value, 1) : ""}</td>`;
      })}</tr>`)}</tbody></table></div>`;
}

/** Mixtures of experts: which experts each token asked, and how much it trusts each. */
export function Experts({ trace }) {
  if (!trace.experts.length) return null;
  return html`<section class="card experts" aria-labelledby="experts-title">
    <h2 id="experts-title">Experts <small>which networks each token asked, and with what share</small></h2>
    ${trace.experts.map((routing) => {
      const [rows, columns] = routing.gates.shape, gates = floats(routing.gates);
      const labels = trace.sides[routing.side].pieces.map(plain);
      return html`<div class="table" tabindex="0" role="group" aria-label=${routing.name}><table>
        <caption>${routing.name}</caption>
        <thead><tr><th scope="col">expert</th>${labels.slice(0, rows).map((label) => html`<th scope="col"><bdi>${label}</bdi></th>`)}</tr></thead>
        <tbody>${Array.from({ length: columns }, (_, expert) => html`<tr><th scope="row">${expert + 1}</th>
          ${Array.from({ length: rows }, (_, token) => {
            const gate = gates[token * columns + expert];
            return html`<td style=${`--strength: ${gate.toFixed(3)}`} class=${isDeep(gate) ? "on" : ""} title=${number(gate, 4)}>${gate > 0 ? share(gate) : ""}</td>`;
          })}</tr>`)}</tbody></table></div>`;
    })}
  </section>`;
}
