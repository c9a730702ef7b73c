// The page: one state, one trace (or two), and the views of them. What the keyboard does is written here too.
import { Fragment, html, Menu, render, useEffect, useLate, useRef, useState } from "ui";
import { number, share } from "numbers";
import { chosenSite, layersOf, matrix, plain, queryOf, side } from "trace";
import { fromHash, LONGEST_LINK, searchOf, toHash } from "state";
import * as client from "client";
import { Pane, Table } from "pane";
import { Wall } from "wall";
import { StepPanel } from "step";
import { Tree } from "tree";
import { Arithmetic } from "arithmetic";
import { Bottleneck, Experts, Influence } from "beyond";
import { LessonCard } from "lessons";
import { Composer, useFiles } from "composer";
import { Help, useKeys } from "keys";
import { saveJson, savePage, savePng, saveSvg } from "save";

const EXAMPLE = "A man plays guitar.";
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

const NOTHING = { pictures: [], left: 0, most: Infinity };

function App() {
  const theme = useTheme();
  const [state, setState] = useState(() => fromHash(location.hash || document.documentElement.dataset.view || ""));
  const [found, setFound] = useState({ trace: client.embeddedTrace() });
  const [models, setModels] = useState([]), [offered, setOffered] = useState(NOTHING), [upload, setUpload] = useState(null);
  const [busy, setBusy] = useState(false), [error, setError] = useState(null), [help, setHelp] = useState(false);
  const [alternative, setAlternative] = useState(null), [override, setOverride] = useState(null);
  const turn = useRef(0), { trace, other, divergence, reason } = found;
  const model = models.find(({ name }) => name === state.model);
  const hash = toHash(state), link = hash.length <= LONGEST_LINK ? hash : null;  // a longer one is cut somewhere
  const set = (changes) => {
    setState((before) => ({ ...before, ...changes }));
    if ("step" in changes) setAlternative(null);
  };

  /** Asks for what the state describes once `changes` are made to it; `given` is an overridden row. */
  const run = async ({ prefix, file = upload, known = models, ...changes } = {}, given = null) => {
    const next = { ...state, ...changes }, mine = ++turn.current, asked = known.find(({ name }) => name === next.model);
    if (known.find(({ name }) => name === next.other)?.reads !== asked.reads) next.other = null;
    setState(next);
    const picture = next.picture ?? file?.base64 ?? null;
    if (asked.reads === "picture" && picture === null) {
      setFound({ trace: null });
      return;
    }
    setBusy(true);
    try {
      const answer = await client.look({
        ...(asked.reads === "picture" ? { picture } : { text: next.text }), model: next.model, ...(next.other && { other: next.other }),
        prefix: prefix ?? next.forced ?? [], override: given, search: asked.says === "text" ? searchOf(next) : {},
      });
      if (mine !== turn.current) return;
      setFound((before) => ({ ...answer, before: given ? before.before ?? before.trace : null }));  // always the model's own
      setOverride(given);
      setError(null);
      const { ids, steps, lessons } = answer.trace, forced = ids.prefix.length ? ids.prefix : null;
      setState((now) => ({ ...now, forced, step: Math.min(now.step, steps.length - 1), ...(mine > 1 && !given && { key: null }),
        ...(now.lesson !== null && placeOf(answer.trace, lessons[Math.min(now.lesson, lessons.length - 1)].place)) }));
    } catch (problem) {
      if (mine === turn.current) setError(problem.message);
    } finally {
      if (mine === turn.current) setBusy(false);
    }
  };

  /** Does what may fail, and says so on the page. */
  const attempt = async (action) => {
    setError(null);
    try {
      await action();
    } catch (problem) {
      setError(problem.message);
    }
  };
  const onFile = (file) => attempt(async () => {
    if (model?.reads !== "picture") throw new client.Refused("This model reads text: type a sentence. A picture is for one that reads pictures.");
    const taken = await client.picked(file, offered.most);
    setUpload(taken);
    await run({ file: taken, picture: null, forced: null, step: 0, key: null });
  });
  const onOpen = (file) => attempt(async () => {
    const opened = await client.opened(file);
    turn.current++;  // what is under way is not waited for
    setBusy(false);
    setOverride(null);
    setFound({ trace: opened });
    const view = fromHash(opened.view ?? "");  // its ids are those of its model
    set({ ...view, text: opened.text, model: state.model, other: null, forced: opened.model.name === state.model ? view.forced : null });
  });
  useFiles(onFile);
  useEffect(() => {
    if (!client.online) return;
    client.models().then(({ models: there, pictures, pictures_left_out: left, most_picture_bytes: most }) => {
      const first = there.find(({ name }) => name === state.model) ?? there[0];
      setModels(there);
      setOffered({ pictures, left, most });
      const picture = pictures.length ? Math.min(state.picture ?? 0, pictures.length - 1) : null;
      run({ known: there, model: first.name, text: state.text || first.example || EXAMPLE, picture });
    }).catch((problem) => setError(problem.message));
  }, []);
  useEffect(() => {
    if (trace) requestAnimationFrame(() => performance.mark("regard-shown"));  // for whoever measures the page
  }, [trace]);
  useEffect(() => {
    history.replaceState(null, "", link ?? "#");
  }, [link]);
  useEffect(() => {
    const follow = () => location.reload();  // somebody gave this tab another link; our own changes are not told
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);

  const at = trace && Math.min(state.step, trace.steps.length - 1);  // of two outputs the other may be longer
  // The server knows this very trace, and the model that is asked next is the one whose ids these are.
  const steers = client.online && Boolean(trace?.id) && trace.model.name === state.model;
  const canForce = steers && trace.search !== null;
  const force = (token) => run({ forced: [...trace.ids.target.slice(0, at), token], step: at });
  const onStep = (step) => set({ step });
  const lesson = state.lesson !== null && trace ? trace.lessons[Math.min(state.lesson, trace.lessons.length - 1)] : null;
  const beside = !lesson && !other && trace && numHeads(trace, state) <= MOST_BESIDE;
  const late = useLate(trace);  // what stands below the first view is drawn after it
  const wall = trace && late && html`<${Heads} trace=${trace} state=${state} set=${set} theme=${theme} />`;
  const go = (index) => set({ lesson: index, ...placeOf(trace, trace.lessons[index].place) });
  useKeys({ trace, state, set, alternative, setAlternative, canForce, force, go, setHelp, help });
  const influence = trace && late && html`<${Influence} trace=${trace} step=${at} onStep=${onStep} />`;
  return html`
    <${Header} trace=${trace} models=${models} state=${state} set=${set} run=${run} go=${go} link=${link} attempt=${attempt}
      onHelp=${() => setHelp(true)} onOpen=${onOpen} />
    <main>
      <${Composer} trace=${trace} state=${state} set=${set} run=${run} busy=${busy} model=${model} offered=${offered} upload=${upload} onFile=${onFile} />
      ${error && html`<p class="card error" role="alert">${error}</p>`}
      ${override && html`<${Consequence} before=${found.before} trace=${trace} override=${override} onBack=${() => run()} />`}
      ${!trace ? html`<${Empty} error=${error} busy=${busy} model=${model} />` : html`<${Fragment}>
        <p class="sr-only" role="status" aria-live="polite">${announce(trace, state)}</p>
        <div class=${`grid ${other ? "two" : ""}`}>
          <div class="wide">
            <${Pane} trace=${trace} state=${state} set=${set} theme=${theme} title=${other ? trace.model.name : null} />
            ${!other && html`<${Numbers} trace=${trace} state=${state} run=${run} canOverride=${steers} />`}
            <${Bottleneck} trace=${trace} theme=${theme} />
            ${!trace.sites.length && !trace.picture && influence}
            ${other && html`<${Between} divergence=${divergence} reason=${reason} trace=${trace} step=${state.step} onStep=${onStep} />
              <${Pane} trace=${other} state=${state} set=${set} theme=${theme} title=${other.model.name} />`}
          </div>
          <div class="narrow">
            ${lesson && html`<${LessonCard} lessons=${trace.lessons} index=${trace.lessons.indexOf(lesson)} onGo=${go} onClose=${() => set({ lesson: null })} />`}
            <${StepPanel} trace=${trace} step=${at} alternative=${alternative} divergence=${divergence}
              canForce=${canForce} onStep=${onStep} onForce=${force} />
            ${beside && wall}
            ${trace.picture && influence}
          </div>
        </div>
        ${other && html`<${Numbers} trace=${trace} state=${state} run=${run} canOverride=${steers} />`}
        ${!beside && wall}
        ${late && html`<${Tree} trace=${trace} step=${state.step} onStep=${onStep} />`}
        ${late && html`<${Experts} trace=${trace} />`}
        ${trace.sites.length > 0 && !trace.picture && influence}
        ${trace.sites.length > 0 && html`<${DataTable} trace=${trace} state=${state} />`}
      </>`}
    </main>
    <footer class="quiet">${trace && html`<span>${trace.model.name} · ${trace.model.kind} · ${trace.model.parameters.toLocaleString("en")} parameters · log-probability ${number(trace.score)}</span>`}
      <span>regard ${trace?.version ?? ""}: every number is from the tensors that the model used.</span></footer>
    ${help && html`<${Help} onClose=${() => setHelp(false)} />`}`;
}

function Empty({ error, busy, model }) {
  const waiting = busy || (client.online && !model && !error);
  return html`<p class="card empty">${waiting ? html`<span class="skeleton"></span>` : !client.online ? "Open a trace file (Save → open a trace …) to look at it."
    : model?.reads === "picture" ? "A picture, and this model shows where it looks." : "There is nothing to show."}</p>`;
}

const MOST_BESIDE = 16;  // heads whose thumbnails stand beside the picture; more get the page's width
const numHeads = (trace, state) => layersOf(trace, chosenSite(trace, state)?.kind).reduce((sum, site) => sum + site.weights.shape[0], 0);

function Heads({ trace, state, set, theme }) {
  const site = chosenSite(trace, state);
  return site && html`<${Wall} trace=${trace} kind=${site.kind} layer=${site.layer} head=${state.head} theme=${theme}
    onChoose=${(layer, chosen) => set({ layer, head: chosen })} />`;
}

function Numbers({ trace, state, run, canOverride }) {
  const site = chosenSite(trace, state);
  if (!site) return null;
  const head = typeof state.head === "number" && state.head < site.weights.shape[0] ? state.head : "mean";
  const overrule = (which, query, weights) => run({}, { site: site.name, head: which, query, weights });
  return html`<${Arithmetic} trace=${trace} site=${site} head=${head} query=${queryOf(site, state)} chosenKey=${state.key}
    canOverride=${canOverride} onOverride=${overrule} />`;
}

/** What a lesson shows: its attention by words' pieces, its head, step and key. */
function placeOf(trace, { site: name, head, step, key, panel }) {
  const site = trace.sites.find((each) => each.name === name);
  const where = { step: Math.min(step, trace.steps.length - 1), view: panel === "map" ? "map" : "links" };
  if (site?.queries === "source") where.word = step;
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

function Header({ trace, models, state, set, run, go, link, attempt, onHelp, onOpen }) {
  const file = useRef(null);
  const open = (event) => { if (event.currentTarget.files.length) onOpen(event.currentTarget.files[0]); event.currentTarget.value = ""; };
  const names = (some) => some.map(({ name }) => html`<option value=${name}>${name}</option>`);
  const alike = models.filter(({ reads }) => reads === models.find(({ name }) => name === state.model)?.reads);
  return html`<header class="top">
    <h1>regard<span class="dot" aria-hidden="true"></span></h1>
    ${models.length > 0 ? html`<label><span class="sr-only">Model</span><select value=${state.model} onChange=${(event) => run({ model: event.currentTarget.value, forced: null, sampling: null })}>${names(models)}</select></label>
      ${alike.length > 1 && html`<label class="quiet">against <select value=${state.other ?? ""} onChange=${(event) => run({ other: event.currentTarget.value || null })}>
        <option value="">nothing</option>${names(alike)}</select></label>`}` : trace && html`<span class="quiet">${trace.model.name}</span>`}
    <span class="grow"></span>
    ${trace && html`<button type="button" aria-pressed=${String(state.lesson !== null)} onClick=${() => (state.lesson === null ? go(0) : set({ lesson: null }))}>Lessons</button>`}
    <${Menu} label="Save">
      ${trace && html`<button type="button" onClick=${saveSvg}>picture (SVG)</button><button type="button" onClick=${savePng}>picture (PNG)</button>
      <button type="button" onClick=${() => attempt(() => saveJson(trace, toHash(state)))}>trace (JSON)</button>
      ${client.online && trace.id && html`<button type="button" onClick=${() => attempt(() => savePage(trace, toHash(state)))}>page (HTML)</button>`}
      <button type="button" disabled=${!link} title=${link ? "" : "The sentence is too long for a link: save the page instead."} onClick=${() => navigator.clipboard?.writeText(location.href)}>copy the link</button>`}
      <button type="button" onClick=${() => file.current.click()}>open a trace …</button></${Menu}>
    <input ref=${file} type="file" accept="application/json,.json" hidden onChange=${open} />
    <button type="button" onClick=${onHelp} aria-label="Keyboard and help">?</button>
  </header>`;
}

function Consequence({ before, trace, override, onBack }) {
  const key = override.weights.indexOf(1), site = trace.sites.find((each) => each.name === override.site);
  const [query, word] = [[site.queries, override.query], [site.keys, key]].map(([along, place]) => plain(trace.sides[along].pieces[place] ?? ""));
  return html`<section class="card consequence" aria-label="Changed attention"><p>At ${site.queries === "source" ? html`the source word <bdi class="query">${query}</bdi>` : `step ${override.query + 1}`},${" "}
    head ${override.head + 1} of ${override.site} was made to look ${key < 0 ? "at all alike" : html`only at <bdi class="key">${word}</bdi>`}.</p>
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

render(html`<${App} />`, document.getElementById("app"));
