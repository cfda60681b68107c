/* Curves of every metric: means with bands, quantiles over many runs, or runs one by one. */
"use strict";

expkit.curves = (() => {
  const { data, state, charts } = expkit;
  const { element, lineSample, announce } = expkit.dom;
  const MOST_IN_TIP = 12;
  const REACH_PX = 40;  // of the pointer
  const DRAG_PX = 8;  // less is a click

  const labels = data.curveGroups;  // by index: label, colour, dashes, runs
  const groupOfRun = new Map(labels.flatMap((group, index) => group.runs.map((run) => [run, index])));
  const runColour = (run) => {
    const group = labels[groupOfRun.get(run)];
    return charts.onPage(group?.colour ?? "#8c959f");
  };

  // ------------------------------------------------------------ numbers

  /* Exponential moving average, started without a bias towards zero; gaps stay gaps. */
  const smoothed = (y, weight) => {
    if (!weight) return y;
    const out = new Float64Array(y.length);
    let mean = 0;
    let norm = 0;
    for (let i = 0; i < y.length; i += 1) {
      if (!Number.isFinite(y[i])) { out[i] = NaN; continue; }
      mean = mean * weight + y[i] * (1 - weight);
      norm = norm * weight + (1 - weight);
      out[i] = mean / norm;
    }
    return out;
  };

  /* The value at x, between points on the line that is drawn; NaN beside the curve. */
  const valueAt = (line, x) => {
    const { x: steps, y } = line;
    const last = steps.length - 1;
    if (last < 0 || x < steps[0] || x > steps[last]) return NaN;
    let low = 0;
    let high = last;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= x) low = middle; else high = middle;
    }
    if (steps[low] === x || low === high) return y[low];
    if (steps[high] === x) return y[high];
    return y[low] + (y[high] - y[low]) * (x - steps[low]) / (steps[high] - steps[low]);
  };

  const viewOf = (metric) => {
    if (state.current.view === "runs") return "runs";
    if (state.current.view === "groups") {
      return data.metrics[metric].groups.length ? "groups" : data.metrics[metric].view;
    }
    if (!state.isWhole() && state.shown().length <= 30) return "runs";
    return data.metrics[metric].view;
  };

  /* Lines and bands of a metric as the reader's choices have them. */
  const content = (name) => {
    const metric = data.metrics[name];
    const view = viewOf(name);
    const weight = state.current.smooth;
    const lines = [];
    const bands = [];
    const drawn = decodeGroups(metric);
    const addMean = (entry, style) => {
      if (entry.low) bands.push({ ...entry, colour: style.colour, opacity: 0.18 });
      lines.push({ x: entry.x, y: smoothed(entry.mean, weight), raw: weight ? entry.mean : null,
        spread: entry.spread, label: style.label, detail: entry.n, colour: style.colour,
        dashes: style.dashes, width: 2, group: entry.group });
    };
    if (view === "groups") {
      for (const entry of drawn.groups) {
        const group = labels[entry.group];
        if (!group.runs.some(state.isShown)) continue;
        addMean(entry, { label: group.label, colour: charts.onPage(group.colour), dashes: group.dashes });
      }
    } else if (view === "bands") {
      const crowd = charts.colour("crowd");
      const [q5, q25, q50, q75, q95] = drawn.bands.edges;
      const { x } = drawn.bands;
      bands.push({ x, low: q5, high: q95, colour: crowd, opacity: 0.22 },
        { x, low: q25, high: q75, colour: crowd, opacity: 0.35 });
      lines.push({ x, y: q50, raw: null, label: `median of ${metric.runs} runs`, colour: crowd,
        dashes: [], width: 2 });
      for (const entry of drawn.best) addMean(entry, { label: labels[entry.group].label,
        colour: charts.onPage(entry.colour), dashes: entry.dashes });
    } else {
      const shown = expkit.data.curvesOf(name).filter((curve) => state.isShown(curve.run));
      const width = shown.length > 30 ? 1 : 1.8;
      for (const curve of shown) {
        const group = labels[groupOfRun.get(curve.run)];
        lines.push({ x: curve.x, y: smoothed(curve.y, weight), raw: weight ? curve.y : null,
          label: data.runs[curve.run].name, colour: runColour(curve.run), width,
          dashes: group?.dashes ?? [], run: curve.run,
          opacity: shown.length > 100 ? 0.45 : 0.9 });
      }
    }
    return { view, lines, bands };
  };

  const floats = (part) => Float64Array.from(part, (value) => (value === null ? NaN : value));
  const decodeGroups = (metric) => {
    metric.decoded ??= {
      groups: (metric.groups ?? []).map(decodeGroup),
      best: (metric.best ?? []).map(decodeGroup),
      bands: metric.bands && { x: floats(metric.bands.x), edges: metric.bands.edges.map(floats) },
    };
    return metric.decoded;
  };
  const decodeGroup = (entry) => {
    const mean = floats(entry.mean);
    const spread = entry.spread && floats(entry.spread);
    return { ...entry, x: floats(entry.x), mean, spread,
      low: spread && mean.map((value, i) => value - spread[i]),
      high: spread && mean.map((value, i) => value + spread[i]) };
  };

  // ------------------------------------------------------------ drawing

  const isLog = (name) => state.current.log[name] ?? data.metrics[name].log;

  const extent = (lines, bands, log, range) => {
    let low = Infinity;
    let high = -Infinity;
    const see = (x, y) => {
      for (let i = 0; i < y.length; i += 1) {
        if (!Number.isFinite(y[i]) || (log && y[i] <= 0)) continue;
        if (range && (x[i] < range[0] || x[i] > range[1])) continue;
        if (y[i] < low) low = y[i];
        if (y[i] > high) high = y[i];
      }
    };
    for (const line of lines) see(line.x, line.y);
    if (!log) for (const band of bands) { see(band.x, band.low); see(band.x, band.high); }
    if (low > high) return [log ? 0.1 : 0, 1];
    if (low === high) return log ? [low / 2, high * 2] : [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
    const margin = (high - low) * 0.04;
    return log ? [low / 1.1, high * 1.1] : [low - margin, high + margin];
  };

  /* From values to pixels: api.coord for each point would take most of the time. */
  const projection = (api, lowest, xs, ys) => {
    const [left, top] = api.coord([xs[0], ys[1]]);
    const [right, bottom] = api.coord([xs[1], ys[0]]);
    const place = ys.log ? (y) => Math.log(Math.max(y, lowest)) : (y) => y;
    const [from, to] = [place(ys[0]), place(ys[1])];
    return {
      x: (x) => left + (right - left) * (x - xs[0]) / ((xs[1] - xs[0]) || 1),
      y: (y) => bottom + (top - bottom) * (place(y) - from) / ((to - from) || 1),
    };
  };

  const polyline = (line, y, project, style) => {
    const children = [];
    let points = [];
    const flush = () => {
      if (points.length === 1) {
        children.push({ type: "circle", silent: true,
          shape: { cx: points[0][0], cy: points[0][1], r: 2.2 }, style: { fill: style.stroke } });
      } else if (points.length) {
        children.push({ type: "polyline", silent: true, shape: { points }, style });
      }
      points = [];
    };
    for (let i = 0; i < line.x.length; i += 1) {
      if (Number.isFinite(y[i])) points.push([project.x(line.x[i]), project.y(y[i])]);
      else flush();
    }
    flush();
    return children;
  };
  const polygons = (band, project) => {
    const children = [];
    let upper = [];
    let lower = [];
    const flush = () => {
      if (upper.length > 1) children.push({ type: "polygon", silent: true,
        shape: { points: [...upper, ...lower.reverse()] },
        style: { fill: band.colour, opacity: band.opacity } });
      upper = [];
      lower = [];
    };
    for (let i = 0; i < band.x.length; i += 1) {
      if (Number.isFinite(band.low[i]) && Number.isFinite(band.high[i])) {
        upper.push([project.x(band.x[i]), project.y(band.high[i])]);
        lower.push([project.x(band.x[i]), project.y(band.low[i])]);
      } else flush();
    }
    flush();
    return children;
  };

  class Chart {
    constructor(name) {
      this.name = name;
      this.metric = data.metrics[name];
      this.zoom = null;  // of x, [low, high]
      this.plot = element("div", { class: "plot", tabindex: 0, role: "img",
        "aria-label": this.metric.summary });
      this.note = element("div", { class: "note" });
      this.legend = element("ul", { class: "legend" });
      this.scale = element("button", { type: "button", class: "action", "aria-pressed": isLog(name),
        onclick: () => state.set({ log: { ...state.current.log, [name]: !isLog(name) } }) }, "log");
      this.node = element("figure", { class: "chart" },
        element("figcaption", {}, element("strong", {}, name),
          element("span", { class: "faint" }, this.metric.best_text ?? ""),
          element("span", { class: "spacer" }), this.scale),
        this.plot, this.legend, this.note);
      this.entry = charts.add(this.plot, (instance) => this.draw(instance),
        [...state.SELECTING, "view", "log", "smooth", "theme"]);
      this.plot.addEventListener("pointermove", (event) => this.hover(event));
      this.plot.addEventListener("pointerleave", () => this.leave());
      this.plot.addEventListener("keydown", (event) => this.key(event));
      this.plot.addEventListener("blur", () => this.leave());
      this.plot.addEventListener("pointerdown", (event) => this.press(event));
      this.plot.addEventListener("dblclick", () => this.setZoom(null));
    }

    draw(instance) {
      const log = isLog(this.name);
      this.scale.setAttribute("aria-pressed", log);
      const { view, lines, bands } = content(this.name);
      this.lines = lines;
      const xs = this.zoom ?? this.metric.extent;
      const ys = extent(lines, bands, log, this.zoom);
      ys.log = log;
      this.xs = xs;
      this.ys = ys;
      const lowest = ys[0];
      let project = null;
      const items = [
        ...bands.map((band) => (parts) => polygons(band, parts)),
        ...lines.filter((line) => line.raw).map((line) => (parts) =>
          polyline(line, line.raw, parts, { stroke: line.colour, lineWidth: 1, opacity: 0.28, fill: null })),
        ...lines.map((line) => (parts) => polyline(line, line.y, parts, {
          stroke: line.colour, lineWidth: line.width, opacity: line.opacity ?? 1, fill: null,
          lineDash: line.dashes.length ? line.dashes.map((part) => part * line.width) : null })),
      ];
      const style = charts.axisStyle();
      instance.setOption({
        animation: false,
        grid: { left: 8, right: 14, top: 12, bottom: 26, containLabel: true },
        xAxis: { type: "value", min: xs[0], max: xs[1], name: this.metric.step,
          nameLocation: "middle", nameGap: 24, ...style, splitLine: { show: false },
          minInterval: this.metric.step === "epoch" ? 1 : 0 },
        yAxis: { type: log ? "log" : "value", min: ys[0], max: ys[1], ...style,
          axisLabel: { ...style.axisLabel, formatter: log ? charts.logLabel : (value) =>
            (value === ys[0] || value === ys[1] ? "" : expkit.format.number(value)) } },
        series: [{
          type: "custom", clip: true, silent: true, encode: { x: 0, y: 1 },
          data: items.map(() => [xs[0], ys[0]]),
          renderItem: (parameters, api) => {
            project = projection(api, lowest, xs, ys);
            this.project = project;
            this.area = parameters.coordSys;
            return { type: "group", silent: true, children: items[parameters.dataIndex](project) };
          },
        }],
      }, { notMerge: true });
      this.drawLegend(view, lines);
      this.drawNote(view, lines);
      this.mark([]);
    }

    drawLegend(view, lines) {
      const isOwn = view === "bands" || (view === "runs" && lines.length <= 12);
      this.legend.hidden = !isOwn;
      if (!isOwn) return;
      this.legend.replaceChildren(...lines.map((line) => element("li", {},
        lineSample(line.colour, line.dashes), " ", line.label)));
    }

    drawNote(view, lines) {
      const parts = [];
      if (view === "groups" && lines.some((line) => line.spread)) parts.push("mean ± standard deviation");
      if (view === "bands") parts.push("5–95 % and 25–75 % of runs, and the best groups");
      if (view === "runs") parts.push(`${lines.length} ${lines.length === 1 ? "run" : "runs"}`);
      if (state.current.smooth) parts.push(`smoothed (moving average, weight ${state.current.smooth}); faint: as logged`);
      if (isLog(this.name) && this.metric.clipped) parts.push("values of 0 and below lie on the lower edge");
      if (view === "runs" && this.metric.thinned) parts.push(this.metric.thinned);
      if (this.zoom) parts.push("double-click shows all steps");
      this.note.textContent = parts.join(" · ");
    }

    // ---------------------------------------------------------- pointer and keys

    hover(event) {
      if (!this.project || this.drag) return;
      const box = this.plot.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const entries = this.nearest(x, y);
      this.mark(entries);
      if (entries.length) this.tip(event.clientX, event.clientY, entries);
      else charts.hideTip();
    }

    /* The lines at the step below a place in the chart, nearest first; none beside its axes. */
    nearest(x, y) {
      const { area } = this;
      if (x < area.x || x > area.x + area.width || y < area.y || y > area.y + area.height) return [];
      const step = this.xs[0] + (x - area.x) / area.width * (this.xs[1] - this.xs[0]);
      return this.entriesAt(this.snapped(step), y);
    }

    /* The nearest step of any line that is drawn. */
    snapped(step) {
      let best = step;
      let distance = Infinity;
      for (const { x } of this.lines) {
        let low = 0;
        let high = x.length - 1;
        while (low < high) {
          const middle = (low + high) >> 1;
          if (x[middle] < step) low = middle + 1; else high = middle;
        }
        for (const place of [low - 1, low]) {
          if (place >= 0 && place < x.length && Math.abs(x[place] - step) < distance) {
            distance = Math.abs(x[place] - step);
            best = x[place];
          }
        }
      }
      return best;
    }

    /* The lines at a step, those nearest to the pointer first. */
    entriesAt(step, y) {
      const entries = [];
      for (const line of this.lines) {
        const value = valueAt(line, step);
        if (!Number.isFinite(value)) continue;
        const top = this.project.y(value);
        entries.push({ line, step, value, top, distance: Math.abs(top - y) });
      }
      entries.sort((first, second) => first.distance - second.distance);
      return entries;
    }

    tip(left, top, entries) {
      const nearest = entries[0].distance < REACH_PX ? entries[0] : null;
      const listed = entries.slice(0, MOST_IN_TIP).sort((first, second) => first.top - second.top);
      const rows = listed.map((entry) => {
        const spread = entry.line.spread && valueAt({ x: entry.line.x, y: entry.line.spread }, entry.step);
        const text = expkit.format.number(entry.value, 5)
          + (spread && Number.isFinite(spread) ? ` ± ${expkit.format.number(spread, 2)}` : "");
        return element("tr", { class: entry === nearest ? "near" : "" },
          element("td", {}, element("span", { class: "swatch", style: { background: entry.line.colour } })),
          element("td", {}, text),
          element("td", {}, entry.line.label + (entry.line.detail ? ` (n = ${entry.line.detail})` : "")));
      });
      const more = entries.length - listed.length;
      charts.showTip(left, top,
        element("div", { class: "faint" }, `${this.metric.step} ${expkit.format.number(entries[0].step, 7)}`),
        element("table", {}, element("tbody", {}, rows)),
        more > 0 ? element("div", { class: "faint" }, `and ${more} farther away`) : "");
    }

    mark(entries) {
      const renderer = this.entry.instance.getZr();
      if (!this.marks) {
        this.marks = { rule: new echarts.graphic.Line({ zlevel: 5, silent: true }),
          curve: new echarts.graphic.Polyline({ zlevel: 5, silent: true }),
          dot: new echarts.graphic.Circle({ zlevel: 5, silent: true }) };
        Object.values(this.marks).forEach((part) => renderer.add(part));
      }
      const { rule, curve, dot } = this.marks;
      for (const part of [rule, curve, dot]) part.attr({ ignore: !entries.length });
      if (!entries.length) return;
      const { area } = this;
      const x = this.project.x(entries[0].step);
      rule.attr({ shape: { x1: x, x2: x, y1: area.y, y2: area.y + area.height },
        style: { stroke: charts.colour("faint"), lineWidth: 1, lineDash: [3, 3] } });
      const [nearest] = entries;
      const isNear = nearest.distance < REACH_PX;
      for (const part of [curve, dot]) part.attr({ ignore: !isNear });
      if (!isNear) return;
      const points = [];
      nearest.line.y.forEach((value, i) => {
        if (Number.isFinite(value)) points.push([this.project.x(nearest.line.x[i]), this.project.y(value)]);
      });
      const clip = { x: area.x, y: area.y, width: area.width, height: area.height };
      curve.setClipPath(new echarts.graphic.Rect({ shape: clip }));
      curve.attr({ shape: { points }, style: { stroke: nearest.line.colour, lineWidth: 3.5, fill: null } });
      dot.attr({ shape: { cx: x, cy: nearest.top, r: 4 },
        style: { fill: nearest.line.colour, stroke: charts.colour("raised"), lineWidth: 1.5 } });
    }

    leave() {
      charts.hideTip();
      if (this.marks) this.mark([]);
    }

    key(event) {
      if (event.key === "Escape") { this.setZoom(null); return; }
      const offset = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (offset === undefined || !this.project || !this.lines.length) return;
      event.preventDefault();
      const steps = this.lines[0].x;
      const last = steps.length - 1;
      const place = this.place === undefined ? last : this.place + offset;
      this.place = Math.max(0, Math.min(last, place));
      const entries = this.entriesAt(steps[this.place], this.area.y);
      if (!entries.length) return;
      this.mark(entries);
      const box = this.plot.getBoundingClientRect();
      this.tip(box.left + this.project.x(entries[0].step), box.top + this.area.y, entries);
      announce(`${this.metric.step} ${entries[0].step}: ` + entries.slice(0, 5)
        .map((entry) => `${entry.line.label} ${expkit.format.number(entry.value)}`).join(", "));
    }

    /* Dragging over a stretch of steps zooms in on it. */
    press(event) {
      if (event.button !== 0 || event.pointerType === "touch" || !this.area) return;
      const box = this.plot.getBoundingClientRect();
      const { area } = this;
      const inside = (position) => Math.max(area.x, Math.min(area.x + area.width, position - box.left));
      const from = inside(event.clientX);
      const shade = new echarts.graphic.Rect({ zlevel: 5, silent: true,
        style: { fill: charts.colour("accent"), opacity: 0.15 } });
      const renderer = this.entry.instance.getZr();
      renderer.add(shade);
      this.drag = true;
      const move = (moved) => {
        const to = inside(moved.clientX);
        shade.attr({ shape: { x: Math.min(from, to), width: Math.abs(to - from), y: area.y, height: area.height } });
        charts.hideTip();
      };
      const up = (released) => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", up);
        renderer.remove(shade);
        this.drag = false;
        const to = inside(released.clientX);
        if (Math.abs(to - from) < DRAG_PX) {
          this.choose(released);
          return;
        }
        const step = (x) => this.xs[0] + (x - area.x) / area.width * (this.xs[1] - this.xs[0]);
        const whole = this.metric.step === "epoch" && Math.abs(step(to) - step(from)) > 1
          ? Math.round : (value) => value;
        this.setZoom([whole(step(Math.min(from, to))), whole(step(Math.max(from, to)))]);
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", up);
    }

    /* A click on the curve of a run opens the run; on that of a group, it shows the group's runs. */
    choose(event) {
      const box = this.plot.getBoundingClientRect();
      const [nearest] = this.nearest(event.clientX - box.left, event.clientY - box.top);
      if (!nearest || nearest.distance > REACH_PX) return;
      charts.hideTip();
      const { run, group } = nearest.line;
      if (run !== undefined) state.set({ run: data.runs[run].id });
      else if (group !== undefined) state.set({ pick: labels[group].runs.map((member) => data.runs[member].id) });
    }

    setZoom(range) {
      if (range === this.zoom) return;
      this.zoom = range;
      charts.invalidate(this.entry);
    }
  }

  const drawSharedLegend = () => {
    const list = document.getElementById("groups-legend");
    const isUsed = Object.keys(data.metrics).some((name) => viewOf(name) === "groups")
      || (state.current.view === "runs" || !state.isWhole());
    list.hidden = !isUsed || labels.length > 40;
    if (list.hidden) return;
    const picked = new Set(state.current.pick);
    list.replaceChildren(...labels.map((group) => {
      const ids = group.runs.map((run) => data.runs[run].id);
      const isPicked = ids.length > 0 && ids.every((id) => picked.has(id));
      return element("li", {}, element("button", { type: "button", "aria-pressed": isPicked,
        title: "Show only the runs of this group, and of others that are pressed",
        onclick: () => {
          const others = state.current.pick.filter((id) => !ids.includes(id));
          state.set({ pick: isPicked ? others : [...others, ...ids] });
        } }, lineSample(charts.onPage(group.colour), group.dashes), group.label));
    }));
  };

  const start = () => {
    const names = Object.keys(data.metrics);
    const section = document.getElementById("curves");
    if (!names.length) { section.hidden = true; return; }
    const grid = section.querySelector(".charts");
    grid.append(...names.map((name) => new Chart(name).node));
    const views = section.querySelectorAll("[data-view]");
    const slider = document.getElementById("smooth");
    const show = () => {
      views.forEach((button) => button.setAttribute("aria-pressed", button.dataset.view === state.current.view));
      slider.value = state.current.smooth;
      document.getElementById("smooth-value").textContent = state.current.smooth ? String(state.current.smooth) : "off";
    };
    views.forEach((button) => button.addEventListener("click", () => state.set({ view: button.dataset.view })));
    slider.addEventListener("input", () => state.set({ smooth: Number(slider.value) }));
    state.onChange(["view", "smooth"], show);
    state.onChange(["view", "theme", ...state.SELECTING], drawSharedLegend);
    show();
    drawSharedLegend();
  };

  return { start, runColour };
})();
