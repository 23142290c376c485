/** The page: takes an image, has segment.js segment it, and shows what came out. */
const page = await (await fetch("page.json")).json();
const worker = new Worker(new URL("segment.js", import.meta.url), { type: "module" });
const MOST_PIXELS = 2 ** 24; // that a canvas may have on every phone
const element = (id) => document.getElementById(id);

let language = startLanguage();
let told = null; // what the status line says: {key, values}
let asked = null; // the image that is or was segmented last: {blob or its promise, name or example, model}
let id = 0; // of the last message to the worker; answers to older ones come too late

/** The last result: asked, image (RGB), labels, confidences, seconds; as segment.js returns it. */
export let shown = null;

// --- an image comes in ---------------------------------------------------------------------------

async function segment(source) {
  const now = ++id;
  tell("reading", { name: nameOf(source) });
  let canvas;
  try {
    canvas = await decoded(await source.blob);
  } catch {
    if (now === id) tell("unreadable", { name: nameOf(source) });
    return;
  }
  if (now !== id) return;
  asked = source;
  element("model").value = source.model.name;
  const { data, width, height } = canvas;
  const message = { id, model: source.model, longest: page.longest, data, width, height };
  worker.postMessage(message, [data.buffer]);
}

/** Upright RGBA as the file has it, on white where it is transparent. */
async function decoded(blob) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(blob, options);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

worker.onmessage = ({ data: answer }) => {
  if (answer.id !== id) return;
  if (answer.error) {
    tell("failed", { error: answer.error });
  } else if (answer.doing) {
    tell(answer.doing, { ...answer, model: asked.model.name, megabytes: asked.model.megabytes });
  } else {
    shown = { ...answer, asked };
    element("result").hidden = false;
    showImage();
    showColors();
    tell("done");
    element("result").scrollIntoView({ block: "nearest" });
  }
};
worker.onerror = (event) => tell("failed", { error: event.message ?? "" });

// --- a result is shown ---------------------------------------------------------------------------

function showImage() {
  const { data, width, height } = shown.image;
  const rgba = new ImageData(width, height);
  const pixels = new Uint32Array(rgba.data.buffer);
  for (let pixel = 0, from = 0; pixel < pixels.length; from += 3) {
    pixels[pixel++] = opaque(data[from], data[from + 1], data[from + 2]);
  }
  put("image", rgba);
}

/** Color the pixels above the threshold, and say each class's share of all pixels. */
function showColors() {
  if (!shown) return;
  const { labels, confidences, image, asked: { model } } = shown;
  const threshold = element("confidence").valueAsNumber / 100;
  const counts = new Map();
  const rgba = new ImageData(image.width, image.height);
  const pixels = new Uint32Array(rgba.data.buffer);
  const colors = model.colors.map((color) => opaque(...color));
  for (let pixel = 0; pixel < labels.length; pixel++) {
    const label = confidences[pixel] < threshold ? -1 : labels[pixel];
    counts.set(label, (counts.get(label) ?? 0) + 1);
    if (label >= 0) pixels[pixel] = colors[label];
  }
  put("colors", rgba);
  shown.shares = [...counts]
    .map(([label, count]) => ({ label, share: count / labels.length }))
    .sort((one, other) => (one.label < 0) - (other.label < 0) || other.share - one.share);
  showLegend();
}

/** The four bytes of a pixel as one number, the first byte last, as all of today's machines do. */
const opaque = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function put(canvas, pixels) {
  Object.assign(element(canvas), { width: pixels.width, height: pixels.height });
  element(canvas).getContext("2d").putImageData(pixels, 0, 0);
}

function showLegend() {
  if (!shown) return;
  const { model } = shown.asked;
  const rows = shown.shares.map(({ label, share }) => {
    const swatch = made("span", { className: "swatch" });
    if (label >= 0) swatch.style.background = `rgb(${model.colors[label].join()})`;
    const english = label >= 0 && className(label) !== model.names[label];
    const name = className(label) + (english ? ` · ${model.names[label]}` : "");
    const row = made("tr");
    row.append(made("td"), made("td", { textContent: percent(share) }));
    row.firstChild.append(swatch, name);
    return row;
  });
  element("legend").replaceChildren(...rows);
  const values = { name: nameOf(shown.asked), model: model.name, shares: sharesInWords() };
  element("picture").setAttribute("aria-label", say("described", values));
  element("caption").textContent = say("caption", values);
}

