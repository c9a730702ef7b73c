// What is looked at: a sentence that is typed, or a picture that is dropped, pasted or chosen; and how the output is searched.
import { Choice, Fragment, html, useEffect, useRef, useState } from "ui";
import { number } from "numbers";
import * as client from "client";

export function Composer({ trace, state, set, run, busy, model, offered, upload, onFile }) {
  if (!client.online) return trace && html`<div class="composer still">${trace.text && html`<p class="sentence"><bdi>${trace.text}</bdi></p>`}
    <p class="sentence said"><span class="quiet">→</span> <bdi>${trace.translation}</bdi></p></div>`;
  if (!model) return null;
  const submit = (event) => { event.preventDefault(); run({ forced: null, step: 0 }); };
  return html`<form class="composer" onSubmit=${submit}>
    ${model.reads === "picture" ? html`<${Pictures} state=${state} run=${run} offered=${offered} upload=${upload} onFile=${onFile} busy=${busy} />`
      : html`<${Fragment}><label class="sr-only" for="source">Sentence</label>
    <div class="line"><textarea id="source" rows="1" dir="auto" autocomplete="off" spellcheck="false" value=${state.text} placeholder="Type a sentence …"
        onInput=${(event) => set({ text: event.currentTarget.value.replaceAll("\n", " ") })}
        onKeyDown=${(event) => isEnter(event) && submit(event)}></textarea>
      <button type="submit" class="go" aria-busy=${String(busy)}>${busy ? "…" : model.verb}</button></div></>`}
    ${trace && html`<p class="output"><span class="quiet">→</span> <bdi>${trace.translation}</bdi>${trace.notice && html` <small class="quiet">(${trace.notice})</small>`}</p>`}
    ${trace?.search && html`<${Options} trace=${trace} state=${state} run=${run} />`}
  </form>`;
}

/** Not the Enter that takes what an input method proposes. */
const isEnter = (event) => event.key === "Enter" && !event.isComposing;

/** Pictures named when the server was started, and a place for one's own. */
function Pictures({ state, run, offered, upload, onFile, busy }) {
  const file = useRef(null);
  const take = (event) => { if (event.currentTarget.files.length) onFile(event.currentTarget.files[0]); event.currentTarget.value = ""; };
  return html`<div class="pictures" role="group" aria-label="Pictures">
    <button type="button" class="drop" aria-busy=${String(busy)} aria-pressed=${String(state.picture === null && upload !== null)} onClick=${() => file.current.click()}>
      <b>${upload && state.picture === null ? html`<bdi>${upload.name}</bdi>` : "Choose a picture"}</b><span>or drop one here, or paste it</span></button>
    <input ref=${file} type="file" accept="image/png,image/jpeg,image/webp,image/gif,image/tiff,image/bmp" hidden aria-label="A picture from this machine" onChange=${take} />
    ${offered.pictures.length > 0 && html`<div class="strip-of-pictures">${offered.pictures.map(({ name, address }, place) => html`<button type="button" class="offered" key=${place} title=${name} aria-pressed=${String(state.picture === place)}
      onClick=${() => run({ picture: place, forced: null, step: 0, key: null })}><img src=${address} alt=${name} /></button>`)}
      ${offered.left > 0 && html`<span class="quiet small">${offered.left.toLocaleString("en")} more are not shown</span>`}</div>`}
  </div>`;
}

function Options({ trace, state, run }) {
  const sampling = state.sampling ?? trace.search.sampling, { search } = trace;
  const pieces = state.forced ? trace.sides.target.pieces.slice(0, state.forced.length) : [];
  const again = () => run({ seed: (state.seed ?? search.seed) + 1, sampling: true });
  return html`<div class="options">
    <${Choice} label="Search" options=${[[false, "beam", "look for the most probable output"], [true, "sampling", "draw an output by its probability"]]} value=${sampling}
      onChoose=${(chosen) => run({ sampling: chosen, forced: null })} />
    ${sampling ? html`<${Fragment}>
      <${Slider} name="temperature" from="0.1" to="2" step="0.05" value=${state.temperature ?? search.temperature} onChange=${(value) => run({ temperature: value, sampling: true })} />
      <${Slider} name="top k" from="0" to="50" step="1" digits="0" zero="all" value=${state.topK ?? search.top_k} onChange=${(value) => run({ topK: value, sampling: true })} />
      <${Slider} name="top p" from="0.05" to="1" step="0.05" value=${state.topP ?? search.top_p} onChange=${(value) => run({ topP: value, sampling: true })} />
      <button type="button" class="again" onClick=${again}>draw again</button></>`
    : html`<${Fragment}>
      <label>beam <input type="number" min="1" max="20" value=${state.beam ?? search.beam_size} onChange=${(event) => run({ beam: Number(event.currentTarget.value) || null })} /></label>
      <${Slider} name="length penalty" from="0" to="2" step="0.1" digits="1" value=${state.penalty ?? search.length_penalty} onChange=${(value) => run({ penalty: value })} /></>`}
    <${Prefix} pieces=${pieces} run=${run} trace=${trace} />
  </div>`;
}

/** A number that is dragged; what follows from it is asked for when it has rested for a moment. */
function Slider({ name, from, to, step, digits = 2, zero, value, onChange }) {
  const [shown, setShown] = useState(value), timer = useRef(0);
  useEffect(() => setShown(value), [value]);
  const drag = (event) => {
    const next = Number(event.currentTarget.value);
    setShown(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(next), 120);
  };
  return html`<label class="slider">${name} <input type="range" min=${from} max=${to} step=${step} value=${shown} onInput=${drag} />
    <output>${zero && shown === 0 ? zero : number(shown, Number(digits))}</output></label>`;
}

/** The forced beginning of the output: shown, edited as text, or taken back. */
function Prefix({ pieces, run, trace }) {
  const [text, setText] = useState("");
  useEffect(() => setText(pieces.map((piece) => piece.replace(/▁/g, " ")).join(trace.sides.target.pieces.some((piece) => piece.includes("▁")) ? "" : " ").trim()), [trace]);
  const go = (event) => { if (isEnter(event)) { event.preventDefault(); run({ forced: null, prefix: text, step: 0 }); } };
  return html`<label class="prefix">begins with <input dir="auto" value=${text} placeholder="(nothing)" autocomplete="off" onInput=${(event) => setText(event.currentTarget.value)} onKeyDown=${go} />
    ${pieces.length > 0 && html`<button type="button" class="plain" aria-label="Take the beginning back" onClick=${() => run({ forced: null })}>×</button>`}</label>`;
}

/** Files that are dropped on the page, or pasted into it. */
export function useFiles(onFile) {
  const now = useRef(onFile);
  now.current = onFile;
  useEffect(() => {
    const over = (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); };
    const drop = (event) => { if (event.dataTransfer?.files.length) { event.preventDefault(); now.current(event.dataTransfer.files[0]); } };
    const paste = (event) => {
      // Office programs copy text with a picture of it: where one writes, the text is meant.
      const isText = event.target.matches("input, textarea") && event.clipboardData.types.includes("text/plain");
      if (event.clipboardData.files.length && !isText) { event.preventDefault(); now.current(event.clipboardData.files[0]); }
    };
    const all = { dragover: over, drop, paste };
    for (const [name, listener] of Object.entries(all)) addEventListener(name, listener);
    return () => { for (const [name, listener] of Object.entries(all)) removeEventListener(name, listener); };
  }, []);
}
