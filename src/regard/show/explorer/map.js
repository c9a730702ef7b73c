// Attention as a map: a row for each query, a column for each key, the darker the more weight.
import { html, useMemo, useState, useWidth } from "ui";
import { isRightToLeft, number, share } from "numbers";

const LETTER = 7.6, LONGEST = 20;
const cut = (label) => (label.length > LONGEST ? label.slice(0, LONGEST - 1) + "…" : label);

/** The three colours of a ramp's end, as the page's style has it. */
export function rampColour() {
  return getComputedStyle(document.documentElement).getPropertyValue("--ramp").split(",").map(Number);
}

/** Whether what is written on so much of the ramp's colour must be in the other ink to be read (4.5 to 1 either way). */
export function isDeep(strength) {
  return strength > (matchMedia("(prefers-color-scheme: dark)").matches ? 0.58 : 0.81);
}

/** A matrix as an image of one pixel a cell: its address as data. */
export function pixels(weights, rows, columns, colour) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  paint(canvas, weights, colour);
  return canvas.toDataURL();
}

export function paint(canvas, weights, colour) {
  const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < weights.length; i++) {
    image.data[4 * i] = colour[0];
    image.data[4 * i + 1] = colour[1];
    image.data[4 * i + 2] = colour[2];
    image.data[4 * i + 3] = Math.round(255 * Math.min(1, Math.max(0, weights[i])));
  }
  context.putImageData(image, 0, 0);
}

/**
 * How large cells and margins are in `width` pixels; a map that does not fit is wider and can be pushed.
 * Keys that are read from right to left stand so: `columnOf` says where a key stands, and which key a column is.
 */
function measure(shown, width) {
  const longest = (labels) => Math.max(2, ...labels.map((label) => Math.min(LONGEST, label.length)));
  const left = longest(shown.queries.labels) * LETTER + 18, top = longest(shown.keys.labels) * LETTER * 0.82 + 22;
  const cell = Math.max(13, Math.min(44, Math.floor((width - left - 40) / shown.columns)));
  const mirrored = isRightToLeft(shown.keys.labels), columnOf = (key) => (mirrored ? shown.columns - 1 - key : key);
  return { left, top, cell, mirrored, columnOf, width: left + cell * shown.columns + 46, height: top + cell * shown.rows + 6 };
}

export function HeatMap({ shown, sumsToOne, step, chosenKey, onStep, onKey, theme, name }) {
  const [ref, width] = useWidth();
  const [hover, setHover] = useState(null);
  const size = useMemo(() => measure(shown, width), [shown, width]);
  const image = useMemo(() => pixels(shown.weights, shown.rows, shown.columns, rampColour()), [shown, theme]);
  const at = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * shown.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * shown.columns);
    return row >= 0 && row < shown.rows && column >= 0 && column < shown.columns ? { row, key: columnOf(column) } : null;
  };
  const cell = hover ?? { row: step, key: chosenKey };
  const { left, top, cell: edge, mirrored, columnOf } = size;
  const right = left + edge * shown.columns, bottom = top + edge * shown.rows;
  const grid = useMemo(() => lines(size, shown), [size, shown]);
  const labels = useMemo(() => texts(size, shown), [size, shown, theme]);  // which ink can be read depends on it
  return html`<div class="heat" ref=${ref} tabindex="0" role="group" aria-label=${`${name}: map`}>
    <svg viewBox=${`0 0 ${size.width} ${size.height}`} width=${size.width} height=${size.height} role="img"
      aria-label=${`${name}: a map, target words downwards, source words across`} data-picture="map">
      <image href=${image} x=${left} y=${top} width=${edge * shown.columns} height=${edge * shown.rows}
        preserveAspectRatio="none" style="image-rendering: pixelated" transform=${mirrored ? `translate(${left + right}) scale(-1 1)` : null} />
      ${grid}${labels}
      ${cell.row !== null && cell.row < shown.rows && html`<g class="cross">
        <rect x=${left} y=${top + cell.row * edge} width=${right - left} height=${edge} class="row" />
        ${cell.key !== null && cell.key !== undefined && html`
          <rect x=${left + columnOf(cell.key) * edge} y=${top} width=${edge} height=${bottom - top} class="column" />`}
      </g>`}
      <rect x=${left} y=${top} width=${right - left} height=${bottom - top} fill="transparent" class="cells"
        onMouseMove=${(event) => setHover(at(event))} onMouseLeave=${() => setHover(null)}
        onClick=${(event) => { const place = at(event); if (place) { onStep(place.row); onKey(place.key); } }} />
    </svg>
    <p class="caption" aria-live="off">${hover
      ? html`<bdi class="query">${shown.queries.labels[hover.row]}</bdi> looks at <bdi class="key">${
        shown.keys.labels[hover.key]}</bdi> with ${number(shown.weights[hover.row * shown.columns + hover.key], 4)}`
      : `${sumsToOne ? "Each row sums to 1. " : ""}Point at a cell to read it, click it to see its arithmetic.`}</p>
  </div>`;
}

function lines({ left, top, cell }, { rows, columns }) {
  if (cell < 15) return null;
  const paths = [];
  for (let row = 0; row <= rows; row++) paths.push(`M${left} ${top + row * cell}h${columns * cell}`);
  for (let column = 0; column <= columns; column++) paths.push(`M${left + column * cell} ${top}v${rows * cell}`);
  return html`<path d=${paths.join("")} class="rule" fill="none" />`;
}

function texts({ left, top, cell, columnOf }, shown) {
  const numbers = shown.columns <= 18 && cell >= 26;
  return html`<g class="labels">
    ${shown.keys.labels.map((label, k) => html`<text class=${`key ${shown.keys.special[k] ? "special" : ""}`}
      transform=${`translate(${left + (columnOf(k) + 0.5) * cell + 4} ${top - 8}) rotate(-50)`}>${cut(label)}<title>${label}</title></text>`)}
    ${shown.queries.labels.map((label, q) => html`<text class=${`query ${shown.queries.special[q] ? "special" : ""}`}
      x=${left - 10} y=${top + (q + 0.5) * cell + 5} text-anchor="end">${cut(label)}<title>${label}</title></text>`)}
    ${numbers && Array.from(shown.weights, (weight, i) => weight >= 0.05 && html`<text class=${`value ${isDeep(weight) ? "on" : ""}`}
      x=${left + (columnOf(i % shown.columns) + 0.5) * cell} y=${top + (Math.floor(i / shown.columns) + 0.5) * cell + 4}
      text-anchor="middle">${share(weight)}</text>`)}
  </g>`;
}
