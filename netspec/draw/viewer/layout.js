// Places for the boxes of a layered drawing and the lines between them: what
// netspec/draw/placing.py and layout.py do, for modules that open in a page. Ranks and
// orders come from Python, as they do not depend on which modules are open, and so do
// the distances: netspec/draw/html.py writes those of measures.py in front of this.

const least = (values, otherwise) =>
  values.reduce((a, b) => Math.min(a, b), values.length ? Infinity : otherwise);
const most = (values, otherwise) =>
  values.reduce((a, b) => Math.max(a, b), values.length ? -Infinity : otherwise);

// Return the place of every node's centre across the flow.
function positions(grid) {
  const layouts = [];
  for (const leanLeft of [true, false]) {
    for (const packLeft of [true, false]) {
      const root = align(grid, leanLeft);
      const rows = grid.rows.map((row) => (packLeft ? row : [...row].reverse()));
      const x = compact(grid, rows, root);
      layouts.push(packLeft ? x : x.map((place) => -place));
    }
  }
  return balance(grid, layouts);
}

function align(grid, leanLeft) {
  const start = starts(grid);
  const root = grid.rank.map(() => -1);
  const straight = grid.rows.map(() => []);
  for (const row of [...grid.rows].reverse()) {
    for (const first of [...row].sort((a, b) => start[a] - start[b])) {
      if (root[first] >= 0) continue;
      let node = first;
      for (;;) {
        root[node] = first;
        const link = middle(grid, grid.above[node], start, leanLeft);
        if (link === null) break;
        node = grid.links[link][0];
        const beside = straight[grid.rank[node]];
        if (root[node] >= 0 || beside.some((other) => cross(grid, link, other))) break;
        beside.push(link);
      }
    }
  }
  return root;
}

function starts(grid) {
  const start = [...grid.rank];
  for (const row of grid.rows) {
    for (const node of row) {
      for (const link of grid.below[node]) {
        const [upper, lower] = grid.links[link];
        start[lower] = Math.min(start[lower], start[upper]);
      }
    }
  }
  return start;
}

function middle(grid, links, start, leanLeft) {
  if (!links.length) return null;
  const from = (link) => grid.links[link][0];
  const farthest = least(links.map((link) => start[from(link)]), 0);
  const able = links.filter((link) => start[from(link)] === farthest);
  able.sort((a, b) => grid.place[from(a)] - grid.place[from(b)]);
  return able[leanLeft ? (able.length - 1) >> 1 : able.length >> 1];
}

function cross(grid, first, second) {
  const [a, b] = grid.links[first];
  const [c, d] = grid.links[second];
  return (grid.place[a] - grid.place[c]) * (grid.place[b] - grid.place[d]) < 0;
}

function compact(grid, rows, root) {
  const left = new Map(), right = new Map();
  const inner = (map, key) => map.get(key) || map.set(key, new Map()).get(key);
  for (const row of rows) {
    for (let i = 0; i + 1 < row.length; i++) {
      const u = root[row[i]], v = root[row[i + 1]];
      const gap = Math.max(distance(grid, row[i], row[i + 1]), inner(left, v).get(u) || 0);
      inner(left, v).set(u, gap);
      inner(right, u).set(v, gap);
    }
  }
  const order = topological(root, left, right);
  const x = root.map(() => 0);
  for (const block of order) {
    x[block] = most([...inner(left, block)].map(([u, gap]) => x[u] + gap), 0);
  }
  const linked = new Map();
  for (const [upper, lower] of grid.links) {
    const u = root[upper], v = root[lower];
    if (u === v) continue;
    linked.set(u, [...(linked.get(u) || []), v]);
    linked.set(v, [...(linked.get(v) || []), u]);
  }
  for (const block of [...order].reverse()) {
    const wishes = (linked.get(block) || []).map((other) => x[other]);
    const room = [...inner(right, block)].map(([v, gap]) => x[v] - gap);
    if (!wishes.length) continue;
    const mean = wishes.reduce((a, b) => a + b, 0) / wishes.length;
    x[block] = Math.max(x[block], least([mean, ...room], 0));
  }
  return root.map((block) => x[block]);
}

function topological(root, left, right) {
  const waiting = new Map();
  for (const block of new Set(root)) waiting.set(block, (left.get(block) || []).size || 0);
  const order = [...waiting.keys()].filter((block) => waiting.get(block) === 0);
  for (const block of order) {
    for (const other of (right.get(block) || new Map()).keys()) {
      waiting.set(other, waiting.get(other) - 1);
      if (waiting.get(other) === 0) order.push(other);
    }
  }
  return order;
}

function distance(grid, a, b) {
  const bend = a >= grid.boxes || b >= grid.boxes;
  return (grid.width[a] + grid.width[b]) / 2 + (bend ? BEND_GAP : BOX_GAP);
}

function balance(grid, layouts) {
  const extents = layouts.map((x) => [
    least(x.map((place, n) => place - grid.width[n] / 2), 0),
    most(x.map((place, n) => place + grid.width[n] / 2), 0),
  ]);
  let [low, high] = extents[0] || [0, 0];
  for (const [start, end] of extents) {
    if (end - start < high - low) [low, high] = [start, end];
  }
  const shifts = extents.map(([start, end], i) => (i % 2 === 0 ? low - start : high - end));
  return grid.rank.map((_, node) => {
    const places = layouts.map((x, i) => x[node] + shifts[i]).sort((a, b) => a - b);
    return (places[1] + places[2]) / 2;
  });
}

