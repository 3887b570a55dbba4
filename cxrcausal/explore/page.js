"use strict";

const at = (id) => document.getElementById(id);
const words = (name) => name.replaceAll("_", " ");
let known, radiograph = null, last = null;

async function post(route, question) {
  const reply = await fetch(route, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(question),
  });
  if (!reply.ok) throw new Error((await reply.json()).error);
  return reply;
}

function complain(error) {
  at("error").textContent = error.message;
  at("error").hidden = false;
}

// "0–110 years", as far as the graph says.
function range(variable) {
  const bounds = variable.bounds ? `${variable.bounds[0]}–${variable.bounds[1]}` : "";
  return [bounds, variable.unit].filter(Boolean).join(" ");
}

// A select of levels or a number; empty is "unknown" of a value, "as it is" of an intervention.
function control(variable, empty) {
  let made;
  if (variable.levels.length) {
    made = document.createElement("select");
    made.append(new Option(empty, ""));
    const seen = variable.observed;
    for (const level of variable.levels) {
      const option = new Option(level, level);
      option.disabled = empty === "as it is" && (!seen || !seen.includes(level));
      made.append(option);
    }
  } else {
    made = document.createElement("input");
    made.type = "number";
    made.placeholder = empty;
    if (variable.bounds) [made.min, made.max] = variable.bounds;
    made.step = "any";
    made.title = range(variable);
  }
  return made;
}

function build() {
  for (const source of known.sources) at("model").append(new Option(words(source), source));
  at("model").value = known.source;
  at("graph-name").textContent = `graph ${known.graph}` +
    (known.exact ? "; its counterfactuals are exact" : "");
  for (const form of known.forms) at("form").append(new Option(form, form));
  at("form").value = known.guidance ? known.guidance.form : "none";
  at("weight").value = known.guidance ? known.guidance.weight : 1;
  if (!known.guidance) {
    at("form").disabled = at("weight").disabled = true;
    at("form").title = at("weight").title = "what is exact needs no guidance";
  }
  at("shown-weight").value = at("weight").value;
  const body = at("cells").tBodies[0];
  for (const variable of known.variables) {
    const row = body.insertRow();
    row.id = `row-${variable.name}`;
    const unit = range(variable) ? ` (${range(variable)})` : "";
    row.insertCell().textContent = words(variable.name) + unit;
    const value = control(variable, "unknown");
    value.id = `is-${variable.name}`;
    value.setAttribute("aria-label", `${words(variable.name)} is`);
    row.insertCell().append(value);
    const setting = control(variable, "as it is");
    setting.id = `do-${variable.name}`;
    setting.setAttribute("aria-label", `set ${words(variable.name)} to`);
    if (variable.defined) {
      setting.disabled = true;
      setting.title = "defined by the others; set those";
    } else if (!variable.observed) {
      setting.disabled = true;
      setting.title = "never observed by this model";
    }
    row.insertCell().append(setting);
    const answer = row.insertCell();
    answer.className = "answer";
    answer.id = `answer-${variable.name}`;
    const odds = row.insertCell();
    odds.className = "odds";
    odds.id = `odds-${variable.name}`;
  }
  draw({});
}

