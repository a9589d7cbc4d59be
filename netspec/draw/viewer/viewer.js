// The page: boxes open on a click, a search, and a panel with what is known of a layer.

const SVG = "http://www.w3.org/2000/svg";
const net = JSON.parse(document.getElementById("net").textContent);
const sideways = net.sideways;
const open = new Set(net.opened);
const byId = (id) => document.getElementById(id);
let chosen = null; // the box that stands for the layer whose properties are shown
let view = null; // {x, y, scale} of the drawing in the window
const MIN_FIRST_SCALE = 0.8;
const maxFirstScale = (width) => (width > 900 ? 1.2 : 1);

// ------------------------------------------------------------------ marks

function element(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawInside(placed, depth) {
  const { module, layout } = placed;
  const begin = module.space.entries;
  const marks = [];
  for (const [line, arrows] of linePaths(layout.segments, sideways)) {
    marks.push(element("path", { class: "l", d: line }));
    if (arrows) marks.push(element("path", { class: "arrow", d: arrows }));
  }
  module.children.forEach((child, k) => {
    const node = begin + k, size = placed.sizes[node];
    const [x, y] = flip(...layout.centres[node], sideways);
    const corner = `translate(${(x - size.width / 2).toFixed(1)} ${(y - size.height / 2).toFixed(1)})`;
    const group = element("g", { transform: corner });
    const inside = placed.insides[node];
    if (inside) drawPanel(group, child, inside, depth);
    else {
      group.innerHTML = child.svg;
      if (child.id === undefined) asLayer(group, child);
      else asButton(group, child, false);
    }
    marks.push(group);
  });
  module.lines.forEach((line, number) => {
    if (!line.caption || placed.insides[line.source]) return;
    const [x, y] = flip(...layout.starts[number], sideways);
    const [dx, dy] = sideways ? CAPTION_SHIFT_SIDEWAYS : CAPTION_SHIFT;
    const at = { x: (x + dx).toFixed(1), y: (y + dy).toFixed(1) };
    marks.push(element("text", { ...at, class: "s" }, line.caption));
  });
  return marks;
}

function drawPanel(group, child, inside, depth) {
  const { width, height } = inside.size;
  group.append(element("rect", { class: `m m${depth % 2}`, width, height, rx: 10 }));
  group.append(...drawInside(inside, depth + 1));
  const title = element("g", {});
  const wide = inside.module.headerWidth + 24;
  title.append(
    element("rect", { class: `m${depth % 2}`, x: 8, y: 5, width: wide, height: 18, rx: 4 }),
    element("text", { x: 12, y: 18, class: "g" }, `▾ ${inside.module.header}`));
  asButton(title, child, true);
  group.append(title);
}

function asButton(group, child, isOpen) {
  group.classList.add("button");
  group.setAttribute("tabindex", "0");
  group.setAttribute("role", "button");
  group.setAttribute("aria-expanded", String(isOpen));
  group.setAttribute("aria-label", `module ${child.path}`);
  group.dataset.module = child.id;
  const toggle = () => {
    moved = true;
    if (isOpen) open.delete(child.id);
    else open.add(child.id);
    draw();
    const again = document.querySelector(`[data-module="${child.id}"]`);
    if (again) again.focus({ preventScroll: true });
  };
  onUse(group, toggle);
}

function asLayer(group, child) {
  group.classList.add("button");
  group.setAttribute("tabindex", "0");
  group.setAttribute("role", "button");
  group.setAttribute("aria-label", `layer ${net.boxes[child.box].map((row) => row.name).join(", ")}`);
  group.dataset.box = child.box;
  if (child.box === chosen) group.classList.add("chosen");
  onUse(group, () => choose(child.box));
}

function onUse(group, action) {
  group.addEventListener("click", (event) => {
    event.stopPropagation();
    if (!dragged) action();
  });
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action();
  });
}

let placedRoot = null;

function draw() {
  placedRoot = placeModule(net, open, 0);
  byId("drawing").replaceChildren(...drawInside(placedRoot, 0));
}

// ------------------------------------------------------------------ properties

function choose(box) {
  moved = true;
  chosen = net.drawn[box];
  document.querySelectorAll(".chosen").forEach((one) => one.classList.remove("chosen"));
  const group = document.querySelector(`[data-box="${chosen}"]`);
  if (group) group.classList.add("chosen");
  const panel = byId("properties");
  panel.replaceChildren(...net.boxes[box].flatMap(properties));
  document.body.classList.add("with-properties");
}

function properties(row) {
  const made = [html("h2", row.name), html("p", row.type + (row.phase ? `, ${row.phase} only` : ""))];
  if (row.mistake) made.push(html("p", row.mistake, "mistake"));
  const table = document.createElement("table");
  const add = (name, value) => {
    const line = table.insertRow();
    line.append(html("th", name), html("td", value));
  };
  row.bottoms.forEach((name) => add("reads", name));
  row.tops.forEach(([name, shape]) => add("makes", shape ? `${name}  ${shape}` : name));
  row.params.forEach((text) => add("parameter", text));
  if (row.macs) add("multiply-adds", row.macs.toLocaleString("en"));
  made.push(table, html("pre", row.text));
  return made;
}

