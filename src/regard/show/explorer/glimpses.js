// A picture seen in glimpses: the path over it, what each glimpse took in on every scale, and what it made of it.
import { html, useEffect, useRef, useState, useWidth } from "ui";
import { share } from "numbers";
import { floats, plain } from "trace";
import { isDeep } from "map";

const DOT = 11;  // half the size of a number on the path
const LARGEST = 560;

/** The boxes of a trace: [glimpse][scale] = {top, left, height, width} in pixels of the picture. */
function boxesOf({ glimpses }) {
  const [steps, scales] = glimpses.shape, values = floats(glimpses);
  return Array.from({ length: steps }, (_, t) => Array.from({ length: scales }, (_, s) => {
    const [top, left, height, width] = values.subarray(4 * (t * scales + s), 4 * (t * scales + s) + 4);
    return { top, left, height, width };
  }));
}

export function Glimpses({ trace, step, onStep }) {
  const [ref, room] = useWidth(), boxes = boxesOf(trace);
  return html`<div class="picture" ref=${ref}>
    <div class="path-and-patches"><${Path} trace=${trace} boxes=${boxes} step=${step} width=${Math.min(LARGEST, room)} onStep=${onStep} />
      <${Patches} trace=${trace} boxes=${boxes[step]} step=${step} /></div>
    <p class="caption">The model never sees the whole: glimpse ${step + 1} of ${boxes.length} took in the bold square sharply${
      boxes[0].length > 1 ? " and the wider ones coarsely" : ""}. Click a number, or press ← →.</p>
    <${Answers} trace=${trace} step=${step} onStep=${onStep} />
  </div>`;
}

function Path({ trace, boxes, step, width, onStep }) {
  const { picture } = trace, scale = width / picture.width, height = picture.height * scale;
  const centres = boxes.map(([{ top, left, height: deep, width: wide }]) => [(left + wide / 2) * scale, (top + deep / 2) * scale]);
  const rect = ({ top, left, height: deep, width: wide }, s, t) => html`<rect x=${left * scale} y=${top * scale} width=${wide * scale} height=${deep * scale}
    class=${`box ${t === step ? "now" : ""}`} data-glimpse=${t} data-scale=${s} fill="none" stroke-width=${t === step && s === 0 ? 3 : 1.2} stroke-dasharray=${s > 0 ? "5 4" : null} />`;
  return html`<svg class="seen path" viewBox=${`0 0 ${width} ${height}`} style=${`inline-size: ${width}px`} role="img" data-picture="glimpses"
      aria-label=${`the picture and the path of ${boxes.length} glimpses over it`}>
    <image href=${picture.address} width=${width} height=${height} style="image-rendering: pixelated" />
    <rect class="veil" width=${width} height=${height} fill="#000" fill-opacity=".25" />
    ${boxes.map((scales, t) => t !== step && rect(scales[0], 0, t))}
    ${boxes[step].map((box, s) => rect(box, s, step))}
    <polyline class="trail" fill="none" points=${centres.map((each) => each.join(",")).join(" ")} />
    ${centres.map(([x, y], t) => html`<g class=${`stop ${t === step ? "now" : ""}`} transform=${`translate(${x} ${y})`} onClick=${() => onStep(t)}>
      <circle r=${DOT} /><text text-anchor="middle" y="4.5">${t + 1}</text></g>`)}
  </svg>`;
}

/** What came in: the patches of all scales, each brought to the pixels of the finest, made here from the picture's own. */
function Patches({ trace, boxes, step }) {
  const [pixels, setPixels] = useState(null), { address, width, height } = trace.picture;
  useEffect(() => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = height;
      const pen = canvas.getContext("2d");
      pen.drawImage(image, 0, 0);
      setPixels(pen.getImageData(0, 0, width, height).data);
    };
    image.src = address;
  }, [address]);
  return html`<div class="patches"><p class="quiet small">what glimpse ${step + 1} took in</p>
    ${boxes.map((box, s) => html`<figure key=${s}><${Patch} pixels=${pixels} picture=${trace.picture} box=${box} size=${boxes[0].width} />
      <figcaption>${box.width} × ${box.height}${s > 0 ? `, as ${boxes[0].width} × ${boxes[0].height}` : ""}</figcaption></figure>`)}</div>`;
}

function Patch({ pixels, picture, box, size }) {
  const canvas = useRef(null);
  useEffect(() => { if (pixels) paintPatch(canvas.current, pixels, picture, box, size); }, [pixels, box]);
  return html`<canvas ref=${canvas} width=${size} height=${size} aria-hidden="true"></canvas>`;
}

/** Every pixel the mean of those it stands for; what lies beyond the picture is left clear. */
function paintPatch(canvas, pixels, { width, height }, box, size) {
  const pen = canvas.getContext("2d"), image = pen.createImageData(size, size), each = box.width / size;
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) {
      const sums = [0, 0, 0];
      let inside = 0;
      for (let y = box.top + row * each; y < box.top + (row + 1) * each; y++)
        for (let x = box.left + column * each; x < box.left + (column + 1) * each; x++)
          if (x >= 0 && x < width && y >= 0 && y < height) {
            inside++;
            for (let c = 0; c < 3; c++) sums[c] += pixels[4 * (y * width + x) + c];
          }
      const at = 4 * (row * size + column);
      for (let c = 0; c < 3; c++) image.data[at + c] = sums[c] / Math.max(1, inside);
      image.data[at + 3] = (255 * inside) / (each * each);
    }
  pen.putImageData(image, 0, 0);
}

/** The probabilities of the labels after each glimpse: a row for each label that is ever among the best. */
function Answers({ trace, step, onStep }) {
  const best = new Map();
  for (const { alternatives } of trace.steps) for (const each of alternatives) best.set(each.token, Math.max(best.get(each.token) ?? -Infinity, each.log_prob));
  const tokens = [...best.keys()].sort((a, b) => best.get(b) - best.get(a)).slice(0, 10);
  const of = ({ alternatives }, token) => alternatives.find((each) => each.token === token);
  const name = (token) => trace.steps.map((each) => of(each, token)?.piece).find((piece) => piece !== undefined);
  return html`<div class="table answers" tabindex="0" role="group" aria-label="Probabilities after each glimpse"><table>
    <caption>The probability of each label, if this glimpse were the last</caption>
    <thead><tr><th scope="col">glimpse</th>${trace.steps.map((_, t) => html`<th scope="col" class=${t === step ? "now" : ""}><button type="button" class="plain" onClick=${() => onStep(t)}>${t + 1}</button></th>`)}</tr></thead>
    <tbody>${tokens.map((token) => html`<tr><th scope="row"><bdi>${plain(name(token))}</bdi></th>${trace.steps.map((each) => {
      const found = of(each, token), p = found ? Math.exp(found.log_prob) : 0;
      return html`<td style=${`--strength: ${p.toFixed(3)}`} class=${isDeep(p) ? "on" : ""}>${found && p >= 0.005 ? share(p) : ""}</td>`;
    })}</tr>`)}</tbody></table></div>`;
}