// The graph, with each variable's value, or what it was and what it would be.
function draw(states, before = {}, after = {}) {
  const [wide, high, across, down] = [108, 34, 118, 66];
  const x = (place) => place[0] * across, y = (place) => place[1] * down;
  const all = Object.values(known.places);
  const left = Math.min(...all.map(x)) - wide, right = Math.max(...all.map(x)) + wide;
  const top = Math.min(...all.map(y)) - high, bottom = Math.max(...all.map(y)) + high;
  const svg = at("graph");
  svg.setAttribute("viewBox", `${left} ${top} ${right - left} ${bottom - top}`);
  svg.replaceChildren();
  const add = (parent, kind, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent.append(made);
    return made;
  };
  const marker = add(add(svg, "defs", {}), "marker", {
    id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto",
  });
  add(marker, "path", { d: "M0 0 L8 4 L0 8 Z", style: "fill: #aab3bf; stroke: none" });
  for (const arrow of known.arrows) {
    const route = arrow.route.map((place) => [x(place), y(place)]);
    route[0] = [route[0][0], route[0][1] + high / 2];
    route[route.length - 1] = [route.at(-1)[0], route.at(-1)[1] - high / 2 - 1];
    const line = route.map((p, i) => `${i ? "L" : "M"}${p[0]} ${p[1]}`).join(" ");
    add(svg, "path", { d: line, "marker-end": "url(#head)" });
  }
  for (const [name, place] of Object.entries(known.places)) {
    const node = add(svg, "g", { class: states[name] || "same" });
    add(node, "rect", { x: x(place) - wide / 2, y: y(place) - high / 2, width: wide, height: high, rx: 4 });
    add(node, "text", { x: x(place), y: y(place) - 2 }).textContent =
      words(name).replace("enlarged cardiomediastinum", "wide mediastinum");
    const was = before[name] ?? "unknown", would = after[name] ?? was;
    add(node, "text", { x: x(place), y: y(place) + 11, class: "value" }).textContent =
      !(name in before) ? "" : would === was ? was : `${was} → ${would}`;
  }
}

function value_of(variable, text) {
  if (text === "") return null;
  return variable.levels.length ? text : Number(text);
}

function question() {
  const asked = { source: known.source, form: at("form").value, weight: Number(at("weight").value), do: {} };
  // The model's own weights, parent by parent, until somebody moves the slider.
  if (!at("weight").dataset.moved) { delete asked.form; delete asked.weight; }
  for (const variable of known.variables) {
    const value = value_of(variable, at(`do-${variable.name}`).value);
    if (value !== null) asked.do[variable.name] = value;
  }
  if (radiograph === null) {
    asked.seed = Number(at("seed").value);
  } else {
    asked.radiograph = radiograph;
    asked.values = {};
    for (const variable of known.variables) {
      asked.values[variable.name] = value_of(variable, at(`is-${variable.name}`).value);
    }
  }
  return asked;
}

function clear() {
  last = null;
  at("error").hidden = true;
  at("downloads").hidden = true;
  at("notes").replaceChildren();
  for (const id of ["counterfactual", "difference"]) at(id).removeAttribute("src");
  for (const variable of known.variables) {
    at(`row-${variable.name}`).className = "";
    at(`answer-${variable.name}`).textContent = at(`odds-${variable.name}`).textContent = "";
  }
  draw({});
}

async function show_patient() {
  clear();
  const asked = question();
  const found = await (await post("/api/patient", asked)).json();
  at("factual").src = `data:image/png;base64,${found.radiograph}`;
  at("factual-is").hidden = radiograph !== null;
  draw({}, found.values);
  for (const variable of known.variables) {
    const cell = at(`is-${variable.name}`);
    cell.value = found.values[variable.name] ?? "";
    cell.disabled = radiograph === null;
  }
}

async function ask() {
  clear();
  const asked = question();
  at("ask").disabled = true;
  try {
    const found = await (await post("/api/ask", asked)).json();
    last = asked;
    at("factual").src = `data:image/png;base64,${found.radiograph}`;
    at("counterfactual").src = `data:image/png;base64,${found.counterfactual}`;
    at("difference").src = `data:image/png;base64,${found.difference}`;
    for (const variable of known.variables) {
      const state = found.states[variable.name];
      at(`row-${variable.name}`).className = state;
      const cell = at(`answer-${variable.name}`);
      cell.textContent = state === "unknown" ? "unknown" : String(found.answer[variable.name] ?? "");
      const odds = found.probabilities[variable.name];
      if (odds) {
        const percent = (level) => `${(100 * odds[level]).toFixed(1)} %`;
        const level = "positive" in odds ? "positive" : found.answer[variable.name];
        const shown = at(`odds-${variable.name}`);
        if (level in odds) {
          const said = document.createElement("span");
          said.textContent = `${level} `;
          if (level === "positive") said.className = "wide";
          shown.replaceChildren(said, percent(level));
        }
        shown.title = Object.keys(odds).map((l) => `${l} ${percent(l)}`).join(", ");
      }
    }
    draw(found.states, found.values, found.answer);
    notes(found);
    at("downloads").hidden = false;
    if (getComputedStyle(at("worlds")).order === "-1") at("worlds").scrollIntoView();  // one column
    document.body.dataset.answered = "yes";
  } finally {
    at("ask").disabled = false;
  }
}

