// What the page asks the server for. A page in a file has no server: then `online` is false and all it has is its trace.

performance.mark("regard-data");
const element = document.getElementById("trace");
const embedded = element && element.textContent.trim() ? JSON.parse(element.textContent) : null;
export const online = document.documentElement.dataset.server === "true";

const FORMAT = 1;  // of a trace, as regard/show/document.py writes it

export class Refused extends Error {}

async function answered(path, body) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Refused("The server does not answer. Is `regard explore` still running?");
  }
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw new Refused(error ?? `The server answered ${answer.status}.`);
}

const ask = async (path, body) => (await answered(path, body)).json();

export const embeddedTrace = () => embedded;
export const models = () => ask("/api/v1/models");

/** A trace, or with `other` two and what lies between them; of the `text` or of the `picture` in the request. */
export async function look(request) {
  const path = `/api/v1/${"picture" in request ? "picture/" : ""}`;
  return request.other ? ask(`${path}compare`, request) : { trace: await ask(`${path}trace`, request) };
}

/** The text of a page that holds the trace and needs no server. */
export const pageOf = async (trace) => (await answered(`/api/v1/trace/${trace.id}/page`)).text();

/** What the weights of a site were made of: in the file, or from the server; null where neither has it. */
export async function details(trace, site) {
  trace.details ??= {};
  if (!(site.name in trace.details))
    trace.details[site.name] = trace.id && online ? await ask(`/api/v1/trace/${trace.id}/sites/${site.name}`) : null;
  return trace.details[site.name];
}

/** The trace in a file that this page can show. */
export async function opened(file) {
  const trace = await file.text().then(JSON.parse).catch(() => null);
  if (trace?.format !== FORMAT || !trace.steps?.length) throw new Refused(`${file.name} holds no trace of regard.`);
  return trace;
}

/** A file as the server takes it: {name, base64}. Refused here if it is larger than the server would read. */
export async function picked(file, most) {
  const size = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MB`;
  if (file.size > most) throw new Refused(`${file.name} has ${size(file.size)}; a picture may have ${size(most)}. Scale it down.`);
  const address = await new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(new Refused(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
  return { name: file.name, base64: address.slice(address.indexOf(",") + 1) };
}

/** Nats that each step loses without each source word, or each region of the picture. */
export async function influence(trace) {
  if (!trace.influence && trace.id && online) trace.influence = await ask(`/api/v1/trace/${trace.id}/influence`);
  return trace.influence;
}
