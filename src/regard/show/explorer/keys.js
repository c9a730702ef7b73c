// What the keyboard does, and the list of it.
import { html, useEffect, useRef } from "ui";
import { chosenSite, hasPieces, layersOf } from "trace";
import { saveSvg } from "save";
import { isAnother } from "step";

const KEYS = [["← →", "step back, step on"], ["↑ ↓", "mark an alternative"], ["Enter", "say the marked one instead"], [", .", "the source word whose arithmetic is shown"], ["[ ]", "layer"], ["{ }", "head"],
  ["h", "lines or map"], ["w", "words or pieces"], ["l", "lessons"], ["e", "save the picture"], ["?", "this list"], ["Esc", "close"]];

const WRITES = "select, textarea, input:not([type=checkbox]):not([type=range])";  // where keys mean themselves

export function Help({ onClose }) {
  const dialog = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} onClose=${onClose} aria-labelledby="help-title"><h2 id="help-title">Keyboard</h2>
    <dl>${KEYS.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
    <p class="caption">The address of this page holds the whole view: copy it to come back to it. Attention is not by itself an explanation; leave a word out to see what matters.</p>
    <form method="dialog"><button>Close</button></form></dialog>`;
}

export function useKeys(context) {
  const now = useRef(context);
  now.current = context;
  useEffect(() => {
    const press = (event) => { if (act(event, now.current)) event.preventDefault(); };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

/** Whether an arrow key pushes what is too wide: only there, and only while just that has the focus. */
const isPushed = (target) => target.matches(".heat, .table") && target.scrollWidth > target.clientWidth;

function act(event, { trace, state, set, alternative, setAlternative, canForce, force, go, setHelp, help }) {
  if (!trace || help || event.ctrlKey || event.metaKey || event.altKey || event.target.matches(WRITES)) return false;
  if (event.target.type === "range" && event.key.startsWith("Arrow")) return false;
  if (event.key === "Enter" && event.target.closest("button, summary, a")) return false;
  if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && isPushed(event.target)) return false;
  const last = trace.steps.length - 1, step = Math.min(state.step, last), site = chosenSite(trace, state);
  const others = trace.steps[step].alternatives, layers = site && layersOf(trace, site.kind).map((each) => each.layer);
  const heads = site && ["mean", ...Array(site.weights.shape[0]).keys()];
  const cycle = (list, value, by) => list[(list.indexOf(value) + by + list.length) % list.length];
  const actions = {
    ArrowLeft: () => set({ step: Math.max(0, step - 1), key: null }),
    ArrowRight: () => set({ step: Math.min(last, step + 1), key: null }),
    ArrowUp: () => setAlternative(Math.max(0, (alternative ?? 1) - 1)),
    ArrowDown: () => setAlternative(Math.min(others.length - 1, (alternative ?? -1) + 1)),
    Enter: () => canForce && others[alternative] && isAnother(trace, step, others[alternative]) && force(others[alternative].token),
    ",": () => site && set({ key: cycle([...Array(site.weights.shape[2]).keys()], state.key ?? 0, -1) }),
    ".": () => site && set({ key: cycle([...Array(site.weights.shape[2]).keys()], state.key ?? -1, 1) }),
    "[": () => site && set({ layer: cycle(layers, site.layer, -1) }),
    "]": () => site && set({ layer: cycle(layers, site.layer, 1) }),
    "{": () => site && set({ head: cycle(heads, state.head, -1) }),
    "}": () => site && set({ head: cycle(heads, state.head, 1) }),
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
