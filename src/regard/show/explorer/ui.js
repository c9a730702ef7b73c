// The three things every view needs of the runtime: elements from templates, state, and effects.
import { h, render, Fragment } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { Fragment, render, useEffect, useLayoutEffect, useMemo, useRef, useState };

/** The width of an element, followed as it changes. Returns [ref, width]. */
export function useWidth(initial = 720) {
  const ref = useRef(null);
  const [width, setWidth] = useState(initial);
  useLayoutEffect(() => {
    if (!ref.current) return undefined;  // the view has nothing to show
    const measure = () => setWidth(Math.floor(ref.current.clientWidth));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** False until what is there already has been painted; false again whenever `value` changes. */
export function useLate(value) {
  const [done, setDone] = useState(null);
  useEffect(() => {
    let current = true;
    requestAnimationFrame(() => setTimeout(() => current && setDone(value)));
    return () => { current = false; };
  }, [value]);
  return done === value;
}

/** What opens below its name, until Esc or a click elsewhere. */
export function Menu({ label, children }) {
  const menu = useRef(null);
  useEffect(() => {
    const close = (event) => {
      const { current } = menu, inside = current.contains(event.target);
      if (!current.open || (event.type === "keydown" ? event.key !== "Escape" : inside)) return;
      current.open = false;
      if (event.type === "keydown" && inside) current.firstElementChild.focus();  // what had the focus is hidden now
    };
    addEventListener("keydown", close);
    addEventListener("pointerdown", close);
    return () => { removeEventListener("keydown", close); removeEventListener("pointerdown", close); };
  }, []);
  return html`<details class="menu" ref=${menu}><summary>${label}</summary><div class="list">${children}</div></details>`;
}

/** A row of buttons of which one is pressed. `options` are [value, label, title?]. */
export function Choice({ label, options, value, onChoose }) {
  if (options.length < 2) return null;
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([option, text, title]) => html`<button type="button" key=${option} title=${title}
      aria-pressed=${String(option === value)} onClick=${() => onChoose(option)}>${text}</button>`)}
  </div>`;
}
