// Continue a text, or chat, as it is written; each token tells how likely it was, and what else might have come.
import { ask, bars, complain, el, percent, quoted, seconds, show, snippet } from "./ui.js";

export function textPanel(about) {
  const knobs = settings(about);
  const parts = { "Continue a text": continuing(about, knobs), Chat: chatting(about, knobs) };
  const place = el("div", { role: "tabpanel" });
  const tabs = el("div", { class: "tabs", role: "tablist", "aria-label": "What to do" });
  const choose = (name, focus) => {
    for (const tab of tabs.children) {
      tab.setAttribute("aria-selected", String(tab.textContent === name));
      tab.tabIndex = tab.textContent === name ? 0 : -1;
      if (focus && tab.textContent === name) tab.focus();
    }
    place.setAttribute("aria-label", name);
    show(place, parts[name]);
  };
  const names = Object.keys(parts);
  for (const name of names) {
    tabs.append(el("button", { type: "button", role: "tab", onclick: () => choose(name), onkeydown: (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") choose(names[(names.indexOf(name) + 1) % names.length], true);
    } }, name));
  }
  const chatty = about.texts?.template === true;
  choose(names[chatty ? 1 : 0]);
  return el("div", {}, tabs, place, el("details", { class: "panel" }, el("summary", {}, "Sampling"), knobs.element));
}

function settings(about) {
  const most = about.texts?.max_tokens ?? 2048;
  const knob = (id, name, properties) => {
    const control = el("input", { id, ...properties });
    const output = properties.type === "range" ? el("output", { htmlFor: id }, control.value) : null;
    if (output) control.addEventListener("input", () => { output.textContent = control.value; });
    return { control, element: el("div", {}, el("label", { htmlFor: id }, name, output), control) };
  };
  const temperature = knob("temperature", "Temperature", { type: "range", min: "0", max: "2", step: "0.1", value: "0.8" });
  const top = knob("top-p", "Likeliest share (top-p)", { type: "range", min: "0.05", max: "1", step: "0.05", value: "1" });
  const tokens = knob("max-tokens", "Tokens, at most", { type: "number", min: "1", max: String(most), value: String(Math.min(300, most)) });
  const seed = knob("seed", "Seed", { type: "number", step: "1", placeholder: "random" });
  const all = [temperature, top, tokens, seed];
  return {
    element: el("div", { class: "knobs" }, all.map((one) => one.element)),
    values: () => ({
      temperature: Number(temperature.control.value),
      top_p: Number(top.control.value),
      max_tokens: Number(tokens.control.value) || 200,
      ...(seed.control.value === "" ? {} : { seed: Number(seed.control.value) }),
    }),
  };
}

function continuing(about, knobs) {
  const prompt = el("textarea", { id: "prompt", rows: 4, placeholder: "Begin here, or leave it empty to begin a document", spellcheck: false });
  const paper = el("div", { class: "paper", tabIndex: 0, role: "group", "aria-label": "Text", "aria-describedby": "paper-help" });
  const status = el("p", { class: "hint time", "aria-live": "polite" });
  const hint = el("p", { class: "empty" }, "Choose a token of the text to see what else might have come there.");
  const likely = el("div", { "aria-live": "polite" }, hint);
  const told = new WeakMap();

  function pick(span) {
    paper.querySelector(".chosen")?.classList.remove("chosen");
    span.classList.add("chosen");
    span.scrollIntoView({ block: "nearest" });
    const { probability, others } = told.get(span);
    show(likely, el("p", { class: "answer" }, visible(span.textContent), " ", el("small", {}, percent(probability))),
      bars(others.map(([name, logprob]) => [visible(name), Math.exp(logprob)]), "Likeliest tokens here"));
  }
  function token(name, logprob, others) {
    const probability = Math.exp(logprob);
    const shade = probability > 0.5 ? "" : probability > 0.2 ? "p1" : probability > 0.05 ? "p2" : "p3";
    const span = el("span", { class: `token ${shade}`, onclick: () => pick(span) }, name);
    told.set(span, { probability, others: Object.entries(others) });
    return span;
  }
  const run = runner("Continue", async (signal) => {
    show(paper, el("span", { class: "given" }, prompt.value));
    show(likely, hint);
    await stream("/v1/completions", { prompt: prompt.value, logprobs: 5, ...knobs.values() }, signal, status, (choice) => {
      const { tokens = [], token_logprobs: logprobs, top_logprobs: others } = choice.logprobs ?? {};
      // Where tokens end within a character their text is shown as a whole.
      if (tokens.join("") === choice.text) paper.append(...tokens.map((name, place) => token(name, logprobs[place], others[place])));
      else paper.append(choice.text);
      paper.scrollTop = paper.scrollHeight;
    });
  });
  paper.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...paper.querySelectorAll(".token")];
    const next = all[Math.min(all.length - 1, Math.max(0, all.findIndex((span) => span.classList.contains("chosen")) + step))];
    if (next) pick(next);
    event.preventDefault();
  });
  prompt.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run.start(); });
  return el("div", { class: "pair" },
    el("section", { class: "panel", "aria-label": "Continue a text" }, el("label", { htmlFor: "prompt" }, "Text to continue"), prompt,
      el("div", { class: "actions" }, run.buttons), paper, status),
    el("section", { class: "panel beside", "aria-label": "Probabilities" }, el("h2", {}, "What might have come"), likely,
      el("p", { class: "hint time", id: "paper-help" }, "The darker a token, the less likely it was. In the text, the left and right arrow keys go from token to token."),
      snippet("/v1/completions", () => `--json ${quoted(JSON.stringify({ prompt: prompt.value, ...knobs.values() }))}`)));
}

