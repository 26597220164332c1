// Draw an image, or drop one: the canvas has the proportions of what the model reads.
import { answerPanel, latest } from "./answer.js";
import { ask, complain, el, snippet } from "./ui.js";

const SIDE = 560;

export function imagePanel(about) {
  const [channels, height, width] = about.inputs[0].shape;
  // Ink on ground, as the training data has it: white on black where it is dark, and the other way round.
  const dark = about.inputs[0].mean.reduce((sum, mean) => sum + mean, 0) / channels < 0.5;
  const ground = dark ? "#000000" : "#ffffff";
  const scale = SIDE / Math.max(height, width);
  const canvas = el("canvas", { class: "draw", width: Math.round(width * scale), height: Math.round(height * scale), tabIndex: 0, role: "img",
    "aria-label": "Drawing", "aria-describedby": "draw-help" });
  const seen = el("canvas", { width, height, role: "img", "aria-label": "What the model sees" });
  const pen = canvas.getContext("2d"), small = seen.getContext("2d", { willReadFrequently: true });
  const cursor = el("div", { class: "pen" });
  const frame = el("div", { class: "canvas" }, canvas, cursor);
  const { panel, answer, forget } = answerPanel(about);
  let file = null, drawn = false;

  function look() {
    small.imageSmoothingQuality = "high";
    small.fillStyle = ground;
    small.fillRect(0, 0, width, height);
    small.drawImage(canvas, 0, 0, width, height);
    if (channels === 1) grey(small, width, height);
  }
  function clear() {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    file = null;
    drawn = false;
    look();
    forget();
    complain(null);
  }
  const predict = latest(async () => {
    if (!drawn) return;
    const body = file ?? (await new Promise((done) => { seen.toBlob(done, "image/png"); }));
    const began = performance.now();
    try {
      const response = await (await ask("/v1/predict", { method: "POST", body, headers: { "Content-Type": body.type } })).json();
      complain(null);
      if (drawn) answer(response, (performance.now() - began) / 1000);
    } catch (error) {
      complain(error);
    }
  });
  async function take(chosen) {
    if (!chosen) return;
    try {
      const picture = await createImageBitmap(chosen);
      pen.fillStyle = "#ffffff";
      pen.fillRect(0, 0, canvas.width, canvas.height);
      pen.imageSmoothingEnabled = picture.width > width;
      pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
      pen.imageSmoothingEnabled = true;
      picture.close();
    } catch {
      complain(new Error("This file is no image that the browser can show."));
      return;
    }
    file = chosen;
    drawn = true;
    look();
    predict();
  }

  const color = el("input", { type: "color", value: dark ? "#ffffff" : "#000000", "aria-label": "Color of the pen" });
  const size = el("input", { type: "range", min: "1", max: "20", value: "9", id: "pen-size" });
  drawing(canvas, cursor, {
    stroke(from, to) {
      file = null;
      drawn = true;
      pen.strokeStyle = color.value;
      pen.lineWidth = (Number(size.value) / 100) * Math.max(canvas.width, canvas.height);
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(to.x, to.y);
      pen.stroke();
      look();
    },
    done: predict,
    clear,
    step: scale,
  });
  dropping(frame, take);
  const input = el("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif,image/bmp", onchange: () => { take(input.files[0]); input.value = ""; } });
  const tools = el("section", { class: "panel", "aria-label": "Image" },
    el("h2", {}, "Draw, or drop an image"), frame,
    el("div", { class: "actions" },
      el("label", { class: "button" }, "Choose a file", input),
      el("button", { type: "button", onclick: () => { clear(); canvas.focus(); } }, "Clear")),
    el("div", { class: "seen" }, seen, el("p", { class: "hint" }, `What the model sees: ${width} × ${height} ${channels === 1 ? "grey" : "colored"} pixels.`)),
    el("details", {}, el("summary", {}, "Pen and keyboard"),
      el("div", { class: "row" }, channels === 1 ? null : color, el("label", { htmlFor: "pen-size" }, "Width"), size),
      el("p", { class: "hint", id: "draw-help" }, "On the drawing: arrow keys move the pen, with Shift farther; Space puts it down or lifts it; Delete clears. "
        + "An image can be pasted, too.")),
    snippet("/v1/predict", () => "-H 'Content-Type: image/png' --data-binary @image.png"));
  clear();
  return el("div", { class: "pair narrow" }, tools, panel);
}

function grey(context, width, height) {
  const image = context.getImageData(0, 0, width, height);
  for (let i = 0; i < image.data.length; i += 4) {
    const level = 0.299 * image.data[i] + 0.587 * image.data[i + 1] + 0.114 * image.data[i + 2];
    image.data[i] = image.data[i + 1] = image.data[i + 2] = level;
  }
  context.putImageData(image, 0, 0);
}

// By pointer (mouse, finger, pen) and by keyboard.
function drawing(canvas, cursor, { stroke, done, clear, step }) {
  let last = null, down = false;
  const at = { x: canvas.width / 2, y: canvas.height / 2 };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: ((event.clientX - box.left) * canvas.width) / box.width, y: ((event.clientY - box.top) * canvas.height) / box.height };
  };
  const mark = () => {
    cursor.style.left = `${(100 * at.x) / canvas.width}%`;
    cursor.style.top = `${(100 * at.y) / canvas.height}%`;
    cursor.classList.toggle("down", down);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(last, last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const part of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      const next = point(part);
      stroke(last, next);
      last = next;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { if (last) { last = null; done(); } });
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      down = !down;
      if (down) stroke(at, at);
      else done();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      clear();
    } else if (ways[event.key]) {
      const [x, y] = ways[event.key], from = { ...at }, far = (event.shiftKey ? 4 : 1) * step;
      at.x = Math.min(canvas.width, Math.max(0, at.x + x * far));
      at.y = Math.min(canvas.height, Math.max(0, at.y + y * far));
      if (down) { stroke(from, at); done(); }
    } else {
      return;
    }
    event.preventDefault();
    mark();
  });
  mark();
}

function dropping(frame, take) {
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      frame.classList.toggle("over", name === "dragover");
      if (name === "drop") take([...event.dataTransfer.files].find((file) => file.type.startsWith("image/")));
    });
  }
  document.addEventListener("paste", (event) => take([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
}
