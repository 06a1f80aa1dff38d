// Drawing: every text goes into the page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

export function element(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// Changes a text only where it is another: what is selected or read aloud stays so.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function classed(node, name) {
  if (node.className !== name) node.className = name;
}

// Makes the children of a node those of a list: by key, so that what stays keeps its focus.
export function sync(parent, items, keyOf, create, update) {
  const known = new Map();
  for (const child of parent.children) known.set(child.dataset.key, child);
  const seen = new Map();
  let place = parent.firstElementChild;
  items.forEach((item, index) => {
    const base = String(keyOf(item, index));
    const count = seen.get(base) ?? 0;
    seen.set(base, count + 1);
    const key = `${count}:${base}`;
    let child = known.get(key);
    known.delete(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item, index);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  });
  for (const gone of known.values()) gone.remove();
}

export function number(value) {
  if (value === 0) return "0";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(3)));
}

function seconds(value) {
  const size = Math.abs(value);
  if (size < 1) return `${number(value * 1000)} ms`;
  if (size < 120) return `${number(value)} s`;
  if (size < 7200) return `${number(value / 60)} min`;
  return size < 172800 ? `${number(value / 3600)} h` : `${number(value / 86400)} d`;
}

export function shown(value, unit) {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  switch (unit) {
    case "s": return seconds(value);
    case "share": return `${(value * 100).toFixed(1)} %`;
    case "USD": return `$${value.toFixed(Math.abs(value) < 1 ? 4 : 2)}`;
    case "time": return moment(value);
    default: return number(value);
  }
}

export function moment(at) {
  const when = new Date(at * 1000);
  if (Number.isNaN(when.getTime())) return "?";
  return when.toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

// A curve: points are [seconds, value]; the picture says in words what it shows.
export function plot(svg, points, title, unit) {
  const values = points.map(([, value]) => value);
  const last = values.at(-1);
  const said = values.length
    ? `${title}: ${shown(last, unit)} now, from ${shown(Math.min(...values), unit)} to ${shown(Math.max(...values), unit)}`
    : `${title}: nothing yet`;
  if (svg.getAttribute("aria-label") !== said) svg.setAttribute("aria-label", said);
  const [area, line] = svg.children;
  if (values.length < 2) {
    area.setAttribute("d", "");
    line.setAttribute("d", "");
    return;
  }
  const [least, most] = unit === "price" ? [Math.min(...values), Math.max(...values)]
    : [Math.min(0, ...values), Math.max(...values)];
  const [first, end] = [points[0][0], points.at(-1)[0]];
  const x = (at) => (100 * (at - first)) / (end - first || 1);
  const y = (value) => 38 - (36 * (value - least)) / (most - least || 1);
  const path = points.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(2)} ${y(value).toFixed(2)}`).join("");
  line.setAttribute("d", path);
  area.setAttribute("d", `${path}L100 40L0 40Z`);
}

export function emptyPlot() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const area = document.createElementNS(SVG, "path");
  area.setAttribute("class", "area");
  svg.append(area, document.createElementNS(SVG, "path"));
  return svg;
}

// A figure: a number with a curve of how it went.
export function emptyFigure() {
  return element("figure", {}, element("figcaption", {}, element("span"), element("span")), element("strong"), emptyPlot());
}

export function figure(node, title, points, unit, value) {
  const [caption, strong, svg] = node.children;
  write(caption.firstChild, title);
  write(strong, shown(value, unit) || "–");
  plot(svg, points, title, unit);
}

// A table of columns {title, unit} and rows {cells, tone, extra}; extra is what is behind the cells.
export function table(node, columns, rows, keyOf, label, extra) {
  if (!node.tHead) {
    node.append(element("thead", {}, element("tr")), element("tbody"));
    if (label) node.setAttribute("aria-label", label);
  }
  const heads = extra ? [...columns, { title: extra.title, unit: "" }] : columns;
  sync(node.tHead.rows[0], heads, (column, index) => `${index}${column.title}`,
    () => element("th", { scope: "col" }),
    (cell, column, index) => {
      write(cell, column.title);
      classed(cell, isRight(column, rows[0]?.cells[index]) ? "number" : "");
    });
  sync(node.tBodies[0], rows, keyOf, () => element("tr"), (row, item) => {
    classed(row, item.tone ?? "");
    const cells = extra ? [...item.cells, null] : item.cells;
    const isExtra = (index) => Boolean(extra) && index === cells.length - 1;
    sync(row, cells, (_, index) => (isExtra(index) ? "extra" : index), () => element("td"), (cell, value, index) => {
      if (isExtra(index)) {
        extra.fill(cell, item);
        return;
      }
      const column = columns[index] ?? { unit: "" };
      write(cell, shown(value, column.unit));
      classed(cell, isRight(column, value) ? "number" : "");
    });
  });
}

function isRight(column, value) {
  return ["s", "USD", "share"].includes(column.unit) || (typeof value === "number" && column.unit !== "time");
}
