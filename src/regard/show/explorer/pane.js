// One model's view of the sentence: which attention, as links or as a map, and all heads.
import { Choice, html } from "ui";
import { chosenSite, hasPieces, kinds, KINDS, layersOf, matrix, side } from "trace";
import { Links } from "links";
import { HeatMap } from "map";
import { Picture } from "picture";

/** Pieces count in the state; a view by words must know which word a piece is in. */
const place = (along, piece) => (piece === null || piece >= along.of.length ? null : along.of[piece]);

export function Pane({ trace, state, set, theme, title }) {
  const site = chosenSite(trace, state);
  if (!site) return html`<section class="card" aria-label="Translation"><${Plain} trace=${trace} state=${state} set=${set} title=${title} /></section>`;
  const heads = site.weights.shape[0], head = typeof state.head === "number" && state.head >= heads ? "mean" : state.head;
  const unit = hasPieces(trace) ? state.unit : "pieces";
  const rollout = state.rollout && site.kind !== "decoder" && layersOf(trace, "encoder").length > 0;
  const shown = matrix(trace, site, { head, unit, bare: state.bare, rollout });
  const query = Math.min(state.step, shown.queries.of.length - 1), key = place(shown.keys, state.key);
  const first = (along, index) => along.groups[index][0];
  const props = {
    shown, theme, name: site.name, step: place(shown.queries, query), chosenKey: key,
    onStep: (row) => set({ step: first(shown.queries, row) }), onKey: (column) => set({ key: first(shown.keys, column) }),
  };
  return html`<section class="card pane" aria-label=${title ? `Attention of ${title}` : "Attention"}>
    <${Controls} trace=${trace} state=${state} set=${set} site=${site} head=${head} title=${title} rollout=${rollout} />
    ${state.view === "map" ? html`<${HeatMap} ...${props} />` : trace.picture && site.kind === "cross"
      ? html`<${Picture} trace=${trace} ...${props} />` : html`<${Links} ...${props} />`}
    ${state.view === "links" && !trace.picture && html`<p class="caption">The wider the line, the more weight. Point at a word to see its links alone; click one to go to its step.</p>`}
  </section>`;
}

function Controls({ trace, state, set, site, head, title, rollout }) {
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
    ${layersOf(trace, "encoder").length > 1 && site.kind !== "decoder" && html`<label><input type="checkbox" checked=${state.rollout}
      onChange=${(event) => set({ rollout: event.currentTarget.checked })} /> rollout</label>`}
    <label title="leave the end mark out; each row is made to sum to 1 again"><input type="checkbox" checked=${state.bare}
      onChange=${(event) => set({ bare: event.currentTarget.checked })} /> without ${"</s>"}</label>
    ${hasPieces(trace) && html`<${Choice} label="Words or pieces" options=${[["words", "words"], ["pieces", "pieces"]]} value=${state.unit}
      onChoose=${(unit) => set({ unit })} />`}
    <${Choice} label="View" options=${[["links", trace.picture ? "picture" : "lines"], ["map", "map"]]} value=${state.view} onChoose=${(view) => set({ view })} />
  </div>`;
}

function Plain({ trace, state, set, title }) {
  return html`${title && html`<b class="model">${title}</b>`}
    <p class="sentence"><bdi>${trace.text}</bdi></p>
    <p class="sentence said">${trace.sides.target.pieces.map((piece, i) => html`<button type="button" class="plain"
      aria-pressed=${String(i === state.step)} onClick=${() => set({ step: i })}><bdi>${piece.replace(/▁/g, " ").trim() || piece}</bdi></button>`)}</p>`;
}

/** The same numbers as a table, for screen readers and for copying. */
export function Table({ trace, state }) {
  const site = chosenSite(trace, state);
  if (!site) return null;
  const unit = hasPieces(trace) ? state.unit : "pieces";
  const heads = site.weights.shape[0], head = typeof state.head === "number" && state.head >= heads ? "mean" : state.head;
  const shown = matrix(trace, site, { head, unit, bare: state.bare, rollout: false });
  const row = side(trace, site.queries, unit).of[Math.min(state.step, site.weights.shape[1] - 1)];
  return html`<div class="table" tabindex="0" role="group" aria-label="Weights as a table"><table>
    <caption>${site.name}, ${head === "mean" ? "mean of all heads" : head === "max" ? "the greatest of all heads" : `head ${head + 1}`}</caption>
    <thead><tr><td></td>${shown.keys.labels.map((label) => html`<th scope="col"><bdi>${label}</bdi></th>`)}</tr></thead>
    <tbody>${shown.queries.labels.map((label, q) => html`<tr class=${q === row ? "now" : ""}><th scope="row"><bdi>${label}</bdi></th>
      ${shown.keys.labels.map((_, k) => html`<td>${shown.weights[q * shown.columns + k].toFixed(4)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}
