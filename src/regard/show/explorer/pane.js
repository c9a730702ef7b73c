// One model's view of the sentence: which attention, as links or as a map, and all heads.
import { Choice, html } from "ui";
import { canRoll, choiceOf, chosenSite, hasPieces, kinds, KINDS, layersOf, matrix, plain, queryOf, side } from "trace";
import { Links } from "links";
import { HeatMap } from "map";
import { Glimpses } from "glimpses";
import { Picture } from "picture";

/** Pieces count in the state; a view by words must know which word a piece is in. */
const place = (along, piece) => (piece === null || piece >= along.of.length ? null : along.of[piece]);

/** Whether the keys are regions of a picture. */
const ofRegions = (trace, site) => Boolean(trace.picture) && site.keys === "source";

export function Pane({ trace, state, set, theme, title }) {
  const site = chosenSite(trace, state);
  if (!site && !title && !trace.picture && trace.steps_are === "label") return null;  // the step's panel says it all
  if (!site) return html`<section class="card pane" aria-label="Output">${title && html`<div class="controls"><b class="model">${title}</b></div>`}
    <${trace.glimpses ? Glimpses : Plain} trace=${trace} step=${Math.min(state.step, trace.steps.length - 1)} theme=${theme} onStep=${(step) => set({ step })} /></section>`;
  const choice = choiceOf(trace, site, state), shown = matrix(trace, site, choice);
  const query = queryOf(site, state), key = place(shown.keys, state.key), along = site.queries === "source" ? "word" : "step";
  const first = (along, index) => along.groups[index][0];
  const props = {
    shown, theme, name: site.name, step: place(shown.queries, query), chosenKey: key,
    onStep: (row) => set({ [along]: first(shown.queries, row) }), onKey: (column) => set({ key: first(shown.keys, column) }),
  };
  return html`<section class="card pane" aria-label=${title ? `Attention of ${title}` : "Attention"}>
    <${Controls} trace=${trace} state=${state} set=${set} site=${site} choice=${choice} title=${title} />
    ${state.view === "map" ? html`<${HeatMap} ...${props} sumsToOne=${choice.rollout || choice.head !== "max"} />` : ofRegions(trace, site)
      ? html`<${Picture} trace=${trace} ...${props} />` : html`<${Links} ...${props} />`}
    ${state.view === "links" && !ofRegions(trace, site) && html`<p class="caption">The wider the line, the more weight. Point at a word to see its links alone; click one to go to its step.</p>`}
  </section>`;
}

function Controls({ trace, state, set, site, choice: { head, rollout }, title }) {
  const layers = layersOf(trace, site.kind), heads = site.weights.shape[0];
  const numbers = Array.from({ length: heads }, (_, number) => [number, String(number + 1), `head ${number + 1}`]);
  return html`<div class="controls">
    ${title && html`<b class="model">${title}</b>`}
    <${Choice} label="Attention" options=${kinds(trace).map((kind) => [kind, KINDS[kind] ?? kind])} value=${site.kind}
      onChoose=${(kind) => set({ kind, layer: null, key: null })} />
    <${Choice} label="Layer" options=${layers.map((each) => [each.layer, `layer ${each.layer + 1}`])} value=${site.layer}
      onChoose=${(layer) => set({ layer })} />
    ${heads > 1 && !rollout && html`<${Choice} label="Head" options=${[["mean", "mean", "mean of all heads"], ["max", "max", "the greatest of all heads"], ...numbers]}
      value=${head} onChoose=${(chosen) => set({ head: chosen })} />`}
    <span class="grow"></span>
    ${canRoll(trace, site) && html`<label><input type="checkbox" checked=${rollout}
      onChange=${(event) => set({ rollout: event.currentTarget.checked })} /> rollout</label>`}
    ${!ofRegions(trace, site) && html`<label title="leave the end mark out; each row is made to sum to 1 again"><input type="checkbox" checked=${state.bare}
      onChange=${(event) => set({ bare: event.currentTarget.checked })} /> without ${"</s>"}</label>`}
    ${hasPieces(trace) && html`<${Choice} label="Words or pieces" options=${[["words", "words"], ["pieces", "pieces"]]} value=${state.unit}
      onChoose=${(unit) => set({ unit })} />`}
    <${Choice} label="View" options=${[["links", ofRegions(trace, site) ? "picture" : "lines"], ["map", "map"]]} value=${state.view} onChoose=${(view) => set({ view })} />
  </div>`;
}

/** No attention: the output alone, a label for each word where there is one, and the picture as the model saw it. */
function Plain({ trace, step, onStep }) {
  const words = side(trace, "source", "words").labels, { pieces } = trace.sides.target;
  return html`${trace.picture && html`<svg class="seen" viewBox=${`0 0 ${trace.picture.width} ${trace.picture.height}`} role="img" aria-label="the picture as the model saw it" data-picture="picture">
      <image href=${trace.picture.address} width="100%" height="100%" style="image-rendering: pixelated" /></svg>`}
    ${trace.text && trace.steps_are !== "tag" && html`<p class="sentence"><bdi>${trace.text}</bdi></p>`}
    <p class=${`sentence said ${trace.steps_are === "tag" ? "tags" : ""}`}>${pieces.map((piece, i) => html`<button type="button" class="plain" aria-pressed=${String(i === step)} onClick=${() => onStep(i)}>
      ${trace.steps_are === "tag" && html`<bdi class="word">${words[i]}</bdi>`}<bdi>${plain(piece)}</bdi></button>`)}</p>`;
}

/** The same numbers as a table, for screen readers and for copying. */
export function Table({ trace, state }) {
  const site = chosenSite(trace, state);
  if (!site) return null;
  const choice = choiceOf(trace, site, state), { head, unit, rollout } = choice, shown = matrix(trace, site, choice);
  const row = side(trace, site.queries, unit).of[queryOf(site, state)];
  return html`<div class="table" tabindex="0" role="group" aria-label="Weights as a table"><table>
    <caption>${site.name}, ${rollout ? "rollout: the layers of the encoder multiplied" : head === "mean" ? "mean of all heads" : head === "max" ? "the greatest of all heads" : `head ${head + 1}`}</caption>
    <thead><tr><td></td>${shown.keys.labels.map((label) => html`<th scope="col"><bdi>${label}</bdi></th>`)}</tr></thead>
    <tbody>${shown.queries.labels.map((label, q) => html`<tr class=${q === row ? "now" : ""}><th scope="row"><bdi>${label}</bdi></th>
      ${shown.keys.labels.map((_, k) => html`<td>${shown.weights[q * shown.columns + k].toFixed(4)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}
