// What a captioner looked at: the picture, light where the weight of the chosen word is, and all words below it.
import { html, useMemo, useState } from "ui";
import { number } from "numbers";

const DARKEST = 0.28;  // what is left of a pixel without weight

/** What lies over the picture: per region how dark it is, as an image of one pixel a region. */
export function shade(weights, rows, columns) {
  const canvas = document.createElement("canvas"), most = Math.max(...weights, 1e-9);
  canvas.width = columns;
  canvas.height = rows;
  const pen = canvas.getContext("2d"), image = pen.createImageData(columns, rows);
  weights.forEach((weight, i) => { image.data[4 * i + 3] = 255 * (1 - DARKEST) * (1 - Math.max(0, weight) / most); });
  pen.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

/** The picture under its shade, with one region marked; a click chooses a region. */
export function Shaded({ picture, weights, smooth, chosen, label, onKey }) {
  const { address, width, height, rows, columns } = picture;
  const over = useMemo(() => shade(weights, rows, columns), [weights]);
  const click = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const down = Math.floor(((event.clientY - box.top) / box.height) * rows), across = Math.floor(((event.clientX - box.left) / box.width) * columns);
    onKey(Math.min(rows - 1, down) * columns + Math.min(columns - 1, across));
  };
  const [deep, wide] = [height / rows, width / columns];
  return html`<svg class="seen" viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${label} data-picture="picture" onClick=${onKey && click}>
    <image href=${address} width=${width} height=${height} style="image-rendering: pixelated" />
    <image href=${over} class="shade" width=${width} height=${height} preserveAspectRatio="none" style=${`image-rendering: ${smooth ? "auto" : "pixelated"}`} />
    ${chosen !== null && html`<rect class="region" x=${(chosen % columns) * wide} y=${Math.floor(chosen / columns) * deep} width=${wide} height=${deep}
      fill="none" stroke="var(--key)" stroke-width="2" vector-effect="non-scaling-stroke" />`}
  </svg>`;
}

export function Picture({ trace, shown, step, chosenKey, onStep, onKey, name }) {
  const [smooth, setSmooth] = useState(true);
  const row = useMemo(() => Array.from(shown.weights.subarray(step * shown.columns, (step + 1) * shown.columns)), [shown, step]);
  const of = (word) => (chosenKey === null ? 0 : shown.weights[word * shown.columns + chosenKey]);
  const most = Math.max(1e-9, ...shown.queries.labels.map((_, word) => of(word)));
  return html`<div class="picture">
    <${Shaded} picture=${trace.picture} weights=${row} smooth=${smooth} chosen=${chosenKey} onKey=${onKey} label=${`${name}: the picture, light where the model looked`} />
    <p class="film">${shown.queries.labels.map((label, word) => html`<button type="button" aria-pressed=${String(word === step)} onClick=${() => onStep(word)}>
      <bdi>${label}</bdi><i style=${`inline-size: ${(100 * of(word)) / most}%`}></i></button>`)}</p>
    <p class="caption">${chosenKey === null ? "Light where the model looked for the chosen word. Click a region to see which words looked there."
      : html`${shown.keys.labels[chosenKey]}: the bars below the words are what each of them gave it; “${shown.queries.labels[step]}” ${number(row[chosenKey], 4)}.`}
      <label><input type="checkbox" checked=${smooth} onChange=${(event) => setSmooth(event.currentTarget.checked)} /> smooth</label></p>
  </div>`;
}