function notes(found) {
  const said = [];
  if (found.not_reconstructed) {
    said.push("This radiograph does not come back from its own noise: the difference shows the " +
      "image model's error most of all.");
  }
  const lost = [...new Set(found.blocked.map((line) => words(line.unknown)))];
  if (lost.length) said.push(`Unknown, may have changed, not followed: ${lost.join(", ")}.`);
  for (const [name, levels] of Object.entries(found.unobserved)) {
    said.push(`${words(name)} ${levels.join(", ")}: never observed by the image model, entered as unknown.`);
  }
  if (!Object.values(found.states).includes("changed")) {
    said.push("No other variable changes for this patient" +
      (Object.keys(found.probabilities).length ? "; the probabilities say how sure that is." : "."));
  }
  if (known.exact) {
    said.push(radiograph === null ? "The phantom's counterfactual is the true one."
      : "The answer is the true one only of a phantom with the values given here; of any other " +
        "radiograph it is a drawing laid over it.");
  }
  for (const text of said) {
    const line = document.createElement("li");
    line.textContent = text;
    at("notes").append(line);
  }
}

async function save(kind) {
  const reply = await post("/api/download", { ...last, as: kind });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await reply.blob());
  link.download = `counterfactual.${kind}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

async function upload(file) {
  if (!file) return;
  if (file.size * 4 / 3 + 65536 > known.largest) {  // base64 has four characters for three bytes
    at("upload").value = "";
    throw new Error(`this file has ${Math.ceil(file.size / 2 ** 20)} MiB; ` +
      `a question holds ${known.largest / 2 ** 20} MiB, which is a file of 23 MiB`);
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  const before = radiograph;
  radiograph = btoa(text);
  try {
    if (before === null) for (const variable of known.variables) at(`is-${variable.name}`).value = "";
    await show_patient();
  } catch (error) {
    radiograph = before;
    at("upload").value = "";
    throw error;
  }
}

function listen() {
  const safely = (work) => (event) => { event.preventDefault(); work(event).catch(complain); };
  at("guidance").addEventListener("submit", safely(ask));
  at("source").addEventListener("submit", (event) => event.preventDefault());
  at("model").addEventListener("change", () => {
    const seed = encodeURIComponent(at("seed").value);
    location.search = `?source=${encodeURIComponent(at("model").value)}&seed=${seed}`;
  });
  at("seed").addEventListener("change", safely(() => { radiograph = null; return show_patient(); }));
  at("another").addEventListener("click", safely(() => {
    radiograph = null;
    at("upload").value = "";
    at("seed").value = Number(at("seed").value) + 1;
    return show_patient();
  }));
  at("upload").addEventListener("change", safely(() => upload(at("upload").files[0])));
  at("weight").addEventListener("input", () => {
    at("weight").dataset.moved = "yes";
    at("shown-weight").value = at("weight").value;
  });
  at("form").addEventListener("change", () => { at("weight").dataset.moved = "yes"; });
  for (const button of at("downloads").querySelectorAll("button")) {
    button.addEventListener("click", safely(() => save(button.dataset.as)));
  }
}

// "/?source=phantom&seed=3&do=sex:Male&do=age:70" asks at once, so that an answer can be linked to.
async function begin() {
  const wanted = new URLSearchParams(location.search);
  const source = wanted.has("source") ? `?source=${encodeURIComponent(wanted.get("source"))}` : "";
  const reply = await fetch(`/api/describe${source}`);
  const told = await reply.json();
  if (!reply.ok) throw new Error(told.error);
  known = told;
  build();
  listen();
  if (wanted.has("seed")) at("seed").value = wanted.get("seed");
  await show_patient();
  for (const setting of wanted.getAll("do")) {
    const [name, value] = setting.split(":");
    const cell = at(`do-${name}`);
    if (cell) cell.value = value;
  }
  if (wanted.has("do")) await ask();
}

begin().catch(complain);
