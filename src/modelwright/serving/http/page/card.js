// The card of a model: how good it is, of what data, and how it was made.
import { el, number, seconds } from "./ui.js";

export function card(about) {
  const { quality, data, settings, versions } = about;
  const columns = [
    quality && el("div", {}, el("h3", {}, `Scores on the ${quality.split} split, with 95 % intervals`),
      table(quality.scores.map((score, place) => [score.name, score.text, place === 0]))),
    el("div", {},
      quality?.baselines.length ? [el("h3", {}, `Baselines: ${quality.scores[0].name}`), table(quality.baselines.map((one) => [one.name.replaceAll("_", " "), one.text]))] : null,
      el("h3", {}, "Data"),
      table([["name", data.name], ...Object.entries(data.splits).map(([name, count]) => [name, `${count.toLocaleString("en")} ${about.kind === "text" ? "tokens" : "examples"}`]),
        ["digest", data.digest.slice(0, 16)]].filter(([, value]) => value))),
    el("div", {}, el("h3", {}, "Model"),
      table([["family", about.family], ["parameters", about.parameters.toLocaleString("en")],
        about.training_seconds ? ["trained for", seconds(about.training_seconds)] : null,
        ...Object.entries(settings.model).filter(([name, value]) => name !== "family" && value !== null).map(([name, value]) => [name.replaceAll("_", " "), worded(value)]),
      ].filter(Boolean).slice(0, 12))),
  ];
  return el("div", { class: "panel" }, el("h2", {}, "About this model"), quality ? el("p", {}, quality.summary) : null,
    el("div", { class: "columns" }, columns.filter(Boolean)),
    about.target.type === "text" ? null : schema(about),
    about.recipe ? el("details", {}, el("summary", {}, "Recipe"), el("pre", { tabIndex: 0 }, about.recipe)) : null,
    el("p", { class: "hint time" }, `Made with ${Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ") || "an unknown version"}.`));
}

function table(rows) {
  return el("table", {}, el("tbody", {}, rows.map(([name, value, first]) => el("tr", { class: first ? "first" : "" }, el("th", { scope: "row" }, name), el("td", {}, value)))));
}

function schema(about) {
  const rows = [...about.inputs, about.target].map((feature) => [feature.name, feature.type === "number" ? `${feature.description}, ${number(feature.mean[0])} ± ${number(feature.scale[0])}` : feature.description]);
  return el("details", {}, el("summary", {}, "What goes in and comes out"), table(rows));
}

function worded(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return Array.isArray(value) ? value.join(", ") || "none" : String(value);
}
