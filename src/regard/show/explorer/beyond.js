// What there is to see where attention is not all, or is not there: the fixed vector, what leaving words out does, experts.
import { html, useEffect, useMemo, useState } from "ui";
import { number, share } from "numbers";
import { floats, plain, side } from "trace";
import * as client from "client";
import { isDeep, pixels, rampColour } from "map";
import { Shaded } from "picture";

/** A model without attention: all that the decoder gets of the source is one vector. */
export function Bottleneck({ trace, theme }) {
  if (!trace.handed_over) return null;
  const values = floats(trace.handed_over), most = Math.max(...Array.from(values, Math.abs)) || 1;
  const across = Math.ceil(Math.sqrt(values.length * 6)), rows = Math.ceil(values.length / across);
  const image = pixels(Array.from({ length: across * rows }, (_, i) => Math.abs(values[i] ?? 0) / most), rows, across, rampColour());
  return html`<section class="card bottleneck" aria-labelledby="bottleneck-title">
    <h2 id="bottleneck-title">The bottleneck <small>this model has no attention: there is nothing to look at</small></h2>
    <p class="flow"><span>${trace.picture ? "the picture" : trace.sides.source.pieces.map((piece) => html`<bdi class="key">${plain(piece)}</bdi> `)}</span>
      <b>→</b><img src=${image} alt=${`${values.length} numbers, the darker the larger`} /><b>→</b>
      <span>${trace.sides.target.pieces.map((piece) => html`<bdi class="query">${plain(piece)}</bdi> `)}</span></p>
    <p class="caption">Whatever the source says, and however long it is, the decoder starts from these ${values.length.toLocaleString("en")} numbers:
      [${Array.from(values.subarray(0, 8), (value) => number(value)).join(", ")}, …]. The same ones, whichever word is being said.</p>
  </section>`;
}

/** Leave one word, or one region, out: what each step loses without it. Needs no attention, and does not trust it. */
export function Influence({ trace, step, onStep }) {
  const [array, setArray] = useState(trace.influence), unit = trace.picture ? "region" : "word";
  const [open, setOpen] = useState(!trace.sites.some((site) => site.keys === "source" && site.queries === "target"));
  const [failed, setFailed] = useState(null);
  const nothing = !trace.picture && trace.sides.source.pieces.length < 3;  // one word and the end: there is no other to keep
  useEffect(() => {
    let current = true;
    setArray(trace.influence);
    setFailed(null);
    if (open && !nothing && !trace.influence)
      client.influence(trace).then((found) => current && setArray(found), (error) => current && setFailed(error.message));
    return () => { current = false; };
  }, [trace, open]);
  if (nothing || (!trace.influence && !client.online)) return null;
  return html`<section class="card influence" aria-labelledby="influence-title">
    <div class="between"><h2 id="influence-title">Leave a ${unit} out <small>what the output really depends on</small></h2>
      ${!open && html`<button type="button" onClick=${() => setOpen(true)}>compute</button>`}</div>
    ${failed && html`<p class="error">${failed}</p>`}
    ${open && !array && !failed && html`<p class="quiet">…</p>`}
    ${open && array && html`<${trace.picture ? RegionsLeftOut : InfluenceMap} trace=${trace} array=${array} step=${step} onStep=${onStep} />`}
    <p class="caption">Attention is not by itself an explanation. ${trace.picture
      ? "Here each region is made grey in turn; light is where the picture is needed for what was said."
      : "Here each source word is left out in turn, and the darker the cell, the less probable what was said becomes without it (in nats)."}</p>
  </section>`;
}

function RegionsLeftOut({ trace, array, step }) {
  const columns = array.shape[1], lost = useMemo(() => Array.from(floats(array).subarray(step * columns, (step + 1) * columns)), [array, step]);
  const worst = lost.indexOf(Math.max(...lost)), word = plain(trace.sides.target.pieces[step]);
  return html`<div class="picture left-out"><${Shaded} picture=${trace.picture} weights=${lost} smooth=${false} chosen=${lost[worst] > 0 ? worst : null}
      label=${`the picture, light where “${word}” depends on it`} />
    <p class="caption">${lost[worst] > 0 ? html`Without ${trace.sides.source.pieces[worst]}, “<bdi class="query">${word}</bdi>” loses ${number(lost[worst])} nats, more than without any other region.`
      : html`“<bdi class="query">${word}</bdi>” becomes no less probable without any one region.`}</p></div>`;
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
