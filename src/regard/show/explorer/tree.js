// The beam as a tree: across the steps, downwards the rank. Dead branches stay, with the reason why they died.
import { html, useMemo, useState, useWidth } from "ui";
import { number } from "numbers";
import { plain } from "trace";

const pen = document.createElement("canvas").getContext("2d");
const ACROSS = 108, DOWN = 25, TOP = 30, MOST_DEAD = 4;

/** The nodes of every step with their places, each knowing its parent, whether it is on the winner's way, and its fate. */
export function grow(trace) {
  let parents = [{ best: true }];
  const steps = trace.tree.map((choices, t) => {
    const nodes = choices.map((choice) => ({
      ...choice, t, from: parents[choice.parent] ?? null,
      best: Boolean(parents[choice.parent]?.best) && choice.token === trace.ids.target[t], children: 0,
    }));
    for (const node of nodes) if (node.from && node.fate !== "outside the beam") node.from.children = (node.from.children ?? 0) + 1;
    parents = nodes.filter((node) => node.fate === "kept");
    return nodes;
  });
  return steps.map((nodes) => placed(nodes));
}

function placed(nodes) {
  const alive = nodes.filter((node) => node.fate === "kept" || node.fate === "finished" || node.best);
  const dead = nodes.filter((node) => !alive.includes(node)).slice(0, MOST_DEAD);
  return [...alive, ...dead].map((node, rank) => Object.assign(node, { rank }));
}

/** Why a branch ended where it did, in words. */
export function reason(node, steps, beam) {
  if (node.fate === "finished")
    return `a finished output: ${number(node.score)} nats, ${number(node.normalised)} after the length penalty` +
      (node.best ? "; the best of all" : "");
  const kept = steps[node.t].filter((other) => other.fate === "kept"), worst = kept[kept.length - 1];
  if (node.fate === "outside the beam")
    return `outside the beam: the last of the ${beam} that live on has ${worst ? number(worst.score) : "more"}`;
  if (node.fate === "end outside the beam") return `wanted to end here, but ${beam} others were better`;
  if (node.best) return "on the way to the output";
  if (!node.children) return node.t === steps.length - 1
    ? "alive when the search stopped: it could no longer win" : "all that could follow fell outside the beam";
  return "lived on";
}

const isDead = (node) => !node.best && node.fate !== "finished" && (node.fate !== "kept" || !node.children);

export function Tree({ trace, step, onStep: go }) {
  const onStep = (t) => go(Math.min(t, trace.steps.length - 1));
  const [ref, width] = useWidth();
  const [hover, setHover] = useState(null);
  const steps = useMemo(() => grow(trace), [trace]);
  const visible = Math.max(3, Math.floor((width - 20) / ACROSS));
  const first = Math.max(0, Math.min(step - Math.floor(visible / 2), steps.length - visible));
  const window = steps.slice(first, first + visible);
  const height = TOP + DOWN * Math.max(1, ...window.map((nodes) => nodes.length)) + 8;
  if (!steps.length) return null;
  const beam = trace.search.beam_size;
  return html`<section class="card tree" aria-labelledby="tree-title">
    <h2 id="tree-title">Beam search <small>${beam === 1 ? "greedy: one output lives" : `${beam} alternatives live at a time`}${first > 0 || first + visible < steps.length
      ? `; steps ${first + 1} to ${Math.min(steps.length, first + visible)} of ${steps.length}` : ""}</small></h2>
    <div ref=${ref}><svg viewBox=${`0 0 ${width} ${height}`} width=${width} height=${height} role="img"
      aria-label="The tree of the beam search" data-picture="tree">
      ${window.map((nodes, i) => html`<text class=${`tick ${first + i === step ? "now" : ""}`} x=${14 + i * ACROSS} y="14"
        onClick=${() => onStep(first + i)}>${first + i + 1}</text>`)}
      ${window.flatMap((nodes) => nodes.map((node) => edge(node, first)))}
      ${window.flatMap((nodes) => nodes.map((node) => html`<g key=${`${node.t}.${node.rank}`}
        class=${`node ${node.best ? "best" : ""} ${isDead(node) ? "dead" : ""} ${node.fate === "finished" ? "done" : ""} ${node === hover ? "own" : ""}`}
        onMouseEnter=${() => setHover(node)} onMouseLeave=${() => setHover(null)} onClick=${() => onStep(node.t)}
        transform=${`translate(${14 + (node.t - first) * ACROSS} ${TOP + node.rank * DOWN})`}>
        <rect x="-6" y="-4" width=${(widthOf(node) + 12).toFixed(0)} height="21" rx="5" />
        <text y="12">${label(node)}<title>${`${plain(node.piece)}: ${number(node.score)} nats, ${reason(node, steps, beam)}`}</title></text>
      </g>`))}
    </svg></div>
    <p class="caption">${hover
      ? html`<bdi><b>${plain(hover.piece)}</b></bdi> ${number(hover.score)} nats; ${reason(hover, steps, beam)}`
      : "Point at a word to read why it lives or died (✕). The output runs along the bold line."}</p>
    <${Fates} trace=${trace} steps=${steps} beam=${beam} />
  </section>`;
}

/** The same as a list, for whoever does not point. */
function Fates({ trace, steps, beam }) {
  const [open, setOpen] = useState(false);
  return html`<details class="fates" onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>Why each branch lived or died</summary>
    ${open && html`<div class="table" tabindex="0" role="group" aria-label="The branches as a table"><table>
      <thead><tr><th scope="col">step</th><th scope="col">token</th><th scope="col">nats</th><th scope="col">what became of it</th></tr></thead>
      <tbody>${steps.flatMap((nodes) => nodes.map((node) => html`<tr class=${node.best ? "now" : ""}><td>${node.t + 1}</td><th scope="row"><bdi>${plain(node.piece)}</bdi></th>
        <td>${number(node.score)}</td><td class="words">${reason(node, steps, beam)}</td></tr>`))}</tbody></table></div>`}</details>`;
}

function label(node) {
  const word = plain(node.piece).slice(0, 10);
  return `${isDead(node) ? "✕ " : ""}${word === "</s>" ? "■ end" : word}`;
}

function widthOf(node) {
  pen.font = `${node.best ? "650 " : ""}13.5px system-ui, "Noto Sans", sans-serif`;
  return pen.measureText(label(node)).width;
}

function edge(node, first) {
  if (node.t === first || !node.from || node.from.rank === undefined) return null;
  const x = 14 + (node.t - first) * ACROSS - 6, y = TOP + node.rank * DOWN + 7;
  const from = TOP + node.from.rank * DOWN + 7, start = Math.min(x - 12, 14 + (node.t - 1 - first) * ACROSS + widthOf(node.from) + 6);
  return html`<path class=${`edge ${node.best ? "best" : ""} ${isDead(node) ? "dead" : ""}`} fill="none"
    d=${`M${start} ${from}C${(start + x) / 2} ${from} ${(start + x) / 2} ${y} ${x} ${y}`} />`;
}
