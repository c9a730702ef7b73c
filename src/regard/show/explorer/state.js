// What the page shows, as one flat object, and the same as a link: everything that makes the view is in the hash.

export const INITIAL = {
  text: "", picture: null, model: null, other: null, forced: null, beam: null, penalty: null,
  sampling: null, temperature: null, topK: null, topP: null, seed: null,
  kind: "cross", layer: null, head: "mean", unit: "words", view: "links", bare: false, rollout: false,
  step: 0, word: 0, key: null, lesson: null,
};

const LETTERS = {
  text: "s", picture: "p", model: "m", other: "o", forced: "f", beam: "b", penalty: "lp", sampling: "d", temperature: "dt", topK: "dk", topP: "dp", seed: "ds", kind: "k", layer: "l", head: "h",
  unit: "u", view: "v", bare: "n", rollout: "r", step: "t", word: "w", key: "i", lesson: "c",
};
const WHOLE = new Set(["picture", "beam", "topK", "seed", "layer", "step", "word", "key", "lesson"]);
const REAL = new Set(["penalty", "temperature", "topP"]);
const isWhole = (text) => /^\d{1,10}$/.test(text);
const isReal = (text) => /^\d{1,10}(\.\d+)?(e-\d+)?$/.test(text);
export const LONGEST_LINK = 2000;

/** The hash of a state: only what differs from the start. */
export function toHash(state) {
  const parameters = new URLSearchParams();
  for (const [name, letter] of Object.entries(LETTERS)) {
    const value = state[name];
    if (value === null || value === INITIAL[name]) continue;
    parameters.set(letter, Array.isArray(value) ? value.join("-") : String(value));
  }
  return "#" + parameters.toString();
}

/** The state that a hash describes; what is not a value of a field is as at the start: anybody may have written a link. */
export function fromHash(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, "")), state = { ...INITIAL };
  for (const [name, letter] of Object.entries(LETTERS)) {
    const text = parameters.get(letter);
    if (text === null) continue;
    if (name === "forced") state.forced = text.split("-").filter(isWhole).map(Number);
    else if (name === "head") state.head = isWhole(text) ? Number(text) : text === "max" ? "max" : "mean";
    else if (WHOLE.has(name) || REAL.has(name)) state[name] = (WHOLE.has(name) ? isWhole : isReal)(text) ? Number(text) : INITIAL[name];
    else if (name === "sampling" || typeof INITIAL[name] === "boolean") state[name] = text === "true";
    else state[name] = text;
  }
  if (!["links", "map"].includes(state.view)) state.view = "links";
  if (!["words", "pieces"].includes(state.unit)) state.unit = "words";
  return state;
}

const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));

/** The search that a state asks for; what it does not say is the model's own. */
export function searchOf({ sampling, beam, penalty, temperature, topK, topP, seed }) {
  if (sampling) return { sampling, ...given({ temperature, top_k: topK, top_p: topP, seed }) };
  return given({ sampling, beam_size: beam || null, length_penalty: penalty });
}
