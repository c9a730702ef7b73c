// Taking the view along: a picture as SVG or PNG, the sentence as JSON or as a page that needs no server.
import * as client from "client";

const STYLES = ["fill", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "fill-opacity", "opacity", "font-family", "font-size", "font-weight", "text-anchor"];

/** A picture of the page as the text of an SVG file: its own copy, with the page's styles written into it. */
export function svgText(picture) {
  const copy = picture.cloneNode(true), sources = [picture, ...picture.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, i) => {
    const style = getComputedStyle(sources[i]);
    for (const name of STYLES) if (style.getPropertyValue(name)) element.setAttribute(name, style.getPropertyValue(name));
    element.removeAttribute("class");
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.style.background = getComputedStyle(document.body).getPropertyValue("--card");
  return new XMLSerializer().serializeToString(copy);
}

const mainPicture = () => document.querySelector(".pane svg[data-picture], .tree svg[data-picture]");

function give(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export const saveSvg = () => mainPicture() && give(new Blob([svgText(mainPicture())], { type: "image/svg+xml" }), "attention.svg");

export function savePng() {
  const picture = mainPicture();
  if (!picture) return;
  const box = picture.getBoundingClientRect(), image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas"), context = canvas.getContext("2d");
    canvas.width = 2 * box.width;
    canvas.height = 2 * box.height;
    context.fillStyle = getComputedStyle(document.body).getPropertyValue("--card");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => give(blob, "attention.png"));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(svgText(picture));
}

/** The trace with all that its sites' arithmetic needs, and the link that shows this view of it. */
export async function saveJson(trace, hash) {
  for (const site of trace.sites) await client.details(trace, site);
  const { id, ...rest } = trace;
  give(new Blob([JSON.stringify({ ...rest, view: hash })], { type: "application/json" }), "attention.json");
}

/** This very page with the trace in it. */
export async function savePage(trace, hash) {
  const text = (await client.pageOf(trace)).replace('data-view=""', () => `data-view="${hash.replace(/[&"<>]/g, (c) => `&#${c.charCodeAt(0)};`)}"`);
  give(new Blob([text], { type: "text/html" }), "attention.html");
}
