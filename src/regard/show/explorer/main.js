// The page: one state, one trace (or two), and the views of them. What the keyboard does is written here too.
import { Fragment, html, render, useEffect, useLate, useRef, useState } from "ui";
import { number, share } from "numbers";
import { chosenSite, hasPieces, kinds, layersOf, matrix, plain, side } from "trace";
import { fromHash, LONGEST_LINK, toHash } from "state";
import * as client from "client";
import { Pane, Table } from "pane";
import { Wall } from "wall";
import { StepPanel } from "step";
import { Tree } from "tree";
import { Arithmetic } from "arithmetic";
import { Bottleneck, Experts, Influence } from "beyond";
import { LessonCard } from "lessons";
import { saveJson, savePage, savePng, saveSvg } from "save";

const dark = matchMedia("(prefers-color-scheme: dark)");

function useTheme() {
  const [theme, setTheme] = useState(dark.matches ? "dark" : "light");
  useEffect(() => {
    const change = () => setTheme(dark.matches ? "dark" : "light");
    dark.addEventListener("change", change);
    return () => dark.removeEventListener("change", change);
  }, []);
  return theme;
}

/** Asks for the trace that a state describes: of one model, or of two with what lies between them. */
async function look(state, override, prefix) {
  const request = {
    text: state.text, model: state.model, prefix: prefix ?? state.forced ?? [], override: override ?? null,
    search: { ...(state.beam && { beam_size: state.beam }), ...(state.penalty !== null && { length_penalty: state.penalty }) },
  };
  if (!state.other) return { trace: await client.translate(request) };
  return client.compare({ ...request, other: state.other });
}

