// All heads of all layers as thumbnails: one pixel a cell, so that fifty of them cost no more than one picture.
import { html, useEffect, useRef } from "ui";
import { isRightToLeft } from "numbers";
import { layersOf, ofHead, side } from "trace";
import { paint, rampColour } from "map";

export function Wall({ trace, kind, layer, head, theme, onChoose }) {
  const layers = layersOf(trace, kind);
  const heads = layers.reduce((sum, site) => sum + site.weights.shape[0], 0);
  if (heads < 2) return null;
  return html`<section class="card" aria-labelledby="wall-title">
    <h2 id="wall-title">All heads <small>${heads} of them; click one to see it large</small></h2>
    <div class="layers">${layers.map((site) => html`<div class="layer" key=${site.name}>
      ${layers.length > 1 && html`<span class="quiet">layer ${site.layer + 1}</span>`}
      <div class="wall">${Array.from({ length: site.weights.shape[0] }, (_, number) => html`<${Thumbnail}
        key=${number} site=${site} head=${number} mirrored=${isRightToLeft(side(trace, site.keys, "words").labels)} theme=${theme} pressed=${site.layer === layer && number === head}
        onChoose=${() => onChoose(site.layer, number)} />`)}</div>
    </div>`)}</div>
  </section>`;
}

function Thumbnail({ site, head, mirrored, theme, pressed, onChoose }) {
  const canvas = useRef(null), [, rows, columns] = site.weights.shape;
  useEffect(() => paint(canvas.current, ofHead(site, head), rampColour()), [site, head, theme]);
  return html`<button type="button" class="thumbnail" aria-pressed=${String(pressed)} onClick=${onChoose}
    aria-label=${`layer ${site.layer + 1}, head ${head + 1}`}>
    <canvas ref=${canvas} class=${mirrored ? "mirrored" : ""} width=${columns} height=${rows}></canvas><span>${head + 1}</span>
  </button>`;
}
