// What a captioner looked at: the picture, light where the weight of the chosen word is, and all words below it.
import { html, useEffect, useRef, useState } from "ui";
import { number } from "numbers";

const DARKEST = 0.2;  // what is left of a pixel without weight

/** The picture's dimmed copy: per region how dark it is, run into each other if `smooth`. */
function shade(canvas, weights, rows, columns, smooth) {
  const small = document.createElement("canvas"), most = Math.max(...weights) || 1;
  small.width = columns;
  small.height = rows;
  const pen = small.getContext("2d"), image = pen.createImageData(columns, rows);
  weights.forEach((weight, i) => { image.data[4 * i + 3] = 255 * (1 - DARKEST) * (1 - weight / most); });
  pen.putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = smooth;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

export function Picture({ trace, shown, step, chosenKey, onStep, onKey, name }) {
  const { address, rows, columns } = trace.picture, canvas = useRef(null);
  const [size, setSize] = useState([320, 240]), [smooth, setSmooth] = useState(true);
  const row = Array.from(shown.weights.subarray(step * shown.columns, (step + 1) * shown.columns));
  useEffect(() => shade(canvas.current, row, rows, columns, smooth), [shown, step, smooth, size]);
  const click = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const down = Math.floor(((event.clientY - box.top) / box.height) * rows), across = Math.floor(((event.clientX - box.left) / box.width) * columns);
    onKey(Math.min(rows - 1, down) * columns + Math.min(columns - 1, across));
  };
  const of = (word) => (chosenKey === null ? 0 : shown.weights[word * shown.columns + chosenKey]);
  const most = Math.max(1e-9, ...shown.queries.labels.map((_, word) => of(word)));
  return html`<div class="picture">
    <div class="stack" style=${`aspect-ratio: ${size[0]} / ${size[1]}`} onClick=${click}>
      <img src=${address} alt=${`the picture; ${name}: light where the model looked`} onLoad=${(event) => setSize([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])} />
      <canvas ref=${canvas} width=${size[0] * 2} height=${size[1] * 2} aria-hidden="true"></canvas>
      ${chosenKey !== null && html`<i class="region" style=${`inset-block-start: ${(100 * Math.floor(chosenKey / columns)) / rows}%; inset-inline-start: ${(100 * (chosenKey % columns)) / columns}%; block-size: ${100 / rows}%; inline-size: ${100 / columns}%`}></i>`}
    </div>
    <p class="film">${shown.queries.labels.map((label, word) => html`<button type="button" aria-pressed=${String(word === step)} onClick=${() => onStep(word)}>
      <bdi>${label}</bdi><i style=${`inline-size: ${(100 * of(word)) / most}%`}></i></button>`)}</p>
    <p class="caption">${chosenKey === null ? "Light where the model looked for the chosen word. Click a region to see which words looked there."
      : html`${shown.keys.labels[chosenKey]}: the bars below the words are what each of them gave it; “${shown.queries.labels[step]}” ${number(row[chosenKey], 4)}.`}
      <label><input type="checkbox" checked=${smooth} onChange=${(event) => setSmooth(event.currentTarget.checked)} /> smooth</label></p>
  </div>`;
}
