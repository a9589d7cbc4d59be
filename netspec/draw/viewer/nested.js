
// Places of everything in open modules, the innermost first: what netspec/draw/nested.py
// does, for whichever modules are open in a page. What does not depend on that comes
// from Python: the room of closed boxes, the space around a module's inside, and which
// of its nodes a line from or to it has as its start or end.

const turned = (size, sideways) =>
  sideways ? { width: size.height, height: size.width } : size;

// Place what is in a module, and in those of its modules that are open.
function placeModule(net, open, id) {
  const module = net.modules[id], { sideways } = net;
  const begin = module.space.entries;
  const nothing = { width: 0, height: 0 };
  const insides = {};
  const sizes = Array(begin).fill(nothing), rooms = [...sizes];
  let stem = 0;
  module.children.forEach((child, k) => {
    if (open.has(child.id)) {
      const inside = (insides[begin + k] = placeModule(net, open, child.shown));
      sizes.push(inside.size);
      rooms.push(turned(inside.size, sideways));
    } else {
      sizes.push(child.size);
      rooms.push(child.room);
      stem = Math.max(stem, child.stem);
    }
  });
  for (let k = 0; k < module.space.exits; k++) {
    sizes.push(nothing);
    rooms.push(nothing);
  }
  const frame = frameOf(module, insides);
  let layout = place(module.grid, rooms, module.lines, stem, frame);
  const extra = module.headerRoom - (sideways ? layout.height : layout.width);
  if (extra > 0) {
    const wider = sideways
      ? { ...frame, before: frame.before + extra }
      : { ...frame, aside: frame.aside.map((gap) => gap + extra / 2) };
    layout = place(module.grid, rooms, module.lines, stem, wider);
  }
  const size = turned({ width: layout.width, height: layout.height }, sideways);
  return { module, layout, sizes, insides, size };
}

function frameOf(module, insides) {
  const ends = {}, starts = {};
  const offset = ({ layout }, node) => layout.centres[node][0] - layout.width / 2;
  module.lines.forEach((line, number) => {
    const from = insides[line.source];
    if (from) starts[`${line.source} ${number}`] = offset(from, line.start);
    line.targets.forEach((target, k) => {
      const into = insides[target];
      if (into) ends[`${target} ${number}`] = offset(into, line.ends[k]);
    });
  });
  return { ...module.space, ends, starts };
}

// Turn a place in the layout, whose flow is downwards, into one on the page.
const flip = (across, along, sideways) => (sideways ? [along, across] : [across, along]);

// Return the path of every net, and that of its arrows: [line, arrows].
function linePaths(segments, sideways) {
  const spot = (across, along) =>
    flip(across, along, sideways).map((v) => v.toFixed(1)).join(" ");
  const straightTo = (place) => `${sideways ? "H" : "V"}${place.toFixed(1)}`;
  const nets = new Map();
  for (const s of segments) {
    if (!nets.has(s.net)) nets.set(s.net, { line: "", arrows: "", begun: new Set(), end: "" });
    const net = nets.get(s.net), start = `${s.x0} ${s.y0}`;
    const straight = Math.abs(s.x0 - s.x1) < STRAIGHT;
    if (net.begun.has(start)) net.line += `M${spot(s.x0, s.leave)}`;
    else {
      if (start !== net.end) net.line += `M${spot(s.x0, s.y0)}`;
      if (!straight) net.line += straightTo(s.leave);
    }
    net.begun.add(start);
    if (!straight) {
      const middle = (s.leave + s.reach) / 2;
      net.line += `C${spot(s.x0, middle)} ${spot(s.x1, middle)} ${spot(s.x1, s.reach)}`;
    }
    net.line += straightTo(s.y1 - (s.intoBox ? ARROW / 2 : 0));
    net.end = `${s.x1} ${s.y1}`;
    if (s.intoBox) {
      const back = s.y1 - ARROW, side = ARROW_WIDTH / 2;
      net.arrows += `M${spot(s.x1 - side, back)}L${spot(s.x1, s.y1)}L${spot(s.x1 + side, back)}Z`;
    }
  }
  return [...nets.values()].map((net) => [net.line, net.arrows]);
}
