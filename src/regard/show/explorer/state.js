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
const NUMBERS = new Set(["picture", "beam", "penalty", "temperature", "topK", "topP", "seed", "layer", "step", "word", "key", "lesson"]);
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

/** The state that a hash describes; what is not a value of a field is left as it was. */
export function fromHash(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, "")), state = { ...INITIAL };
  for (const [name, letter] of Object.entries(LETTERS)) {
    const text = parameters.get(letter);
    if (text === null) continue;
    if (name === "forced") state.forced = text.split("-").map(Number).filter(Number.isInteger);
    else if (name === "head") state.head = /^\d+$/.test(text) ? Number(text) : text === "max" ? "max" : "mean";
    else if (NUMBERS.has(name)) state[name] = Number.isFinite(Number(text)) ? Number(text) : INITIAL[name];
    else if (name === "sampling" || typeof INITIAL[name] === "boolean") state[name] = text === "true";
    else state[name] = text;
  }
  if (!["links", "map"].includes(state.view)) state.view = "links";
  if (!["words", "pieces"].includes(state.unit)) state.unit = "words";
  return state;
}

/** The search that a state asks for; what it does not say is the model's own. */
export function searchOf({ sampling, beam, penalty, temperature, topK, topP, seed }) {
  if (sampling) return { sampling, temperature: temperature ?? 1, top_k: topK ?? 0, top_p: topP ?? 1, seed: seed ?? 1 };
  return { ...(sampling === false && { sampling }), ...(beam && { beam_size: beam }), ...(penalty !== null && { length_penalty: penalty }) };
}