// Place the boxes of a grid, of these sizes, and the lines between them.
//
// frame: entries and exits, which are ends of lines on the border; before, after and
// aside, the free space around; ends and starts, keyed "node net", where lines end at a
// panel, as offsets from its middle.
function place(grid, sizes, nets, stem, frame) {
  const bends = grid.rank.length - sizes.length;
  const wide = { ...grid, width: [...sizes.map((s) => s.width), ...Array(bends).fill(0)] };
  const x = positions(wide);
  const [outPorts, inPorts] = ports(wide, nets, frame);
  return assemble(wide, sizes, nets, x, outPorts, inPorts, stem, frame);
}

function ports(grid, nets, frame) {
  const inPorts = grid.links.map(() => 0);
  for (let node = 0; node < grid.boxes; node++) {
    const links = [...grid.above[node]];
    links.sort((a, b) => grid.place[grid.links[a][0]] - grid.place[grid.links[b][0]]);
    const offsets = spread(links.length, grid.width[node]);
    links.forEach((link, i) => {
      const fixed = frame.ends[`${node} ${grid.links[link][2]}`];
      inPorts[link] = fixed === undefined ? offsets[i] : fixed;
    });
  }
  const outPorts = nets.map(() => 0);
  const leaving = Array.from({ length: grid.boxes }, () => []);
  nets.forEach((net, index) => leaving[net.source].push(index));
  const targets = nets.map(() => []);
  for (const [upper, lower, index] of grid.links) {
    if (upper === nets[index].source) targets[index].push(grid.place[lower]);
  }
  const mean = (k) =>
    targets[k].length ? targets[k].reduce((a, b) => a + b, 0) / targets[k].length : 0;
  leaving.forEach((group, node) => {
    group.sort((a, b) => mean(a) - mean(b));
    const room = (grid.width[node] - FIRST_PORT) / Math.max(group.length, 1);
    group.forEach((number, i) => {
      const own = group.length === 1 ? 0 : FIRST_PORT + i * room - grid.width[node] / 2;
      const fixed = frame.starts[`${node} ${number}`];
      outPorts[number] = fixed === undefined ? own : fixed;
    });
  });
  return [outPorts, inPorts];
}

function spread(count, width) {
  const gap = Math.min(PORT_GAP, Math.max(width - PORT_MARGIN, 0) / Math.max(count - 1, 1));
  return Array.from({ length: count }, (_, i) => (i - (count - 1) / 2) * gap);
}

function assemble(grid, sizes, nets, x, outPorts, inPorts, stem, frame) {
  const isBend = (node) => node >= grid.boxes;
  const left = least(x.map((p, n) => p - grid.width[n] / 2), 0) - frame.aside[0];
  const right = most(x.map((p, n) => p + grid.width[n] / 2), 0) + frame.aside[1];
  const heights = grid.rows.map((row) =>
    most(row.filter((n) => !isBend(n)).map((n) => sizes[n].height), 0));
  const tops = [];
  const last = grid.rows.length - 1;
  let y = frame.entries ? 0 : frame.before;
  grid.rows.forEach((row, level) => {
    tops.push(y);
    const shifts = row.flatMap((n) => grid.below[n].map((link) => {
      const [u, v] = grid.links[link];
      return Math.abs(x[u] - x[v]);
    }));
    const gap = Math.min(RANK_GAP + RANK_GAP_PER_SHIFT * most(shifts, 0), RANK_GAP_MAX);
    if (frame.entries && level === 0) y += Math.max(gap, frame.before);
    else if (!(frame.exits && level === last)) {
      y += heights[level] + stem + (level < last ? gap : frame.after);
    }
  });
  const centre = (node) => {
    const level = grid.rank[node];
    return [x[node] - left, tops[level] + heights[level] / 2];
  };
  const half = (node) => (isBend(node) ? 0 : sizes[node].height / 2);
  const panels = new Set(Object.keys(frame.ends).map((key) => +key.split(" ")[0]));
  const segments = grid.links.map(([upper, lower, net], link) => {
    const [x0, y0] = centre(upper), [x1, y1] = centre(lower);
    const level = grid.rank[upper];
    const isEnd = panels.has(lower) || (lower >= grid.boxes - frame.exits && !isBend(lower));
    return {
      net,
      x0: x0 + (isBend(upper) ? 0 : outPorts[net]),
      y0: y0 + half(upper),
      x1: x1 + inPorts[link],
      y1: y1 - half(lower),
      intoBox: !isEnd && !isBend(lower),
      leave: tops[level] + heights[level] + (upper < frame.entries ? 0 : stem),
      reach: tops[grid.rank[lower]] - ARROW,
    };
  });
  const begins = nets.map((net, index) => {
    const [cx, cy] = centre(net.source);
    return [cx + outPorts[index], cy + half(net.source)];
  });
  const centres = Array.from({ length: grid.boxes }, (_, node) => centre(node));
  return { centres, segments, starts: begins, width: right - left, height: y };
}
