// A form made from the columns of a table.
import { answerPanel, latest } from "./answer.js";
import { ask, complain, el, number, quoted, snippet } from "./ui.js";

const MOST_OPTIONS = 60;

export function tablePanel(about) {
  const fields = about.inputs.map(field);
  const { panel, answer, forget } = answerPanel(about);
  const values = () => Object.fromEntries(fields.map((one) => [one.name, one.value()]));
  let asked = false;

  const predict = latest(async (look) => {
    if (!form.reportValidity()) return;
    const began = performance.now();
    try {
      const response = await (await ask("/v1/predict", { json: { inputs: [values()] } })).json();
      complain(null);
      answer(response, (performance.now() - began) / 1000, look);
      asked = true;
    } catch (error) {
      complain(error);
    }
  });
  const form = el("form", { class: "panel", "aria-label": "Example", onsubmit: (event) => { event.preventDefault(); predict(true); },
    onchange: () => { if (asked) predict(); } },
    el("h2", {}, "An example"),
    el("div", { class: "fields" }, fields.map((one) => one.element)),
    el("p", { class: "hint" }, "What is left empty is taken as missing."),
    el("div", { class: "actions" },
      el("button", { type: "submit" }, "Predict"),
      el("button", { type: "button", onclick: () => { for (const one of fields) one.fill(); predict(true); } }, "Example values"),
      el("button", { type: "button", onclick: () => { form.reset(); asked = false; forget(); complain(null); fields[0].focus(); } }, "Clear")),
    snippet("/v1/predict", () => `--json ${quoted(JSON.stringify({ inputs: [values()] }))}`));
  return el("div", { class: "pair" }, form, panel);
}

function field(feature, place) {
  const id = `field-${place}`;
  const label = el("label", { htmlFor: id }, feature.name);
  const around = (control) => el("div", {}, label, control);
  if (feature.type === "number") {
    const control = el("input", { id, type: "number", step: "any", inputMode: "decimal", placeholder: `about ${number(feature.mean[0])}` });
    return { name: feature.name, element: around(control), value: () => (control.value === "" ? null : Number(control.value)),
      fill: () => { control.value = String(Number(feature.mean[0].toPrecision(3))); }, focus: () => control.focus() };
  }
  if (feature.type === "category" && feature.values.length <= MOST_OPTIONS) {
    const options = feature.values.map((value, index) => el("option", { value: String(index) }, value));
    const control = el("select", { id }, el("option", { value: "" }, "missing"), options);
    return { name: feature.name, element: around(control), value: () => (control.value === "" ? null : feature.values[Number(control.value)]),
      fill: () => { control.value = feature.values.length ? "0" : ""; }, focus: () => control.focus() };
  }
  const list = el("datalist", { id: `${id}-values` }, feature.values.map((value) => el("option", { value })));
  const control = feature.type === "text" ? el("textarea", { id, rows: 5 }) : el("input", { id, list: list.id, placeholder: "missing" });
  return { name: feature.name, element: el("div", {}, label, control, list), value: () => control.value || null,
    fill: () => { control.value = feature.values[0] ?? ""; }, focus: () => control.focus() };
}
