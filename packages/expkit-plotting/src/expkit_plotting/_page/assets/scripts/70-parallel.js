/* Parallel coordinates of the swept keys and a metric; brushing an axis selects runs everywhere. */
"use strict";

expkit.parallel = (() => {
  const { data, state, charts } = expkit;
  const { element } = expkit.dom;

  const axes = () => [...data.keys, state.current.metric].filter(
    (name) => data.columnsByName.has(name)).map(expkit.axes.axis);

  /* From light to dark by the metric, best at the end that stands out. */
  const RAMP = ["#fde725", "#7ad151", "#22a884", "#2a788e", "#414487", "#440154"];
  const rampColour = (share) => {
    const ramp = charts.isDark() ? [...RAMP].reverse() : RAMP;
    const place = Math.max(0, Math.min(0.9999, share)) * (ramp.length - 1);
    const [from, to] = [ramp[Math.floor(place)], ramp[Math.floor(place) + 1]];
    const mix = (start) => Math.round(parseInt(from.slice(start, start + 2), 16) * (1 - place % 1)
      + parseInt(to.slice(start, start + 2), 16) * (place % 1));
    return `rgb(${mix(1)}, ${mix(3)}, ${mix(5)})`;
  };

  // Not by a width: a label would lie on a box of that width.
  const shortened = (name) => (name.length > 18 ? `${name.slice(0, 17)}…` : name);

  let drawn = [];
  const draw = (instance) => {
    drawn = axes();
    const last = drawn[drawn.length - 1];
    const direction = data.columnsByName.get(last?.name)?.direction;
    const share = (run) => {
      const position = last.position(run);
      if (position === null) return null;
      const place = last.high > last.low ? (position - last.low) / (last.high - last.low) : 1;
      return direction === "minimize" ? 1 - place : place;
    };
    const faint = charts.colour("faint");
    // Lines would cross out what lies on them.
    const label = { fontSize: charts.fontSize(), backgroundColor: charts.colour("raised"),
      padding: [1, 3], borderRadius: 3 };
    const lines = data.runs.map((run, index) => {
      const value = share(index);
      return { value: drawn.map((axis) => axis.position(index) ?? "-"), name: run.name,
        lineStyle: { color: value === null ? faint : rampColour(value),
          opacity: state.isShown(index) ? 0.85 : 0.06 } };
    });
    instance.setOption({
      animation: false,
      parallel: { left: 50, right: 5 * charts.fontSize(), top: 44, bottom: 24,
        parallelAxisDefault: {
          nameLocation: "start", nameGap: 18, nameRotate: 0,
          nameTextStyle: { color: charts.colour("text"), fontSize: charts.fontSize() },
          axisLine: { lineStyle: { color: charts.colour("line"), width: 1.5 } },
          axisTick: { lineStyle: { color: charts.colour("line") } },
          axisLabel: { ...label, color: faint, hideOverlap: true },
          areaSelectStyle: { width: 18, color: charts.colour("accent"), opacity: 0.25,
            borderColor: charts.colour("accent"), borderWidth: 1 } } },
      parallelAxis: drawn.map((axis, dim) => ({ dim, id: `axis${dim}`, name: axis.label,
        nameLocation: "end", scale: true,
        ...(axis.kind === "category" ? { type: "category", data: axis.texts,
          axisTick: { show: false },
          axisLabel: { ...label, color: charts.colour("text"), interval: 0, formatter: shortened } }
          : { type: axis.log ? "log" : "value", min: axis.low === axis.high ? undefined : axis.low,
            max: axis.low === axis.high ? undefined : axis.high,
            axisLabel: { ...label, color: faint,
              formatter: axis.log ? charts.logLabel : (value) => expkit.format.number(value) } }) })),
      series: [{ type: "parallel", smooth: false, lineStyle: { width: data.runs.length > 200 ? 1 : 2 },
        inactiveOpacity: 0.04, activeOpacity: 0.85, emphasis: { disabled: true },
        progressive: 0, data: lines }],
    }, { notMerge: true });
    isRestoring = true;
    drawn.forEach((axis, dim) => {
      const range = state.current.brush[axis.name];
      if (range) instance.dispatchAction({ type: "axisAreaSelect", parallelAxisId: `axis${dim}`, intervals: [range] });
    });
    isRestoring = false;
    listen(instance);
  };

  let isRestoring = false;
  const listening = new WeakSet();
  const listen = (instance) => {
    if (listening.has(instance)) return;
    listening.add(instance);
    instance.on("axisareaselected", () => {
      if (isRestoring) return;
      const brush = {};
      const option = instance.getModel().getSeriesByIndex(0).coordinateSystem;
      drawn.forEach((axis, dim) => {
        const [interval] = option.getAxis(option.dimensions[dim]).model.activeIntervals;
        if (interval) brush[axis.name] = [...interval].sort((a, b) => a - b);
      });
      ownChange = true;
      state.set({ brush });
      ownChange = false;
    });
  };
  let ownChange = false;

  const start = () => {
    const section = document.getElementById("parallel");
    if (!data.keys.length || data.runs.length < 2) { section.hidden = true; return; }
    const node = element("div", { class: "plot tall", role: "img",
      "aria-label": `Parallel coordinates of ${data.keys.join(", ")} and ${state.current.metric}; `
        + "the filter above selects the same runs by text, such as model=cnn" });
    section.querySelector("figure").prepend(node);
    const select = expkit.choices.select(data.measured, "metric");
    section.querySelector(".controls").prepend(element("label", {}, "Metric", select));
    const chart = charts.add(node, draw, ["metric", "theme"]);
    // A brush draws its own lines; what other choices leave out is drawn anew.
    state.onChange(state.SELECTING, () => { if (!ownChange) charts.invalidate(chart); });
  };
  return { start };
})();

expkit.choices = (() => {
  const { data, state } = expkit;
  const { element } = expkit.dom;
  /* A list to choose a column from, tied to a choice of the state. */
  const select = (names, choice, none = null) => {
    const options = names.map((name) =>
      element("option", { value: name }, data.columnsByName.get(name).label));
    if (none !== null) options.unshift(element("option", { value: "" }, none));
    const node = element("select", { onchange: () => state.set({ [choice]: node.value }) }, options);
    const show = () => { node.value = state.current[choice]; };
    state.onChange([choice], show);
    show();
    return node;
  };
  return { select };
})();
