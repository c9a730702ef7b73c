// Two lines of words with links between them: the wider, the more weight. Short sentences lie, long ones stand.
import { html, useMemo, useState, useWidth } from "ui";
import { isRightToLeft } from "numbers";
import { heaviest } from "trace";

const GAP = 26, LINE = 27, MOST_LINKS = 1500;
const pen = document.createElement("canvas").getContext("2d");

function widthOf(label) {
  pen.font = "16px system-ui, sans-serif";
  return Math.max(18, pen.measureText(label).width);
}

const cut = (label, length = 24) => (label.length > length ? label.slice(0, length - 1) + "…" : label);

/** Where every word stands: a row each if they fit beside each other, else a column each. */
function layOut(keys, queries, width) {
  const rows = [keys, queries].map((side) => side.labels.map((label) => widthOf(cut(label)) + GAP));
  const long = Math.max(...rows.map((widths) => widths.reduce((sum, each) => sum + each, 0)));
  return long <= width ? lying(rows, keys, queries, width) : standing(keys, queries, width);
}

function lying(rows, keys, queries, width) {
  const height = 300;
  const place = (widths, side, y) => {
    const spare = Math.min(46, (width - widths.reduce((sum, each) => sum + each, 0)) / Math.max(1, widths.length));
    const total = widths.reduce((sum, each) => sum + each + spare, 0), mirrored = isRightToLeft(side.labels);
    let x = (width - total) / 2;
    return widths.map((each) => {
      const centre = x + (each + spare) / 2;
      x += each + spare;
      return { x: mirrored ? width - centre : centre, y, anchor: "middle" };
    });
  };
  return { width, height, keys: place(rows[0], keys, 26), queries: place(rows[1], queries, height - 16), lying: true };
}

function standing(keys, queries, width) {
  const count = Math.max(keys.labels.length, queries.labels.length), line = count > 60 ? 20 : LINE;
  const height = count * line + 12, third = Math.min(190, width * 0.34), middle = Math.min(width - 2 * third, 420);
  const left = (width - middle) / 2;
  const column = (side, x, anchor) => side.labels.map((_, i) => ({
    x, anchor, y: 6 + i * line + line * 0.68,
  }));
  return { width, height, keys: column(keys, left, "end"), queries: column(queries, left + middle, "start"), lying: false };
}

/** A link's curve between a key and a query. */
function curve(layout, key, query) {
  const from = layout.keys[key], to = layout.queries[query];
  if (layout.lying) {
    const top = from.y + 12, bottom = to.y - 22, middle = (top + bottom) / 2;
    return `M${from.x.toFixed(1)} ${top} C${from.x.toFixed(1)} ${middle} ${to.x.toFixed(1)} ${middle} ${to.x.toFixed(1)} ${bottom}`;
  }
  const left = from.x + 9, right = to.x - 9, middle = (left + right) / 2, up = 5;
  return `M${left} ${(from.y - up).toFixed(1)} C${middle} ${(from.y - up).toFixed(1)} ${middle} ${(to.y - up).toFixed(1)} ${right} ${(to.y - up).toFixed(1)}`;
}

const thick = (weight) => (0.6 + 8.4 * weight).toFixed(2);

/** The links of a row, or of all rows, that carry the weight: [query, key, weight]. */
function linksOf(shown) {
  const links = [];
  for (let q = 0; q < shown.rows; q++)
    for (const k of heaviest(shown, q)) links.push([q, k, shown.weights[q * shown.columns + k]]);
  return links.length <= MOST_LINKS ? links : links.sort((a, b) => b[2] - a[2]).slice(0, MOST_LINKS);
}

/** `step` is the chosen query; `onStep(query)` and `onKey(key)` choose. */
export function Links({ shown, step, chosenKey, onStep, onKey, name }) {
  const [ref, width] = useWidth();
  const [hover, setHover] = useState(null);
  const layout = useMemo(() => layOut(shown.keys, shown.queries, width), [shown, width]);
  const links = useMemo(() => linksOf(shown), [shown]);
  const base = useMemo(() => links.map(([q, k, weight]) => html`<path d=${curve(layout, k, q)}
    stroke-width=${thick(weight)} stroke-opacity=${(0.16 + 0.62 * weight).toFixed(3)} />`), [links, layout]);
  const focus = hover ?? { side: "query", index: step };
  const mine = isolated(shown, focus);
  return html`<div class="links" ref=${ref}>
    <svg viewBox=${`0 0 ${layout.width} ${layout.height}`} width=${layout.width} height=${layout.height} role="img"
      aria-label=${`${name}: links between the words of both lines`} data-picture="links">
      <g class=${`ground ${hover ? "faint" : ""}`} fill="none" stroke="currentColor">${base}</g>
      <g class=${`front ${focus.side}`} fill="none" stroke="currentColor">
        ${mine.map(([q, k, weight]) => html`<path d=${curve(layout, k, q)} stroke-width=${thick(weight)}
          stroke-opacity=${(0.3 + 0.7 * weight).toFixed(3)} data-weight=${weight} />`)}
      </g>
      <${Words} side="key" labels=${shown.keys} places=${layout.keys} lit=${hover && mine.map(([, k]) => k)} focus=${focus}
        chosen=${chosenKey} onHover=${setHover} onChoose=${onKey} />
      <${Words} side="query" labels=${shown.queries} places=${layout.queries} lit=${hover && mine.map(([q]) => q)} focus=${focus}
        chosen=${step} onHover=${setHover} onChoose=${onStep} />
    </svg>
  </div>`;
}

/** All links of one word, heaviest last so that it lies on top. */
function isolated({ weights, rows, columns }, { side, index }) {
  if (index === null || index === undefined) return [];
  const found = [];
  if (side === "query" && index < rows)
    for (let k = 0; k < columns; k++) found.push([index, k, weights[index * columns + k]]);
  if (side === "key" && index < columns)
    for (let q = 0; q < rows; q++) found.push([q, index, weights[q * columns + index]]);
  return found.filter(([, , weight]) => weight >= 0.01).sort((a, b) => a[2] - b[2]);
}

function Words({ side, labels, places, lit, focus, chosen, onHover, onChoose }) {
  const among = lit && new Set(lit);
  return html`<g class=${`words ${side}`}>
    ${labels.labels.map((label, i) => {
      const own = focus.side === side && focus.index === i;
      const faded = among && !own && (focus.side === side || !among.has(i));
      return html`<text key=${i} x=${places[i].x.toFixed(1)} y=${places[i].y.toFixed(1)} text-anchor=${places[i].anchor}
        class=${[labels.special[i] && "special", own && "own", faded && "faded", chosen === i && "chosen"].filter(Boolean).join(" ")}
        data-side=${side} data-index=${i} onMouseEnter=${() => onHover({ side, index: i })} onMouseLeave=${() => onHover(null)}
        onClick=${() => onChoose(i)}>${cut(label)}<title>${label}</title></text>`;
    })}
  </g>`;
}
