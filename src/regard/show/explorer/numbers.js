// How numbers are written: a real minus sign, no more digits than can be read.
export function number(value, digits = 2) {
  if (value === -Infinity) return "−∞";
  if (value === Infinity) return "∞";
  const text = value.toFixed(digits);
  return text.startsWith("-") ? "−" + text.slice(1) : text;
}

/** A probability: .81, but <.01 and 1. */
export function share(value) {
  if (value >= 0.995) return value > 1 - 1e-9 ? "1" : ">.99";
  if (value > 0 && value < 0.005) return "<.01";
  return value.toFixed(2).replace(/^0/, "");
}

/** A small difference: 2e−7, or 0. */
export function tiny(value) {
  return value === 0 ? "0" : value.toExponential(0).replace("-", "−");
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** Whether a sentence is read from right to left: most of its words begin so. */
export function isRightToLeft(words) {
  const rtl = words.filter((word) => RIGHT_TO_LEFT.test(word)).length;
  return rtl > words.length / 2;
}
