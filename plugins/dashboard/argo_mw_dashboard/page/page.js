import { classed, element, emptyFigure, emptyPlot, figure, moment, number, plot, shown, sync, table, write } from "./draw.js";
import { Refused, Unanswered, follow, forgetToken, keepToken, press, takeToken } from "./live.js";

const KEPT = 150; // readings of two seconds that curves are drawn from: five minutes
const SHOWN = 20; // lines of a panel that are shown at first
const WINDOW = 30; // seconds: rates over more, as those of the first reading, are in no curve
const LATE = 10_000; // milliseconds after which what is shown counts as old

const found = (id) => document.getElementById(id);
let token = takeToken();
let instance = "";
let stream = new AbortController();
let heardAt = 0;
const past = new Map(); // name of a curve -> its points

function curveOf(name, { at, seconds }, value) {
  let points = past.get(name) ?? [];
  // What is read after this is of a clock that was put back since: the curve begins anew.
  if (points.length && at < points.at(-1)[0]) points = [];
  if (seconds <= WINDOW && at !== points.at(-1)?.[0]) points.push([at, value]);
  while (points.length > KEPT) points.shift();
  past.set(name, points);
  return points;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

// What is shown

function show(snapshot) {
  heardAt = Date.now();
  found("shown").hidden = false;
  found("ask").hidden = true;
  say(snapshot);
  problems(snapshot.problems);
  figures(snapshot);
  chain(snapshot);
  operations(snapshot);
  panels(snapshot);
  journal(snapshot.journal);
}

function say(snapshot) {
  const programs = snapshot.instances.length;
  const state = found("state");
  classed(state, programs ? "" : "stale");
  write(state, `live, ${programs} program${programs === 1 ? "" : "s"}`);
  state.title = `read ${moment(snapshot.at)}; rates over ${number(snapshot.seconds)} s`;
  const choices = [{ name: "" }, ...snapshot.instances];
  const gone = instance !== "" && !snapshot.instances.some((one) => one.name === instance);
  if (gone) choices.push({ name: instance, gone });
  sync(found("instance"), choices, (one) => one.name, (one) => element("option", { value: one.name }),
    (option, one) => write(option, choice(one)));
  if (found("instance").value !== instance) found("instance").value = instance;
}

function choice(one) {
  if (!one.name) return "all programs";
  return one.gone ? `${one.name} (not seen now)` : `${one.name} (${number(one.calls)} calls/s, ${one.build})`;
}

function problems(texts) {
  const section = found("problems");
  section.hidden = texts.length === 0;
  sync(section.querySelector("ul"), texts, (text) => text, () => element("li"), (item, text) => write(item, text));
}

function figures(snapshot) {
  const { operations: all } = snapshot;
  const calls = sum(all.map((one) => one.calls));
  const hits = sum(all.map((one) => sum(Object.values(one.hits))));
  const drawn = [
    ["calls a second", calls, ""],
    ["answered by a layer", calls ? hits / calls : 0, "share"],
    ["errors a second", sum(all.map((one) => sum(Object.values(one.errors)))), ""],
    ["requests a second", sum(snapshot.upstreams.map((one) => one.requests)), ""],
    ["spent an hour", sum(all.map((one) => one.usd)), "USD"],
    ["saved an hour", sum(all.map((one) => sum(Object.values(one.saved_usd)))), "USD"],
  ];
  sync(found("figures"), drawn, ([title]) => title, emptyFigure,
    (node, [title, value, unit]) => figure(node, title, curveOf(title, snapshot, value), unit, value));
}

function chain(snapshot) {
  const flags = snapshot.panels.find((one) => one.name === "argo.flags");
  const lines = new Map((flags?.views[""]?.lines ?? []).map((line) => [line.key, line]));
  const items = [{ name: "caller", end: true }, ...snapshot.layers, { name: "upstream", end: true, acts: {} }];
  sync(found("chain"), items, (layer) => layer.name, layerBox, (box, layer) => {
    if (layer.end) return;
    classed(box, layer.off ? "off" : "");
    const [, rule, acts, curve, buttons] = box.children;
    write(rule, layer.rule);
    const shownActs = Object.entries(layer.acts);
    sync(acts, shownActs.flat(), (_, index) => index, (value) => element(typeof value === "number" ? "dd" : "dt"), (node, value) => {
      write(node, typeof value === "number" ? number(value) : value);
    });
    plot(curve, curveOf(`layer ${layer.name}`, snapshot, sum(Object.values(layer.acts))), `${layer.name}, acts a second`, "");
    const line = lines.get(layer.flag);
    fillButtons(buttons, flags, line);
  });
}

function layerBox(layer) {
  if (layer.end) return element("li", { class: "end" }, layer.name);
  return element("li", {}, element("h3", {}, layer.name), element("p"), element("dl"), emptyPlot(), element("div", { class: "buttons" }));
}

const OPERATIONS = [
  { title: "operation", unit: "" }, { title: "calls/s", unit: "" }, { title: "hit rate", unit: "share" },
  { title: "p50", unit: "s" }, { title: "p95", unit: "s" }, { title: "p99", unit: "s" },
  { title: "errors/s", unit: "" }, { title: "USD/h", unit: "USD" }, { title: "saved/h", unit: "USD" },
  { title: "answered by", unit: "" }, { title: "age p50", unit: "s" }, { title: "age p95", unit: "s" },
  { title: "calls", unit: "" },
];

function operations(snapshot) {
  const rows = snapshot.operations.map((one) => {
    const by = Object.entries(one.hits).map(([layer, rate]) => `${layer} ${number(rate)}/s${saved(one, layer)}`);
    if (one.loads) by.push(`upstream ${number(one.loads)}/s`);
    const errors = Object.entries(one.errors).map(([kind, rate]) => `${kind} ${number(rate)}`).join("\n");
    return {
      cells: [one.name, one.calls, one.hit_rate, one.p50, one.p95, one.p99, errors || "0", one.usd,
        sum(Object.values(one.saved_usd)), by.join("\n"), one.age_p50, one.age_p95, one.total],
    };
  });
  table(found("operations"), OPERATIONS, rows, (row) => row.cells[0]);
}

function saved(one, layer) {
  const usd = one.saved_usd[layer];
  return usd ? `, saves ${shown(usd, "USD")}/h` : "";
}

// Panels

function panels(snapshot) {
  const wanted = snapshot.panels.filter((panel) => Object.values(panel.views).some(
    (view) => view.lines.length || view.plots.length || view.text));
  sync(found("panels"), wanted, (panel) => panel.name, panelSection, fillPanel);
}

function panelSection(panel) {
  const id = `panel-${panel.name}`;
  const filter = element("input", { type: "search", placeholder: "filter", "aria-label": `Filter ${panel.title}` });
  const more = element("button", { type: "button", hidden: true });
  const section = element("section", { class: "panel", "aria-labelledby": id },
    element("header", {}, element("h2", { id }, panel.title), filter),
    element("p", { class: "hint" }), element("div", { class: "plots" }),
    element("div", { class: "wide", role: "group", tabindex: "0", "aria-labelledby": id }, element("table")), more);
  filter.addEventListener("input", () => fillPanel(section, section.panel));
  more.addEventListener("click", () => { section.all = !section.all; fillPanel(section, section.panel); });
  return section;
}

function fillPanel(section, panel) {
  section.panel = panel;
  const [header, hint, plots, wide, more] = section.children;
  const views = Object.entries(panel.views);
  const several = views.length > 1;
  write(hint, [...new Set(views.map(([, view]) => view.text).filter(Boolean))].join(" · "));
  hint.hidden = hint.textContent === "";
  const curves = views.flatMap(([name, view]) => view.plots.map((one) => ({ ...one, name: several ? `${one.title}, ${name}` : one.title })));
  plots.hidden = curves.length === 0;
  sync(plots, curves, (one) => one.name, emptyFigure, (node, one) => figure(node, one.name, one.points, one.unit || "price", one.points.at(-1)?.[1]));

  const wanted = header.lastChild.value.trim().toLowerCase();
  const lines = views.flatMap(([name, view]) => view.lines.map((line) => (
    { ...line, name, cells: padded(several ? [name, ...line.cells] : line.cells, panel.columns.length + several), first: line.cells[0] })));
  const matching = wanted ? lines.filter((line) => line.cells.some((cell) => String(cell).toLowerCase().includes(wanted))) : lines;
  const drawn = section.all ? matching : matching.slice(0, SHOWN);
  header.lastChild.hidden = lines.length <= SHOWN;
  more.hidden = matching.length <= SHOWN;
  write(more, section.all ? `Show ${SHOWN}` : `Show all ${matching.length}`);
  wide.hidden = lines.length === 0;
  const columns = several ? [{ title: "program", unit: "" }, ...panel.columns] : panel.columns;
  const extra = panel.buttons.length
    ? { title: "", fill: (cell, line) => fillButtons(holder(cell), panel, line) } : undefined;
  table(wide.firstChild, columns, drawn, (line, index) => (line.key ? `${line.name} ${line.key}` : index), panel.title, extra);
}

// Buttons are behind the last column, also of a line with fewer cells.
function padded(cells, length) {
  return Array.from({ length }, (_, index) => cells[index] ?? null);
}

function holder(cell) {
  if (!cell.firstChild) cell.append(element("div", { class: "buttons" }));
  return cell.firstChild;
}

function fillButtons(node, panel, line) {
  const offered = line?.key ? panel.buttons.filter((one) => line.buttons === null || line.buttons.includes(one.name)) : [];
  node.line = line;
  sync(node, offered, (one) => one.name, (one) => element("button", { type: "button" }), (button, one) => {
    const first = shown(line.first ?? line.cells[0]);
    write(button, one.label);
    const label = `${one.label}: ${first}`;
    if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
    // What is asked and done is about the line as it was when the button was pressed.
    button.onclick = () => ask(panel.name, one, node.line.key, first);
  });
}

function journal(entries) {
  const section = found("journal");
  section.hidden = entries.length === 0;
  const columns = [{ title: "when", unit: "time" }, { title: "what", unit: "" }, { title: "why", unit: "" }, { title: "by", unit: "" }];
  const rows = entries.map((one) => ({ cells: [one.at, one.what, one.why, one.by] }));
  table(section.querySelector("table"), columns, rows, (row) => `${row.cells[0]} ${row.cells[1]}`);
}

// What a person does

const confirm = found("confirm");

function ask(panel, button, key, first) {
  write(found("question"), button.question.replace("{}", () => first));
  write(found("yes"), button.label);
  confirm.returnValue = "";
  confirm.onclose = async () => {
    if (confirm.returnValue !== "yes") return;
    const said = found("said");
    classed(said, "said");
    write(said, `${button.label}: ${first} …`);
    try {
      const done = await press(token, panel, button.name, key);
      write(said, done);
    } catch (error) {
      classed(said, "said failed");
      write(said, error instanceof Unanswered ? "No answer came: the journal says whether it was done" : `Not done: ${error.message}`);
      if (error instanceof Refused) askForToken(error.message);
    }
  };
  confirm.showModal();
}

// The token, and the stream

function askForToken(why) {
  forgetToken();
  token = null;
  stream.abort();
  if (why) write(found("why"), `${why}. The address that argo-mw dashboard prints holds it.`);
  found("shown").hidden = true;
  found("ask").hidden = false;
  classed(found("state"), "stale");
  write(found("state"), "a token is needed");
  found("token").focus();
}

found("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  token = found("token").value.trim();
  found("token").value = "";
  keepToken(token);
  connect();
});

found("instance").addEventListener("change", (event) => {
  instance = event.target.value;
  past.clear();
  connect();
});

addEventListener("hashchange", () => {
  token = takeToken();
  if (token) connect();
});

async function connect() {
  stream.abort();
  const current = (stream = new AbortController());
  while (!current.signal.aborted) {
    try {
      await follow(token, instance, heard, current.signal);
    } catch (error) {
      if (current.signal.aborted) return;
      if (error instanceof Refused) {
        askForToken(error.message);
        return;
      }
      console.error(error);
    }
    if (current.signal.aborted) return;
    old("not connected; trying again");
    await new Promise((resume) => { setTimeout(resume, 2000); });
  }
}

function heard(name, data) {
  if (name === "snapshot") show(data);
  else old(`cannot be read: ${data}`);
}

function old(why) {
  classed(found("state"), "stale");
  write(found("state"), why);
}

setInterval(() => {
  const silent = Math.abs(Date.now() - heardAt); // a clock that is put back makes nothing new
  if (heardAt && silent > LATE && token) old(`old: nothing new since ${moment(heardAt / 1000)}`);
}, 2000);

if (token) connect();
else askForToken("");