function App() {
  const theme = useTheme();
  const [state, setState] = useState(() => fromHash(location.hash || document.documentElement.dataset.view || ""));
  const [found, setFound] = useState({ trace: client.embeddedTrace() });
  const [models, setModels] = useState([]);
  const [busy, setBusy] = useState(false), [error, setError] = useState(null), [help, setHelp] = useState(false);
  const [alternative, setAlternative] = useState(null), [override, setOverride] = useState(null);
  const turn = useRef(0), { trace, other, divergence, reason } = found;
  const set = (changes) => {
    setState((before) => ({ ...before, ...changes }));
    if ("step" in changes) setAlternative(null);
  };

  const run = async ({ prefix, ...changes } = {}, given = null) => {
    const next = { ...state, ...changes }, mine = ++turn.current;
    setState(next);
    setBusy(true);
    try {
      const answer = await look(next, given, prefix);
      if (mine !== turn.current) return;
      setFound((before) => ({ ...answer, before: given ? before.trace : null }));
      setOverride(given);
      setError(null);
      const { ids, steps, lessons } = answer.trace, forced = ids.prefix.length ? ids.prefix : null;
      setState((now) => ({ ...now, forced, step: Math.min(now.step, steps.length - 1), ...(mine > 1 && { key: null }),
        ...(now.lesson !== null && placeOf(answer.trace, lessons[Math.min(now.lesson, lessons.length - 1)].place)) }));
    } catch (problem) {
      if (mine === turn.current) setError(problem.message);
    } finally {
      if (mine === turn.current) setBusy(false);
    }
  };

  useEffect(() => {
    if (!client.online) return;
    client.models().then(({ models: there }) => {
      setModels(there);
      if (!there.length) throw new client.Refused("None of these models says text. Of pictures, `regard show -m MODEL picture.png -o page.html` draws this page.");
      run({ model: state.model ?? there[0]?.name, other: state.other, text: state.text || there[0]?.example || "A man plays guitar." });
    }).catch((problem) => setError(problem.message));
  }, []);
  useEffect(() => {
    if (trace) requestAnimationFrame(() => performance.mark("regard-shown"));  // for whoever measures the page
  }, [trace]);
  useEffect(() => {
    const hash = toHash(state);
    if (hash.length <= LONGEST_LINK) history.replaceState(null, "", hash);
  }, [state]);

  const force = (token) => run({ forced: [...trace.ids.target.slice(0, state.step), token], step: state.step });
  

  const lesson = state.lesson !== null && trace ? trace.lessons[state.lesson] : null;
  const beside = !lesson && !other && trace && numHeads(trace, state) <= MOST_BESIDE;
  const late = useLate(trace);  // what stands below the first view is drawn after it
  const wall = trace && late && html`<${Heads} trace=${trace} state=${state} set=${set} theme=${theme} />`;
  const go = (index) => set({ lesson: index, ...placeOf(trace, trace.lessons[index].place) });
  useKeys({ trace, state, set, alternative, setAlternative, force, go, setHelp, help });
  const influence = trace && late && html`<${Influence} trace=${trace} step=${state.step} onStep=${(step) => set({ step })} />`;
  return html`
    <${Header} trace=${trace} models=${models} state=${state} set=${set} run=${run} go=${go} onHelp=${() => setHelp(true)}
      onOpen=${(opened) => { setFound({ trace: opened }); set({ ...fromHash(opened.view ?? ""), text: opened.text }); }} />
    <main>
      <${Composer} trace=${trace} state=${state} set=${set} run=${run} busy=${busy} />
      ${error && html`<p class="card error" role="alert">${error}</p>`}
      ${override && html`<${Consequence} before=${found.before} trace=${trace} override=${override} onBack=${() => run()} />`}
      ${!trace ? html`<p class="card empty">${error ? "There is nothing to show." : busy || client.online ? html`<span class="skeleton"></span>` : "Open a trace file (Save → JSON) to look at it."}</p>` : html`<${Fragment}>
        <p class="sr-only" role="status" aria-live="polite">${announce(trace, state)}</p>
        <div class=${`grid ${other ? "two" : ""}`}>
          <div class="wide">
            <${Pane} trace=${trace} state=${state} set=${set} theme=${theme} title=${other ? trace.model.name : null} />
            ${!other && html`<${Numbers} trace=${trace} state=${state} run=${run} />`}
            <${Bottleneck} trace=${trace} theme=${theme} />
            ${!trace.sites.length && influence}
            ${other && html`<${Between} divergence=${divergence} reason=${reason} trace=${trace} step=${state.step} onStep=${(step) => set({ step })} />
              <${Pane} trace=${other} state=${state} set=${set} theme=${theme} title=${other.model.name} />`}
          </div>
          <div class="narrow">
            ${lesson && html`<${LessonCard} lessons=${trace.lessons} index=${state.lesson} onGo=${go} onClose=${() => set({ lesson: null })} />`}
            <${StepPanel} trace=${trace} step=${Math.min(state.step, trace.steps.length - 1)} alternative=${alternative} divergence=${divergence}
              canForce=${client.online} onStep=${(step) => set({ step })} onForce=${force} />
            ${beside && wall}
          </div>
        </div>
        ${other && html`<${Numbers} trace=${trace} state=${state} run=${run} />`}
        ${!beside && wall}
        ${late && html`<${Tree} trace=${trace} step=${state.step} onStep=${(step) => set({ step })} />`}
        ${late && html`<${Experts} trace=${trace} />`}
        ${trace.sites.length > 0 && influence}
        ${trace.sites.length > 0 && html`<${DataTable} trace=${trace} state=${state} />`}
      </>`}
    </main>
    <footer class="quiet">${trace && html`<span>${trace.model.name} · ${trace.model.kind} · ${trace.model.parameters.toLocaleString("en")} parameters · log-probability ${number(trace.score)}</span>`}
      <span>regard ${trace?.version ?? ""}: every number is from the tensors that the model used.</span></footer>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

const MOST_BESIDE = 16;  // heads whose thumbnails stand beside the picture; more get the page's width
const numHeads = (trace, state) => layersOf(trace, chosenSite(trace, state)?.kind).reduce((sum, site) => sum + site.weights.shape[0], 0);

function Heads({ trace, state, set, theme }) {
  const site = chosenSite(trace, state);
  return site && html`<${Wall} trace=${trace} kind=${site.kind} layer=${site.layer} head=${state.head} theme=${theme}
    onChoose=${(layer, chosen) => set({ layer, head: chosen })} />`;
}

function Numbers({ trace, state, run }) {
  const site = chosenSite(trace, state);
  if (!site) return null;
  const head = typeof state.head === "number" && state.head < site.weights.shape[0] ? state.head : "mean";
  const overrule = (which, query, key) => run({}, {
    site: site.name, head: which, query, weights: Array.from({ length: site.weights.shape[2] }, (_, i) => Number(i === key)),
  });
  return html`<${Arithmetic} trace=${trace} site=${site} head=${head} query=${state.step} chosenKey=${state.key}
    canOverride=${client.online && site.name.startsWith("decoder")} onOverride=${overrule} />`;
}

/** What a lesson shows: its attention by words' pieces, its head, step and key. */
function placeOf(trace, { site: name, head, step, key, panel }) {
  const site = trace.sites.find((each) => each.name === name);
  const where = { step: Math.min(step, trace.steps.length - 1), view: panel === "map" ? "map" : "links" };
  return site ? { ...where, kind: site.kind, layer: site.layer, head: site.weights.shape[0] > 1 ? head : "mean", key, unit: "pieces", rollout: false, bare: false } : where;
}

function announce(trace, state) {
  const step = Math.min(state.step, trace.steps.length - 1), site = chosenSite(trace, state), word = plain(trace.sides.target.pieces[step]);
  let text = `step ${step + 1}, ${word}, ${share(Math.exp(trace.steps[step].log_prob))}`;
  if (site && site.queries === "target") {
    const shown = matrix(trace, site, { head: "mean", unit: "pieces", bare: false, rollout: false }), keys = side(trace, site.keys, "pieces").labels;
    const row = Array.from(shown.weights.subarray(step * shown.columns, (step + 1) * shown.columns), (weight, k) => [weight, keys[k]]);
    text += ", looks at " + row.sort((a, b) => b[0] - a[0]).slice(0, 2).map(([weight, key]) => `${key} ${share(weight)}`).join(", ");
  }
  return text;
}

function Header({ trace, models, state, set, run, go, onHelp, onOpen }) {
  const file = useRef(null);
  const open = async (event) => {
    const [chosen] = event.currentTarget.files;
    if (!chosen) return;
    try { onOpen(JSON.parse(await chosen.text())); } catch { alert(`${chosen.name} is no trace of regard.`); }
  };
  const names = models.map(({ name }) => html`<option value=${name}>${name}</option>`);
  return html`<header class="top">
    <h1>regard<span class="dot" aria-hidden="true"></span></h1>
    ${models.length > 0 ? html`<label><span class="sr-only">Model</span><select value=${state.model} onChange=${(event) => run({ model: event.currentTarget.value, forced: null })}>${names}</select></label>
      ${models.length > 1 && html`<label class="quiet">against <select value=${state.other ?? ""} onChange=${(event) => run({ other: event.currentTarget.value || null })}>
        <option value="">nothing</option>${names}</select></label>`}` : trace && html`<span class="quiet">${trace.model.name}</span>`}
    <span class="grow"></span>
    ${trace && html`<button type="button" aria-pressed=${String(state.lesson !== null)} onClick=${() => (state.lesson === null ? go(0) : set({ lesson: null }))}>Lessons</button>`}
    <details class="menu"><summary>Save</summary><div class="list">
      ${trace && html`<button type="button" onClick=${saveSvg}>picture (SVG)</button><button type="button" onClick=${savePng}>picture (PNG)</button>
      <button type="button" onClick=${() => saveJson(trace, toHash(state))}>trace (JSON)</button>
      ${client.online && html`<button type="button" onClick=${() => savePage(trace, toHash(state))}>page (HTML)</button>`}
      <button type="button" onClick=${() => navigator.clipboard?.writeText(location.href)}>copy the link</button>`}
      <button type="button" onClick=${() => file.current.click()}>open a trace …</button></div></details>
    <input ref=${file} type="file" accept="application/json,.json" hidden onChange=${open} />
    <button type="button" onClick=${onHelp} aria-label="Keyboard and help">?</button>
  </header>`;
}

function Composer({ trace, state, set, run, busy }) {
  if (!client.online) return trace && html`<div class="composer still">${trace.text && html`<p class="sentence"><bdi>${trace.text}</bdi></p>`}
    <p class="sentence said"><span class="quiet">→</span> <bdi>${trace.translation}</bdi></p></div>`;
  const submit = (event) => { event.preventDefault(); run({ forced: null, step: 0 }); };
  const pieces = trace && state.forced ? trace.sides.target.pieces.slice(0, state.forced.length) : [];
  return html`<form class="composer" onSubmit=${submit}>
    <label class="sr-only" for="source">Sentence</label>
    <div class="line"><textarea id="source" rows="1" dir="auto" autocomplete="off" spellcheck="false" value=${state.text} placeholder="Type a sentence …"
        onInput=${(event) => set({ text: event.currentTarget.value.replaceAll("\n", " ") })}
        onKeyDown=${(event) => event.key === "Enter" && submit(event)}></textarea>
      <button type="submit" class="go" aria-busy=${String(busy)}>${busy ? "…" : "Translate"}</button></div>
    ${trace && html`<p class="output"><span class="quiet">→</span> <bdi>${trace.translation}</bdi></p>`}
    <div class="options">
      <label>beam <input type="number" min="1" max="20" value=${state.beam ?? trace?.search.beam_size ?? 5} onChange=${(event) => run({ beam: Number(event.currentTarget.value) || null })} /></label>
      <label>length penalty <input type="number" min="0" max="3" step="0.1" value=${state.penalty ?? trace?.search.length_penalty ?? 0.6} onChange=${(event) => run({ penalty: Number(event.currentTarget.value) })} /></label>
      <${Prefix} pieces=${pieces} run=${run} trace=${trace} />
    </div>
  </form>`;
}

/** The forced beginning of the output: shown, edited as text, or taken back. */
function Prefix({ pieces, run, trace }) {
  const [text, setText] = useState("");
  useEffect(() => setText(pieces.map((piece) => piece.replace(/▁/g, " ")).join("").trim()), [trace]);
  const go = (event) => { if (event.key === "Enter") { event.preventDefault(); run({ forced: null, prefix: text, step: 0 }); } };
  return html`<label class="prefix">begins with <input dir="auto" value=${text} placeholder="(nothing)" autocomplete="off" onInput=${(event) => setText(event.currentTarget.value)} onKeyDown=${go} />
    ${pieces.length > 0 && html`<button type="button" class="plain" aria-label="Take the beginning back" onClick=${() => run({ forced: null })}>×</button>`}</label>`;
}

function Consequence({ before, trace, override, onBack }) {
  const key = override.weights.indexOf(1), site = trace.sites.find((each) => each.name === override.site);
  const word = plain(trace.sides[site?.keys ?? "source"].pieces[key] ?? "");
  return html`<section class="card consequence" aria-label="Changed attention"><p>At step ${override.query + 1}, head ${override.head + 1} of ${override.site} was made to look only at <bdi class="key">${word}</bdi>.</p>
    <p class="sentence"><span class="quiet">before</span> <bdi>${before?.translation}</bdi></p>
    <p class="sentence"><span class="quiet">after</span> <bdi>${trace.translation}</bdi></p>
    <p class="caption">${before?.translation === trace.translation ? "The output is the same: this head did not matter here, or others made up for it." : "The output has changed."}
      ${" "}Log-probability ${number(before?.score ?? 0)} → ${number(trace.score)}. <button type="button" onClick=${onBack}>Give the model its own weights back</button></p></section>`;
}

function Between({ divergence, reason, trace, step, onStep }) {
  if (!divergence) return html`<p class="card between-models quiet">${reason}</p>`;
  return html`<section class="card between-models" aria-label="Divergence of both models"><span class="quiet">JSD, bits</span>
    ${divergence.map((value, t) => html`<button type="button" class=${`plain ${t === step ? "now" : ""}`} title=${number(value / Math.LN2, 4)} onClick=${() => onStep(t)}>
      <i style=${`block-size: ${(100 * value / Math.LN2).toFixed(1)}%`}></i><bdi>${plain(trace.sides.target.pieces[t])}</bdi></button>`)}</section>`;
}

function DataTable({ trace, state }) {
  const [open, setOpen] = useState(false);
  return html`<details class="card data" onToggle=${(event) => setOpen(event.currentTarget.open)}><summary>All numbers as a table</summary>${open && html`<${Table} trace=${trace} state=${state} />`}</details>`;
}

const KEYS = [["← →", "step back, step on"], ["↑ ↓", "mark an alternative"], ["Enter", "say the marked one instead"], ["[ ]", "layer"], ["{ }", "head"],
  ["h", "lines or map"], ["w", "words or pieces"], ["l", "lessons"], ["e", "save the picture"], ["?", "this list"], ["Esc", "close"]];

function Help({ onClose }) {
  const dialog = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="help-title"><h2 id="help-title">Keyboard</h2>
    <dl>${KEYS.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
    <p class="caption">The address of this page holds the whole view: copy it to come back to it. Attention is not by itself an explanation; leave a word out to see what matters.</p>
    <form method="dialog"><button>Close</button></form></dialog>`;
}

