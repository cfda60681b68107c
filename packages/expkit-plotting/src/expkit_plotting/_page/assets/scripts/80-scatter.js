/* Any key or number of the runs against any other. */
"use strict";

expkit.scatter = (() => {
  const { data, state, charts } = expkit;
  const { element } = expkit.dom;
  let places = [];

  /* Runs of one option lie beside each other, in their order, not by chance. */
  const spreadOut = (axis, positions) => {
    const counts = new Map();
    if (axis.kind !== "category") return positions;
    const members = new Map();
    positions.forEach((position) => members.set(position, (members.get(position) ?? 0) + 1));
    return positions.map((position) => {
      const count = counts.get(position) ?? 0;
      counts.set(position, count + 1);
      return position + 0.5 * ((count + 0.5) / members.get(position) - 0.5);
    });
  };

  const option = (axis, isX) => {
    const style = charts.axisStyle();
    const shared = { name: axis.label, nameLocation: "middle", nameGap: isX ? 28 : 48, ...style };
    const margin = (axis.high - axis.low) * 0.05 || 0.5;
    if (axis.kind === "category") {
      const ticks = axis.texts.map((_, place) => place);
      return { ...shared, type: "value", min: -0.5, max: axis.texts.length - 0.5,
        splitLine: { show: false }, axisTick: { ...style.axisTick, customValues: ticks },
        axisLabel: { ...style.axisLabel, customValues: ticks, width: 120, overflow: "truncate",
          formatter: (value) => axis.texts[value] ?? "" } };
    }
    if (axis.log) return { ...shared, type: "log", min: axis.low / 1.3, max: axis.high * 1.3,
      axisLabel: { ...style.axisLabel, formatter: charts.logLabel } };
    return { ...shared, type: "value", min: axis.low - margin, max: axis.high + margin,
      axisLabel: { ...style.axisLabel, formatter: (value) =>
        (value === axis.low - margin || value === axis.high + margin ? "" : expkit.format.number(value)) } };
  };

  const draw = (instance) => {
    const x = expkit.axes.axis(state.current.x || data.scatter.x);
    const y = expkit.axes.axis(state.current.y || data.scatter.y);
    const runs = data.runs.map((_, index) => index).filter(
      (run) => x.position(run) !== null && y.position(run) !== null);
    const xs = spreadOut(x, runs.map(x.position));
    const ys = spreadOut(y, runs.map(y.position));
    places = runs.map((run, index) => ({ run, value: [xs[index], ys[index]] }));
    const missing = data.runs.length - runs.length;
    document.getElementById("scatter-note").textContent = missing
      ? `${missing} ${missing === 1 ? "run has" : "runs have"} no value here.` : "";
    instance.setOption({
      animation: false,
      grid: { left: 30, right: 20, top: 14, bottom: 34, containLabel: true },
      xAxis: option(x, true), yAxis: option(y, false),
      series: [{ type: "scatter", symbolSize: runs.length > 300 ? 6 : 10, cursor: "pointer",
        data: places.map(({ run, value }) => ({ value, itemStyle: {
          color: expkit.curves.runColour(run), opacity: state.isShown(run) ? 0.85 : 0.08,
          borderColor: charts.colour("raised"), borderWidth: 0.5 } })) }],
    }, { notMerge: true });
    instance.off("mouseover");
    instance.off("click");
    instance.on("mouseover", (event) => {
      const { run } = places[event.dataIndex];
      const pointer = event.event.event;
      charts.showTip(pointer.clientX, pointer.clientY, element("strong", {}, data.runs[run].name),
        element("div", {}, `${x.label}: ${expkit.format.text(data.value(run, x.name))}`),
        element("div", {}, `${y.label}: ${expkit.format.text(data.value(run, y.name))}`));
    });
    instance.on("mouseout", charts.hideTip);
    instance.on("click", (event) => {
      charts.hideTip();
      state.set({ run: data.runs[places[event.dataIndex].run].id });
    });
  };

  const start = () => {
    const section = document.getElementById("scatter");
    if (!data.scatter) { section.hidden = true; return; }
    const names = [...data.keys, ...data.measured, ...data.otherNumbers];
    const controls = section.querySelector(".controls");
    const choice = (label, key) => {
      const node = expkit.choices.select(names, key);
      node.value = state.current[key] || data.scatter[key];
      state.onChange([key], () => { node.value = state.current[key] || data.scatter[key]; });
      return element("label", {}, label, node);
    };
    controls.append(choice("Horizontal", "x"), choice("Vertical", "y"));
    const node = element("div", { class: "plot tall", role: "img",
      "aria-label": "Scatter of runs; the table of runs has the same numbers" });
    section.querySelector("figure").prepend(node);
    charts.add(node, draw, ["x", "y", "theme", ...state.SELECTING]);
    node.addEventListener("pointerleave", charts.hideTip);
  };
  return { start };
})();
