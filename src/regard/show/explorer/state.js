// What the page shows, as one flat object, and the same as a link: everything that makes the view is in the hash.

export const INITIAL = {
  text: "", model: null, other: null, forced: null, beam: null, penalty: null,
  kind: "cross", layer: null, head: "mean", unit: "words", view: "links", bare: false, rollout: false,
  step: 0, key: null, lesson: null,
};

const LETTERS = {
  text: "s", model: "m", other: "o", forced: "f", beam: "b", penalty: "lp", kind: "k", layer: "l", head: "h",
  unit: "u", view: "v", bare: "n", rollout: "r", step: "t", key: "i", lesson: "c",
};
const NUMBERS = new Set(["beam", "penalty", "layer", "step", "key", "lesson"]);
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
    else if (typeof INITIAL[name] === "boolean") state[name] = text === "true";
    else state[name] = text;
  }
  if (!["links", "map"].includes(state.view)) state.view = "links";
  if (!["words", "pieces"].includes(state.unit)) state.unit = "words";
  return state;
}
