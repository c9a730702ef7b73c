// One step of decoding: what was said, how sure the model was, what else it might have said. Clicking forces it.
import { html } from "ui";
import { number, share } from "numbers";
import { plain } from "trace";

export function StepPanel({ trace, step, alternative, divergence, canForce, onStep, onForce }) {
  const here = trace.steps[step], pieces = trace.sides.target.pieces, chosen = trace.ids.target[step];
  const last = trace.steps.length - 1;
  return html`<section class="card step" aria-labelledby="step-title">
    <div class="between">
      <h2 id="step-title">Step ${step + 1} <small>of ${last + 1}</small></h2>
      <div class="choice" role="group" aria-label="Go to a step">
        ${[["⏮", 0, "first"], ["◀", step - 1, "previous (←)"], ["▶", step + 1, "next (→)"], ["⏭", last, "last"]].map(
          ([sign, to, title]) => html`<button type="button" title=${title} aria-label=${title} disabled=${to < 0 || to > last || to === step}
            onClick=${() => onStep(to)}>${sign}</button>`)}
      </div>
    </div>
    <p class="said"><bdi>${plain(pieces[step])}</bdi>
      <span class="quiet">p ${share(Math.exp(here.log_prob))} · ${number(here.log_prob)} nats</span></p>
    <ol class="alternatives" aria-label="What might have been said">
      ${here.alternatives.map((each, place) => html`<li key=${each.token} class=${each.token === chosen ? "taken" : ""}>
        <button type="button" disabled=${!canForce || each.token === chosen || each.piece === "</s>"}
          class=${place === alternative ? "marked" : ""}
          title=${each.token === chosen ? "this is what was said" : canForce ? "say this instead and go on" : ""} onClick=${() => onForce(each.token)}>
          <span class="bar" style=${`inline-size: ${(100 * Math.exp(each.log_prob)).toFixed(1)}%`}></span>
          <bdi>${plain(each.piece)}</bdi><span class="value">${share(Math.exp(each.log_prob))}</span>
        </button></li>`)}
    </ol>
    <p class="quiet small">entropy ${number(here.entropy)} nats${divergence
      ? html` · JSD to the other model ${number(divergence[Math.min(step, divergence.length - 1)] / Math.LN2)} bits` : ""}</p>
  </section>`;
}
