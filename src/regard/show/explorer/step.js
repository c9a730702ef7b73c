// One step of decoding: what was said, how sure the model was, what else it might have said. Clicking forces it.
import { html, useState } from "ui";
import { number, share } from "numbers";
import { isSpecial, plain, side } from "trace";

const NAMES = { token: "Step", label: "Label", tag: "Word", glimpse: "Glimpse" };

export function StepPanel({ trace, step, alternative, divergence, canForce, onStep, onForce }) {
  const here = trace.steps[step], pieces = trace.sides.target.pieces, drawn = trace.search?.sampling ?? false;
  const [asked, setColumns] = useState(null), columns = asked ?? drawn, last = trace.steps.length - 1;
  const word = trace.steps_are === "tag" ? side(trace, "source", "words").labels[step] : null;
  return html`<section class="card step" aria-labelledby="step-title">
    <div class="between">
      <h2 id="step-title">${NAMES[trace.steps_are]}${last > 0 && html` ${step + 1} <small>of ${last + 1}</small>`}</h2>
      ${last > 0 && html`<div class="choice" role="group" aria-label="Go to a step">
        ${[["⏮", 0, "first"], ["◀", step - 1, "previous (←)"], ["▶", step + 1, "next (→)"], ["⏭", last, "last"]].map(
          ([sign, to, title]) => html`<button type="button" title=${title} aria-label=${title} disabled=${to < 0 || to > last || to === step}
            onClick=${() => onStep(to)}>${sign}</button>`)}
      </div>`}
    </div>
    <p class="said"><bdi>${plain(pieces[step])}</bdi>
      <span class="quiet">${word !== null && html`for <bdi>${word}</bdi>, `}p ${share(Math.exp(here.log_prob))} · ${number(here.log_prob)} nats</span></p>
    <${columns ? Columns : Bars} trace=${trace} step=${step} alternative=${alternative} canForce=${canForce} onForce=${onForce} />
    <div class="between"><p class="quiet small">entropy ${number(here.entropy)} nats${divergence
      ? html` · JSD to the other model ${number(divergence[Math.min(step, divergence.length - 1)] / Math.LN2)} bits` : ""}</p>
      <button type="button" class="more" aria-pressed=${String(columns)} onClick=${() => setColumns(!columns)}>${columns ? "bars" : "logits → exp → p"}</button></div>
  </section>`;
}

/** Whether it can be said instead of what was said: a mark is no word. */
export const isAnother = (trace, step, { token, piece }) => token !== trace.ids.target[step] && !isSpecial(piece);

/** The button that says an alternative instead of what was said. */
function Force({ trace, each, step, place, alternative, canForce, onForce, children }) {
  const can = canForce && isAnother(trace, step, each);
  return html`<button type="button" disabled=${!can} class=${place === alternative ? "marked" : ""}
    title=${each.token === trace.ids.target[step] ? "this is what was said" : can ? "say this instead and go on" : ""} onClick=${() => onForce(each.token)}>${children}</button>`;
}

function Bars({ trace, step, ...rest }) {
  return html`<ol class="alternatives" aria-label="What might have been said">
    ${trace.steps[step].alternatives.map((each, place) => html`<li key=${each.token} class=${each.token === trace.ids.target[step] ? "taken" : ""}>
      <${Force} trace=${trace} each=${each} step=${step} place=${place} ...${rest}>
        <span class="bar" style=${`inline-size: ${(100 * Math.exp(each.log_prob)).toFixed(1)}%`}></span>
        <bdi>${plain(each.piece)}</bdi><span class="value">${share(Math.exp(each.log_prob))}</span></${Force}></li>`)}
  </ol>`;
}

/** From logits to probabilities: z, z / T, exp, and the share of all that is left; with sampling, after the cuts. */
function Columns({ trace, step, ...rest }) {
  const here = trace.steps[step], drawn = trace.search?.sampling ?? false, heat = drawn ? trace.search.temperature : 1;
  const rows = here.alternatives.map((each) => ({ ...each, z: each.log_prob + here.log_total }));
  const most = rows[0].z;  // taken away before exp, so that no number is too large; the shares stay the same
  const chance = (each) => each.chance ?? Math.exp(each.log_prob);
  return html`<div class="table columns" tabindex="0" role="group" aria-label="From logits to probabilities"><table>
    <thead><tr><td></td><th scope="col" title="logit">z</th>${heat !== 1 && html`<th scope="col" title=${`divided by the temperature ${heat}`}>z / T</th>`}
      <th scope="col" title="exp of the difference from the best">exp</th><th scope="col">p</th></tr></thead>
    <tbody class="alternatives">${rows.map((each, place) => html`<tr key=${each.token} class=${`${each.token === trace.ids.target[step] ? "taken" : ""} ${chance(each) ? "" : "cut"}`}>
      <th scope="row"><${Force} trace=${trace} each=${each} step=${step} place=${place} ...${rest}><bdi>${plain(each.piece)}</bdi></${Force}></th>
      <td>${number(each.z)}</td>${heat !== 1 && html`<td>${number(each.z / heat)}</td>`}<td>${number(Math.exp((each.z - most) / heat), 3)}</td>
      <td class="p"><i style=${`inline-size: ${(100 * chance(each)).toFixed(1)}%`}></i><span>${chance(each) ? share(chance(each)) : "cut"}</span></td></tr>`)}</tbody></table>
    <p class="caption">exp is of z${heat !== 1 ? " / T" : ""} minus the best one's; p is its share of all ${drawn ? "that top k and top p leave" : "tokens"}.</p></div>`;
}