function sharesInWords(most = Infinity) {
  const shares = shown.shares.slice(0, most);
  const parts = shares.map(({ label, share }) => `${className(label)} ${percent(share)}`);
  return parts.join(say("comma"));
}

function showSliders() {
  for (const output of document.querySelectorAll("output")) {
    output.value = percent(element(output.htmlFor.value).valueAsNumber / 100, 0);
  }
  element("colors").style.opacity = element("opacity").valueAsNumber / 100;
}

// --- words ---------------------------------------------------------------------------------------

function startLanguage() {
  const wanted = [new URL(location).searchParams.get("lang"), ...navigator.languages];
  const known = wanted.map((one) => one?.slice(0, 2)).find((one) => one in page.texts);
  return known ?? "en";
}

/** A text in the page's language, with {values} put in. */
function say(key, values = {}) {
  const all = { ...page, ...values };
  return page.texts[language][key].replace(/\{(\w+)\}/g, (_, name) => all[name]);
}

function tell(key, values = {}) {
  told = { key, values };
  showStatus();
}

function showStatus() {
  if (!told) return;
  const { key, values } = told;
  const live = key === "done" && { seconds: decimal(shown.seconds), shares: sharesInWords(3) };
  element("status").textContent = say(key, { ...values, ...live });
  element("status").classList.toggle("error", key === "unreadable" || key === "failed");
}

function decimal(number, digits = 1, style = "decimal") {
  const digitsShown = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return number.toLocaleString(language, { style, ...digitsShown });
}

const percent = (share, digits) => decimal(share, digits, "percent");

const nameOf = (source) => (source.example ? say(source.example.name) : source.name);

function className(label) {
  if (label < 0) return say("below");
  const name = shown.asked.model.names[label];
  return page.texts[language].classes[name] ?? name;
}

function made(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

/** All words of the page; what is shown, chosen and typed stays. */
function showWords() {
  document.documentElement.lang = page.texts[language].tag;
  for (const one of document.querySelectorAll("[data-text]")) {
    one.textContent = say(one.dataset.text);
  }
  for (const one of document.querySelectorAll("[data-label]")) {
    one.ariaLabel = say(one.dataset.label);
  }
  for (const button of element("languages").children) {
    button.ariaPressed = button.lang === page.texts[language].tag;
  }
  for (const { name, megabytes } of page.models) {
    element(`about ${name}`).textContent = `${say(name)} ${say("size", { megabytes })}`;
  }
  for (const one of document.querySelectorAll("[data-example]")) {
    one.textContent = say(one.dataset.example);
  }
  showSliders();
  showLegend();
  showStatus();
}

// --- what a visitor can do -----------------------------------------------------------------------

for (const [code, texts] of Object.entries(page.texts)) {
  const button = made("button", { type: "button", lang: texts.tag, textContent: texts.self });
  button.onclick = () => {
    language = code;
    const address = new URL(location);
    address.searchParams.set("lang", code);
    history.replaceState(null, "", address);
    showWords();
  };
  element("languages").append(button);
}

for (const model of page.models) {
  element("model").append(made("option", { value: model.name, textContent: model.name }));
  const about = made("dd", { id: `about ${model.name}` });
  element("models").append(made("dt", { textContent: model.name }), about);

  const heading = made("h2");
  heading.dataset.example = `examples of ${model.name}`;
  const list = made("ul");
  const group = made("div");
  group.append(heading, list);
  element("examples").append(group);
  for (const example of page.examples.filter((one) => one.model === model.name)) {
    const button = made("button", { type: "button" });
    const name = made("span");
    name.dataset.example = example.name;
    button.append(made("img", { src: example.file, alt: "" }), name);
    if (example.credit) button.append(made("br"), made("small", { textContent: example.credit }));
    button.onclick = () => {
      const blob = fetch(example.file).then((response) => response.blob());
      segment({ blob, example, model });
    };
    const item = made("li");
    item.append(button);
    list.append(item);
  }
}

const open = (file) => file && segment({ blob: file, name: file.name, model: page.models[0] });
element("file").onchange = ({ target }) => {
  open(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};
document.ondragover = (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
};
document.ondragleave = (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
};
document.ondrop = (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  open(event.dataTransfer.files[0]);
};
element("model").onchange = ({ target }) => {
  const model = page.models.find((one) => one.name === target.value);
  segment({ ...asked, model });
};
element("opacity").oninput = showSliders;
element("confidence").oninput = () => {
  showSliders();
  showColors();
};

element("server").remove();
showWords();
