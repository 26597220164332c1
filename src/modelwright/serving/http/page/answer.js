// The answer to an example: the class or the number, how sure the model is, and how long it took.
import { bars, el, number, percent, seconds, show } from "./ui.js";

export function answerPanel(about) {
  const place = el("div", { "aria-live": "polite" }, el("p", { class: "empty" }, "The answer comes here."));
  const panel = el("section", { class: "panel beside", "aria-label": "Answer" }, el("h2", {}, about.target.name), place);

  function answer(response, took, look = false) {
    const one = response.predictions[0];
    const parts = one.probabilities
      ? [el("p", { class: "answer" }, one.label, " ", el("small", {}, percent(one.confidence))),
        ...bars(Object.entries(one.probabilities), "Probability of each class")]
      : [el("p", { class: "answer" }, number(one.value)), el("p", { class: "hint" }, beside(about.target, one.value))];
    show(place, parts,
      response.notes.length ? el("ul", { class: "notes" }, response.notes.map((note) => el("li", {}, note))) : null,
      el("p", { class: "hint time" }, `Answered in ${seconds(took)}, of which ${seconds(response.seconds)} in the server.`));
    if (look) panel.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }
  const forget = () => show(place, el("p", { class: "empty" }, "The answer comes here."));
  return { panel, answer, forget };
}

function beside(target, value) {
  const away = (value - target.mean[0]) / target.scale[0];
  const where = Math.abs(away) < 0.05 ? "about the mean" : `${Math.abs(away).toFixed(1)} standard deviations ${away > 0 ? "above" : "below"} the mean`;
  return `${where} of the training data, ${number(target.mean[0])}`;
}

// Runs `work` at most once at a time, and once more if it was asked for meanwhile.
export function latest(work) {
  let running = false, again = false, last = [];
  return async function run(...given) {
    last = given;
    if (running) { again = true; return; }
    running = true;
    try {
      do { again = false; await work(...last); } while (again);
    } finally {
      running = false;
    }
  };
}