function chatting(about, knobs) {
  const chat = el("div", { class: "chat", role: "log", "aria-label": "Chat", tabIndex: 0 });
  const status = el("p", { class: "hint time", "aria-live": "polite" });
  const input = el("textarea", { id: "say", rows: 2, placeholder: "Say something", "aria-label": "Your message" });
  const system = el("textarea", { id: "system", rows: 2, placeholder: "None" });
  const hint = el("p", { class: "empty" }, about.texts?.template ? "Say something to begin." : "This model has no chat template, so it reads the chat as a "
    + "text with a line for each message. Unless it was trained on chats, expect little.");
  let said = [];
  const messages = () => [...(system.value.trim() ? [{ role: "system", content: system.value }] : []), ...said];
  const forget = () => { said = []; show(chat, hint); show(status); };
  const run = runner("Send", async (signal) => {
    if (!input.value.trim()) return;
    hint.remove();
    const conversation = said;
    conversation.push({ role: "user", content: input.value });
    const bubble = el("div", { class: "bubble", "aria-label": "The model" });
    chat.append(el("div", { class: "bubble user", "aria-label": "You" }, input.value), bubble);
    input.value = "";
    try {
      await stream("/v1/chat/completions", { messages: messages(), ...knobs.values() }, signal, status, (choice) => {
        bubble.append(bubble.textContent ? choice.delta.content ?? "" : (choice.delta.content ?? "").trimStart());
        chat.scrollTop = chat.scrollHeight;
      });
    } catch (error) {
      if (!bubble.textContent) bubble.remove();
      throw error;
    } finally {
      if (bubble.textContent) conversation.push({ role: "assistant", content: bubble.textContent });
    }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    run.start();
  });
  forget();
  return el("section", { class: "panel", "aria-label": "Chat" }, chat, status,
    el("div", { class: "composer" }, input, run.buttons),
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => { run.stop(); forget(); input.focus(); } }, "New chat")),
    el("details", {}, el("summary", {}, "System message"), system),
    snippet("/v1/chat/completions", () => `--json ${quoted(JSON.stringify({ messages: said.length ? messages() : [{ role: "user", content: "Hello" }], ...knobs.values() }))}`));
}

// A button that starts, and one that stops; the Escape key stops too.
function runner(name, work) {
  let control = null;
  const stop = () => control?.abort();
  const begin = el("button", { type: "button", class: "main", onclick: () => start() }, name);
  const end = el("button", { type: "button", hidden: true, onclick: stop }, "Stop");
  async function start() {
    if (control) return;
    control = new AbortController();
    begin.disabled = true;
    end.hidden = false;
    try {
      await work(control.signal);
      complain(null);
    } catch (error) {
      if (error.name !== "AbortError") complain(error);
    }
    control = null;
    begin.disabled = false;
    end.hidden = true;
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); });
  return { start, stop, buttons: el("div", { class: "row" }, begin, end) };
}

// Reads the events of a stream, and tells at the end how many tokens came in what time.
async function stream(path, json, signal, status, tell) {
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  let first = null, tokens = 0, reason = null;
  const response = await ask(path, { json: { ...json, stream: true, stream_options: { include_usage: true } }, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        if (event === "data: [DONE]") continue;
        const part = JSON.parse(event.slice("data: ".length));
        if (part.error) throw new Error(part.error.message);
        if (part.usage) tokens = part.usage.completion_tokens;
        const choice = part.choices[0];
        if (!choice) continue;
        first ??= since();
        reason = choice.finish_reason ?? reason;
        tell(choice);
      }
    }
  } finally {
    const why = { length: "as many as asked for", stop: "the text has ended" }[reason] ?? "stopped";
    show(status, first === null ? "" : `${tokens ? `${tokens} tokens in ` : ""}${seconds(since())}, the first after ${seconds(first)}`
      + `${tokens ? `, ${Math.round(tokens / since())} a second` : ""}: ${why}.`);
  }
}

// White space as signs that can be seen.
function visible(text) {
  const name = text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
  return name.trim() === "" ? name.replaceAll(" ", "␣") || "(nothing)" : name.replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
}