function useKeys(context) {
  const now = useRef(context);
  now.current = context;
  useEffect(() => {
    const press = (event) => { if (act(event, now.current)) event.preventDefault(); };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function act(event, { trace, state, set, alternative, setAlternative, force, go, setHelp, help }) {
  if (!trace || help || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return false;
  if (event.key === "Enter" && event.target.tagName === "BUTTON") return false;
  const last = trace.steps.length - 1, step = Math.min(state.step, last), site = chosenSite(trace, state);
  const others = trace.steps[step].alternatives;
  const cycle = (list, value, by) => list[(list.indexOf(value) + by + list.length) % list.length];
  const actions = {
    ArrowLeft: () => set({ step: Math.max(0, step - 1), key: null }),
    ArrowRight: () => set({ step: Math.min(last, step + 1), key: null }),
    ArrowUp: () => setAlternative(Math.max(0, (alternative ?? 1) - 1)),
    ArrowDown: () => setAlternative(Math.min(others.length - 1, (alternative ?? -1) + 1)),
    Enter: () => alternative !== null && client.online && force(others[alternative].token),
    "[": () => site && set({ layer: cycle(layersOf(trace, site.kind).map((each) => each.layer), site.layer, -1) }),
    "]": () => site && set({ layer: cycle(layersOf(trace, site.kind).map((each) => each.layer), site.layer, 1) }),
    "{": () => site && set({ head: cycle(["mean", ...Array(site.weights.shape[0]).keys()], state.head, -1) }),
    "}": () => site && set({ head: cycle(["mean", ...Array(site.weights.shape[0]).keys()], state.head, 1) }),
    h: () => set({ view: state.view === "map" ? "links" : "map" }),
    w: () => hasPieces(trace) && set({ unit: state.unit === "words" ? "pieces" : "words" }),
    l: () => (state.lesson === null ? go(0) : set({ lesson: null })),
    e: () => saveSvg(),
    "?": () => setHelp(true),
  };
  if (!(event.key in actions)) return false;
  actions[event.key]();
  return true;
}

render(html`<${App} />`, document.getElementById("app"));
