// What the page asks the server for. A page in a file has no server: then `online` is false and all it has is its trace.

performance.mark("regard-data");
const element = document.getElementById("trace");
const embedded = element && element.textContent.trim() ? JSON.parse(element.textContent) : null;
export const online = document.documentElement.dataset.server === "true";

export class Refused extends Error {}

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Refused("The server does not answer. Is `regard explore` still running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(content.error ?? `The server answered ${answer.status}.`);
  return content;
}

export const embeddedTrace = () => embedded;
export const models = () => ask("/api/v1/models");
export const translate = (request) => ask("/api/v1/trace", request);
export const compare = (request) => ask("/api/v1/compare", request);
export const pageOf = (trace) => `/api/v1/trace/${trace.id}/page`;

/** What the weights of a site were made of: in the file, or from the server; null where neither has it. */
export async function details(trace, site) {
  trace.details ??= {};
  if (!(site.name in trace.details))
    trace.details[site.name] = trace.id && online ? await ask(`/api/v1/trace/${trace.id}/sites/${site.name}`) : null;
  return trace.details[site.name];
}

/** Nats that each target token loses without each source word. */
export async function influence(trace) {
  if (!trace.influence && trace.id && online) trace.influence = await ask(`/api/v1/trace/${trace.id}/influence`);
  return trace.influence;
}
