/* Draws the curves of the page from the JSON in it. Everything else stands there without a script. */
(() => {
  "use strict";
  const lab = JSON.parse(document.getElementById("lab").textContent);
  const edges = lab.edges;
  const runs = lab.runs.filter((run) => run.loss.length);
  const byName = new Map(runs.map((run) => [run.name, run]));
  const narrow = () => window.innerWidth < 640;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (run) => css(run.kind === "trunk" ? "--trunk" : run.kind === "cosine" ? "--cosine" : "--cooldown");
  const dash = (run) => (run.kind === "cosine" ? [7, 4] : []);
  const charts = [];

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const showCount = (count) => {
    const scales = ["", "K", "M", "B", "T", "P"];
    let power = 0;
    while (Math.abs(count) >= 999.5 && power < scales.length - 1) { count /= 1000; power += 1; }
    return `${Number(count.toPrecision(3))}${scales[power]}`;
  };
  const showNumber = (value) => (value == null ? "" : String(Number(value.toPrecision(4))).replace("-", "−"));

  const showRate = (rate) => (rate === 0 || rate >= 1e-3 ? String(Number(rate.toPrecision(3))) : rate.toExponential().replace("e-", "e−"));

  /* The last place of the grid that is not after `tokens`, or -1. */
  const placeOf = (tokens) => {
    let low = 0, high = edges.length;
    while (low < high) { const middle = (low + high) >> 1; if (edges[middle] <= tokens) low = middle + 1; else high = middle; }
    return low - 1;
  };

  /* A column of a run on the whole grid, its ancestors' before it left; cached by run. */
  const lines = new Map();
  const lineOf = (run, column) => {
    const key = `${column} ${run.name}`;
    if (lines.has(key)) return lines.get(key);
    const parent = run.parent === null ? undefined : byName.get(run.parent);
    const left = parent ? placeOf(run.leaves) : -1;
    const whole = parent ? lineOf(parent, column).slice(0, left + 1) : [];
    while (whole.length < edges.length) whole.push(null);
    run[column].forEach((value, index) => { if (run.first + index > left) whole[run.first + index] = value; });
    lines.set(key, whole);
    return whole;
  };

  const smooth = (values, over) => {
    if (over <= 1) return values;
    const last = [];
    let sum = 0;
    return values.map((value) => {
      if (value == null) return null;
      last.push(value); sum += value;
      if (last.length > over) sum -= last.shift();
      return sum / last.length;
    });
  };

  /* What is drawn of a run: its own stretch, with the place where it left before it. */
  const own = (run, column, over) => {
    const from = run.parent !== null && byName.has(run.parent) ? placeOf(run.leaves) : run.first;
    const until = run.first + run.loss.length;
    return smooth(lineOf(run, column), over).map((value, index) => (index < from || index >= until ? null : value));
  };

  /* Moves labels apart, and back up where they would leave the plot below. */
  const spread = (labels, least, bottom) => {
    labels.sort((a, b) => a.y - b.y);
    labels.forEach((label, i) => { if (i) label.y = Math.max(label.y, labels[i - 1].y + least); });
    let most = bottom;
    for (const label of [...labels].reverse()) { label.y = Math.min(label.y, most); most = label.y - least; }
    return labels;
  };

  /* Writes each run's name at the end of its line: a reader need not match colours. */
  const writeLabels = (chart, drawn) => {
    const { ctx } = chart, ratio = uPlot.pxRatio, { left, top, width, height } = chart.bbox;
    const labels = [];
    drawn.forEach((run, index) => {
      const series = chart.series[index + 1], values = chart.data[index + 1];
      if (!series.show || drawn.length > 12) return;
      for (let i = values.length - 1; i >= 0; i -= 1) {
        const at = chart.data[0][i];
        if (values[i] == null || at > chart.scales.x.max) continue;
        if (at < chart.scales.x.min) break;
        labels.push({ run, x: chart.valToPos(at, "x", true), y: chart.valToPos(values[i], "y", true) - (run.kind === "trunk" ? 10 * ratio : 0) });
        break;
      }
    });
    ctx.save();
    ctx.font = `500 ${11.5 * ratio}px ${css("--sans")}`;
    ctx.textBaseline = "middle"; ctx.lineJoin = "round";
    for (const { run, x, y } of spread(labels.filter((l) => l.y >= top - 2 && l.y <= top + height + 2), 13 * ratio, top + height - 5 * ratio)) {
      const most = narrow() ? 13 : 20;
      const name = run.name.length > most ? `${run.name.slice(0, most - 1)}…` : run.name;
      const room = left + width + 6 * ratio;
      ctx.textAlign = "left";
      ctx.strokeStyle = css("--bg"); ctx.lineWidth = 4 * ratio;
      ctx.strokeText(name, Math.min(x + 6 * ratio, room), y);
      ctx.fillStyle = colour(run);
      ctx.fillText(name, Math.min(x + 6 * ratio, room), y);
    }
    ctx.restore();
  };

  /* Fills between two columns of a run, below the lines. */
  const fillBand = (chart, run, tokens, low, high) => {
    const { ctx } = chart;
    const places = tokens.map((_, i) => i).filter((i) => low[i] != null && high[i] != null);
    if (places.length < 2) return;
    ctx.save();
    ctx.beginPath();
    ctx.rect(chart.bbox.left, chart.bbox.top, chart.bbox.width, chart.bbox.height);
    ctx.clip();
    ctx.beginPath();
    for (const i of places) ctx.lineTo(chart.valToPos(tokens[i], "x", true), chart.valToPos(high[i], "y", true));
    for (const i of places.reverse()) ctx.lineTo(chart.valToPos(tokens[i], "x", true), chart.valToPos(low[i], "y", true));
    ctx.closePath();
    ctx.globalAlpha = 0.13; ctx.fillStyle = colour(run); ctx.fill();
    ctx.restore();
  };

  /* 1, 2 and 5 of each power of ten inside a range; the powers alone where it is wide. */
  const logSplits = (_chart, _axis, low, high) => {
    const digits = high / low > 2000 ? [1] : high / low < 5 ? [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9] : [1, 2, 5];
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
      for (const digit of digits) found.push(Number((digit * 10 ** power).toPrecision(3)));
    }
    return found.filter((value) => value >= low && value <= high);
  };

  const axes = ({ format, size = 52, logX, logY }, width) => {
    const asIs = { splits: logSplits, filter: (_, splits) => splits };
    const look = { stroke: () => css("--soft"), font: `11.5px ${css("--sans")}`, grid: { stroke: () => css("--faint"), width: 1 }, ticks: { show: false } };
    return [
      { ...look, ...(logX ? asIs : {}), size: 28, gap: 6, space: width < 480 ? 46 : 90, values: (_, splits) => splits.map((v) => (v == null ? "" : showCount(v))) },
      { ...look, ...(logY ? asIs : {}), size, gap: 6, values: (_, splits) => splits.map((v) => (v == null ? "" : format(v))) },
    ];
  };

  const addChart = (box, height, data, drawn, options) => {
    const chart = new uPlot({
      width: Math.max(box.clientWidth, 200), height, padding: [10, options.right ?? (narrow() ? 92 : 140), 0, 0],
      legend: { show: false }, axes: axes(options, box.clientWidth),
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false }, sync: { key: "tokens", scales: ["x", null] } },
      scales: {
        x: { time: false, distr: options.logX ? 3 : 1, range: (_, low, high) => [low, high] },
        y: { distr: options.logY ? 3 : 1, range: options.logY ? (_, low, high) => [low * 0.98, high * 1.02] : options.range },
      },
      series: [{}, ...drawn.map((run) => ({
        label: run.name, stroke: () => colour(run), width: run.kind === "trunk" ? 2 : 1.6, dash: dash(run), spanGaps: true,
        points: options.points ? { show: true, size: 5, stroke: () => colour(run), fill: () => css("--bg") } : { show: false },
      }))],
      hooks: {
        drawAxes: [(u) => options.bands && options.bands(u)],
        draw: [(u) => options.labels !== false && writeLabels(u, drawn)],
        setCursor: [(u) => options.told && options.told(u)],
      },
    }, data, box);
    charts.push({ chart, box, height });
    watcher.observe(box);
    return chart;
  };

  const fit = ({ chart, box, height }) => {
    const width = Math.max(box.clientWidth, 200);
    if (chart.width !== width) chart.setSize({ width, height });
  };
  const watcher = new ResizeObserver(() => charts.forEach(fit));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { chart } of charts) chart.redraw(true, true);
  });

  const choice = (title, options, chosen, changed) => {
    const select = element("select", {});
    for (const [value, text] of options) {
      const option = element("option", { value }, text);
      option.selected = value === String(chosen);
      select.append(option);
    }
    select.addEventListener("change", () => changed(select.value));
    return element("label", {}, title, select);
  };

  const swatch = (run) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("width", "22"); svg.setAttribute("height", "10"); svg.setAttribute("aria-hidden", "true");
    line.setAttribute("d", "M0 5H22"); line.setAttribute("class", `run ${run.kind}`);
    svg.append(line);
    return svg;
  };

  /* What a run's loss is above its base's at the same tokens, as far as both read the same batches. */
  const above = (run, over) => {
    const base = run.base === null ? undefined : byName.get(run.base);
    const nothing = edges.map(() => null);
    if (!base) return nothing;
    const mine = own(run, "loss", over), theirs = smooth(lineOf(base, "loss"), over);
    const found = nothing.map((_, i) => (mine[i] == null || theirs[i] == null || edges[i] > run.alike ? null : mine[i] - theirs[i]));
    return found.filter((value) => value != null).length > 2 ? found : nothing;
  };

  /* The range of losses without the fall of the first tenth, which would press all else flat. */
  const closeRange = (chart, low, high) => {
    const [first, last] = chart.series[0].idxs || [0, edges.length - 1];
    const from = edges[first] + (edges[last] - edges[first]) / 10;
    let top = -Infinity;
    for (let s = 1; s < chart.data.length; s += 1) {
      for (let i = first; i <= last; i += 1) {
        const value = chart.data[s][i];
        if (value != null && edges[i] >= from && chart.series[s].show) top = Math.max(top, value);
      }
    }
    if (low == null || top === -Infinity) return [low, high];
    const room = (top - low) * 0.06 || 0.1;
    return [low - room, Math.min(top, high) + room];
  };

  const drawCurves = (host) => {
    const branches = runs.filter((run) => run.parent !== null).map((run) => run.loss.length);
    const shortest = Math.min(...(branches.length ? branches : runs.map((run) => run.loss.length)));
    const state = { logX: false, scale: "close", over: shortest >= 100 ? 20 : shortest >= 20 ? 5 : 1, hidden: new Set() };
    const boxOf = (label) => element("div", { role: "img", "aria-label": label });
    const boxes = {
      rate: boxOf("Learning rate of every run along tokens"),
      loss: boxOf("Training loss of every run along tokens; end points are in the table of results"),
      above: boxOf("Loss of every branch above its parent's at the same tokens"),
    };
    const outputs = new Map();
    const legend = element("ul", { class: "legend", "aria-label": "Runs that are drawn" });
    const compared = runs.some((run) => run.base !== null && above(run, 1).some((value) => value != null));
    const drawn = {};

    const columns = (of) => [edges, ...runs.map(of)];
    const tell = (chart) => {
      runs.forEach((run, index) => {
        const value = chart.cursor.idx == null ? null : chart.data[index + 1][chart.cursor.idx];
        outputs.get(run.name).textContent = showNumber(value);
      });
    };
    const bands = (chart) => {
      runs.forEach((run, index) => {
        if (!run.low || !chart.series[index + 1].show) return;
        const at = edges.slice(run.first, run.first + run.low.length);
        fillBand(chart, run, at, run.low, run.high);
      });
    };
    const draw = () => {
      for (const old of Object.values(drawn)) { charts.splice(charts.findIndex((c) => c.chart === old), 1); old.destroy(); }
      const { logX, over } = state, logY = state.scale === "log", range = state.scale === "close" && !logX ? closeRange : undefined;
      drawn.rate = addChart(boxes.rate, 120, columns((run) => own(run, "rate", 1)), runs, { logX, format: showRate, labels: false });
      drawn.loss = addChart(boxes.loss, narrow() ? 300 : 360, columns((run) => own(run, "loss", over)), runs, { logX, logY, range, format: showNumber, bands, told: tell });
      if (compared) drawn.above = addChart(boxes.above, 150, columns((run) => above(run, over)), runs, { logX, format: showNumber });
      runs.forEach((run, index) => {
        if (state.hidden.has(run.name)) for (const chart of Object.values(drawn)) chart.setSeries(index + 1, { show: false });
      });
    };

    for (const run of runs) {
      const box = element("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => {
        if (box.checked) state.hidden.delete(run.name); else state.hidden.add(run.name);
        const index = runs.indexOf(run) + 1;
        for (const chart of Object.values(drawn)) chart.setSeries(index, { show: box.checked });
      });
      const output = element("output", { "aria-live": "off" });
      outputs.set(run.name, output);
      legend.append(element("li", {}, element("label", {}, box, swatch(run), run.name), " ", output));
    }
    const title = (text) => element("p", { class: "chart-title" }, text);
    host.append(
      element("div", { class: "controls" },
        choice("tokens", [["linear", "linear"], ["log", "logarithmic"]], "linear", (v) => { state.logX = v === "log"; draw(); }),
        choice("loss", [["close", "linear, after the first fall"], ["whole", "linear, whole"], ["log", "logarithmic"]], "close", (v) => { state.scale = v; draw(); }),
        choice("mean of the last", [1, 5, 20, 50, 200].map((n) => [String(n), n === 1 ? "1 (as it is)" : String(n)]), state.over, (v) => { state.over = Number(v); draw(); })),
      title("learning rate"), boxes.rate, title("loss, nats a token"), boxes.loss,
      ...(compared ? [title("loss above the parent’s at the same tokens, on the same batches"), boxes.above] : []), legend);
    draw();
  };

  /* A run's probes of one domain, with the last of its parent's before it left. */
  const probesOf = (run, domain) => {
    const { tokens, bits, errors } = run.probes;
    if (!bits[domain]) return null;
    const told = { tokens: [...tokens], bits: [...bits[domain]], errors: [...errors[domain]] };
    const parent = run.parent === null ? undefined : byName.get(run.parent);
    const before = parent && parent.probes.bits[domain] ? parent.probes.tokens.filter((t) => t <= run.leaves).length - 1 : -1;
    if (before >= 0) {
      told.tokens.unshift(parent.probes.tokens[before]);
      told.bits.unshift(parent.probes.bits[domain][before]);
      told.errors.unshift(parent.probes.errors[domain][before]);
    }
    return told;
  };

  const drawProbes = (host) => {
    const figures = lab.domains.map((domain) => {
      const told = runs.map((run) => [run, probesOf(run, domain)]).filter(([, probes]) => probes);
      const box = element("div", { role: "img", "aria-label": `Bits per byte of ${domain} along tokens` });
      if (told.length) host.append(element("div", {}, element("h3", {}, domain), box));
      return { told, box };
    });
    // drawn once all are in place, since each takes its share of the width
    for (const { told, box } of figures) if (told.length) drawProbe(told, box);
  };

  const drawProbe = (told, box) => {
    const edge = (probes, sign) => probes.bits.map((b, i) => (b == null || probes.errors[i] == null ? b : b + sign * probes.errors[i]));
    const bands = (chart) => told.forEach(([run, probes]) => fillBand(chart, run, probes.tokens, edge(probes, -1), edge(probes, 1)));
    const every = told.flatMap(([, probes]) => [...edge(probes, -1), ...edge(probes, 1)]).filter((v) => v != null);
    const low = Math.min(...every), high = Math.max(...every), room = (high - low) * 0.05 || 0.1;
    const data = uPlot.join(told.map(([, probes]) => [probes.tokens, probes.bits]));
    const points = data[0].length < 60;
    addChart(box, 230, data, told.map(([run]) => run), { format: showNumber, size: 40, points, bands, range: () => [low - room, high + room], right: 92 });
  };

  const curves = document.getElementById("curve-box"), probes = document.getElementById("probe-box");
  if (curves && runs.length) drawCurves(curves);
  if (probes && runs.length) drawProbes(probes);
  document.documentElement.dataset.drawn = String(charts.length);
})();