function html(tag, content, kind) {
  const made = document.createElement(tag);
  made.textContent = content;
  if (kind) made.className = kind;
  return made;
}

// ------------------------------------------------------------------ search

const names = net.boxes.flatMap((rows, box) =>
  rows.map((row) => ({ box, name: row.name, text: `${row.name} ${row.type}`.toLowerCase() })));

function search() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length
    ? names.filter((one) => words.every((word) => one.text.includes(word))) : [];
  const list = byId("found");
  list.replaceChildren(...found.slice(0, 50).map((one) => {
    const item = html("button", one.name);
    item.addEventListener("click", () => show(one.box));
    return item;
  }));
  byId("count").textContent = words.length ? `${found.length} found` : "";
  return found;
}

function show(box) {
  moved = true;
  net.around[net.drawn[box]].forEach((id) => open.add(id));
  draw();
  choose(box);
  const group = document.querySelector(`[data-box="${chosen}"]`);
  const area = byId("stage").getBoundingClientRect(), at = group.getBoundingClientRect();
  view.x += area.left + area.width / 2 - (at.left + at.width / 2);
  view.y += area.top + area.height / 2 - (at.top + at.height / 2);
  move();
  group.focus({ preventScroll: true });
}

// ------------------------------------------------------------------ window

let dragged = false, moved = false; // now, and at all, by hand

function move() {
  byId("drawing").setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
}

// Return how much of the drawing's sides fits in the window, and all of it.
function scales(area) {
  const { width, height } = placedRoot.size;
  const [wide, high] = [(area.width - 20) / width, (area.height - 20) / height];
  return { across: sideways ? high : wide, whole: Math.min(wide, high) };
}

function look(scale) {
  const area = byId("stage").getBoundingClientRect(), { width, height } = placedRoot.size;
  // What is too wide begins in the middle of the first boxes.
  const [x, y] = flip(...placedRoot.layout.centres[0] || [0, 0], sideways);
  const at = (room, size, place) => scale * size <= room ? (room - scale * size) / 2
    : Math.min(10, Math.max(room - 10 - scale * size, room / 2 - scale * place));
  view = { scale, x: sideways ? 10 : at(area.width, width, x),
    y: sideways ? at(area.height, height, y) : 10 };
  move();
}

function fit() {
  look(Math.min(1, scales(byId("stage").getBoundingClientRect()).whole));
}

// The beginning of the net, in letters that can be read.
function begin() {
  const area = byId("stage").getBoundingClientRect(), { across, whole } = scales(area);
  const most = maxFirstScale(area.width);
  look(Math.max(MIN_FIRST_SCALE, Math.min(most, whole > 1 ? whole : across)));
}

function zoom(factor, x, y) {
  const scale = Math.min(4, Math.max(0.02, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  move();
}

function setAll(isOpen) {
  open.clear();
  if (isOpen) {
    for (const module of net.modules) {
      for (const child of module.children) if (child.id !== undefined) open.add(child.id);
    }
  }
  draw();
  moved = false;
  begin();
}

const stage = byId("stage");
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  moved = true;
  const area = stage.getBoundingClientRect();
  if (event.ctrlKey || event.metaKey) {
    zoom(Math.exp(-event.deltaY / 300), event.clientX - area.left, event.clientY - area.top);
    return;
  }
  view.x -= event.deltaX;
  view.y -= event.deltaY;
  move();
}, { passive: false });
stage.addEventListener("pointerdown", (event) => {
  const from = { x: event.clientX - view.x, y: event.clientY - view.y };
  const start = [event.clientX, event.clientY];
  dragged = false;
  const drag = (now) => {
    dragged = dragged || Math.hypot(now.clientX - start[0], now.clientY - start[1]) > 4;
    if (!dragged) return;
    moved = true;
    view.x = now.clientX - from.x;
    view.y = now.clientY - from.y;
    move();
  };
  window.addEventListener("pointermove", drag);
  window.addEventListener("pointerup", () => window.removeEventListener("pointermove", drag), { once: true });
});
const centre = (factor) => zoom(factor, stage.clientWidth / 2, stage.clientHeight / 2);
byId("in").addEventListener("click", () => centre(1.25));
byId("out").addEventListener("click", () => centre(0.8));
byId("fit").addEventListener("click", fit);
byId("open").addEventListener("click", () => setAll(true));
byId("close").addEventListener("click", () => setAll(false));
byId("search").addEventListener("input", search);
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && search().length) show(search()[0].box);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== byId("search")) {
    event.preventDefault();
    byId("search").focus();
  } else if (event.key === "Escape") {
    document.body.classList.remove("with-properties");
    byId("search").value = "";
    search();
  }
});
window.addEventListener("resize", () => (moved ? move() : begin()));
draw();
begin();
