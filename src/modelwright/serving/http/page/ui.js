// What the parts of the page share: elements, numbers in words, bars, and requests. Text from data is only ever set as text, never as markup.

export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria") && name !== "list" && name !== "role") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat().filter(Boolean));
}

let key = sessionStorage.getItem("modelwright key") || "";

export function useKey(value) {
  key = value;
  sessionStorage.setItem("modelwright key", value);
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    options = { ...options, method: "POST", body: JSON.stringify(options.json) };
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server doesn't answer. Is it still running?");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Refused(response.status, answer.error?.message ?? `The server answered ${response.status}.`);
  }
  return response;
}

export function complain(error) {
  const place = document.getElementById("message");
  place.hidden = !error;
  place.textContent = error ? error.message : "";
}

export function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share > 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

export function number(value) {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential(3);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 1000 ? 1 : size >= 1 ? 3 : 5 });
}

export function seconds(value) {
  if (value < 0.9995) return `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms`;
  return value < 90 ? `${value.toFixed(1)} s` : `${Math.round(value / 60)} min`;
}

const FEW = 10;

// The likeliest first; those after the tenth wait behind a button.
export function bars(shares, title) {
  const sorted = [...shares].sort((a, b) => b[1] - a[1]);
  const row = ([name, share], place) => {
    const fill = el("div", { class: "fill" });
    fill.style.width = `${100 * share}%`;
    return el("li", { class: place === 0 ? "best" : "" },
      el("span", { class: "label", title: name }, name), el("div", { class: "track", "aria-hidden": "true" }, fill),
      el("span", { class: "share" }, percent(share)));
  };
  const list = el("ul", { class: "bars", "aria-label": title }, sorted.slice(0, FEW).map(row));
  if (sorted.length <= FEW) return [list];
  const rest = sorted.slice(FEW);
  const more = el("button", { type: "button", onclick: () => { list.append(...rest.map((one, n) => row(one, n + FEW))); more.remove(); } },
    `Show ${rest.length} more`);
  return [list, el("div", { class: "actions" }, more)];
}

// A command for a terminal, from the path and what follows; where the server asks for a key it is taken from the environment.
export function snippet(path, rest) {
  const shown = key ? ' \\\n  -H "Authorization: Bearer $MODELWRIGHT_API_KEY"' : "";
  const build = () => `curl ${location.origin}${path}${shown} \\\n  ${rest()}`;
  const text = el("code");
  const copy = el("button", { type: "button", hidden: !navigator.clipboard, onclick: async () => {
    await navigator.clipboard.writeText(text.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const fold = el("details", { ontoggle: () => { if (fold.open) text.textContent = build(); } },
    el("summary", {}, "Ask from a program"), el("pre", { tabIndex: 0 }, text), copy);
  return fold;
}

export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
