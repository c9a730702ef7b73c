// The page /docs: what /openapi.json says, with a form to try each route. Text is only ever set as text.

/** An element with attributes and children. */
function element(name, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
}

const description = await (await fetch("/openapi.json")).json();

/** The schema that a reference in the description means. */
function resolve(schema) {
  const path = schema?.$ref?.split("/").slice(1);
  return path ? path.reduce((value, key) => value[key], description) : (schema ?? {});
}

function typeName(schema) {
  const found = schema.anyOf ?? schema.oneOf;
  if (found) return found.map((each) => typeName(resolve(each))).filter((name) => name !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typeName(resolve(schema.items))}`;
  return schema.type ?? "anything";
}

function fields(schema) {
  const isNeeded = (name) => schema.required?.includes(name) ?? false;
  const inOrder = Object.entries(schema.properties ?? {}).sort(([one], [other]) => isNeeded(other) - isNeeded(one));
  const rows = inOrder.map(([name, field]) => {
    const value = resolve(field);
    const fallback = field.default === undefined || field.default === null ? "" : JSON.stringify(field.default);
    const needed = isNeeded(name) ? "needed" : fallback;
    return element("tr", {}, element("td", {}, element("code", { textContent: name })),
      element("td", { textContent: typeName(value) }), element("td", { textContent: needed }),
      element("td", { textContent: field.description ?? "" }));
  });
  return element("table", {}, element("tbody", {}, ...rows));
}

function tryIt(method, path, example) {
  const output = element("pre", { hidden: true });
  output.setAttribute("aria-live", "polite");
  const input = element("textarea", { value: JSON.stringify(example, null, 2), spellcheck: false });
  input.setAttribute("aria-label", `Body of ${path}`);
  const button = element("button", { type: "button", textContent: "Send" });
  button.onclick = async () => {
    const headers = method === "post" ? { "Content-Type": "application/json" } : {};
    output.hidden = false;
    output.textContent = "…";
    try {
      const answer = await fetch(path, { method: method.toUpperCase(), headers, body: method === "post" ? input.value : undefined });
      output.textContent = `${answer.status} ${answer.statusText}\n${await answer.text()}`;
    } catch (error) {
      output.textContent = String(error);
    }
  };
  return method === "post" ? [input, button, output] : [button, output];
}

function route(method, path, operation) {
  const content = operation.requestBody?.content ?? {};
  const schema = resolve(content["application/json"]?.schema);
  const parts = [element("summary", {}, element("span", { className: "method", textContent: method.toUpperCase() }),
    element("code", { textContent: path })), element("p", { textContent: operation.description ?? operation.summary ?? "" })];
  if (schema.properties) parts.push(fields(schema));
  if (!path.includes("{") && !content["multipart/form-data"]) parts.push(...tryIt(method, path, schema.examples?.[0] ?? {}));
  return element("details", {}, ...parts);
}

const byTag = new Map();
for (const [path, operations] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const tag = operation.tags?.[0] ?? "other";
    byTag.set(tag, [...(byTag.get(tag) ?? []), route(method, path, operation)]);
  }
}
const place = document.getElementById("routes");
place.replaceChildren(...[...byTag].flatMap(([tag, routes]) => [element("h2", { textContent: tag }), ...routes]));
