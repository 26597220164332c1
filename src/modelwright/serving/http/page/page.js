// The page of a model: asks the server what it has, and puts up what is made for it.
import { card } from "./card.js";
import { imagePanel } from "./image.js";
import { tablePanel } from "./table.js";
import { textPanel } from "./text.js";
import { ask, complain, el, show, useKey } from "./ui.js";

const place = (name) => document.getElementById(name);

async function open() {
  let about;
  try {
    about = await (await ask("/v1/card")).json();
  } catch (error) {
    place("name").textContent = error.status === 401 ? "Modelwright" : "No model";
    place("key").hidden = error.status !== 401;
    if (error.status === 401) place("key-value").focus();
    if (error.status !== 401 || place("key").dataset.tried) complain(error);
    return;
  }
  complain(null);
  place("key").hidden = true;
  document.title = `${about.name} · Modelwright`;
  place("name").textContent = about.name;
  place("what").textContent = about.what;
  const score = about.quality?.scores[0];
  show(place("facts"), [
    score && `${score.name} ${score.text} on the ${about.quality.split} split`,
    `${about.family}, ${about.parameters.toLocaleString("en")} parameters`,
  ].filter(Boolean).map((fact) => el("li", {}, fact)));
  const panel = about.target.type === "text" ? textPanel : about.kind === "image" ? imagePanel : tablePanel;
  show(place("try"), panel(about));
  show(place("card"), card(about));
}

place("key").addEventListener("submit", (event) => {
  event.preventDefault();
  place("key").dataset.tried = "yes";
  useKey(place("key-value").value);
  open();
});
open();
