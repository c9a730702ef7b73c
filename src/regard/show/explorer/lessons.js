// Ten lessons on the sentence that is shown. Each moves the page to its place, and asks a question it can check.
import { html, useEffect, useState } from "ui";
import { number } from "numbers";

/** Whether an answer is right: the option, or a number near enough. Decimal commas and real minus signs are fine. */
export function isRight(question, given) {
  if (typeof question.answer === "string") return given === question.answer;
  const text = String(given).trim().replace("−", "-").replace(",", ".");
  const value = text === "" ? NaN : Number(text);
  return Math.abs(value - question.answer) <= question.tolerance + 0.005;
}

export function LessonCard({ lessons, index, onGo, onClose }) {
  const lesson = lessons[index];
  return html`<section class="card lesson" aria-labelledby="lesson-title">
    <div class="between"><span class="quiet">Lesson ${index + 1} of ${lessons.length}</span>
      <button type="button" class="plain" onClick=${onClose} aria-label="Close the lessons">×</button></div>
    <h2 id="lesson-title">${lesson.title}</h2>
    <p class="equation">${lesson.equation}</p>
    ${lesson.lines.map((line) => html`<p>${line}</p>`)}
    <${Quiz} key=${index} question=${lesson.question} />
    <div class="between"><button type="button" disabled=${index === 0} onClick=${() => onGo(index - 1)}>← Back</button>
      <span class="dots" aria-hidden="true">${lessons.map((_, i) => html`<i class=${i === index ? "now" : ""}></i>`)}</span>
      <button type="button" disabled=${index === lessons.length - 1} onClick=${() => onGo(index + 1)}>Next →</button></div>
  </section>`;
}

function Quiz({ question }) {
  const [given, setGiven] = useState(null), [text, setText] = useState("");
  const right = given !== null && isRight(question, given);
  return html`<form class="quiz" onSubmit=${(event) => { event.preventDefault(); setGiven(text); }}>
    <label for="answer"><b>${question.text}</b></label>
    ${question.options.length
      ? html`<div class="choice" role="group" aria-label="Answers" id="answer">${question.options.map((option) => html`<button type="button"
          aria-pressed=${String(given === option)} onClick=${() => setGiven(option)}><bdi>${option}</bdi></button>`)}</div>`
      : html`<div class="between"><input id="answer" inputmode="decimal" autocomplete="off" value=${text} onInput=${(event) => setText(event.currentTarget.value)} />
          <button type="submit">Check</button></div>`}
    <p class=${`verdict ${given === null ? "" : right ? "fine" : "wrong"}`} role="status">${given === null ? ""
      : right ? "✓ Right." : typeof question.answer === "number" ? "✕ Not yet. Two digits after the point are enough." : "✕ Not this one: look at the page beside it."}</p>
  </form>`;
}
