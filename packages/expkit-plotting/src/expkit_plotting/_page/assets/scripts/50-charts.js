/* What all charts share: colours of the page, the box beside the pointer, drawing when visible. */
"use strict";

expkit.charts = (() => {
  const { element } = expkit.dom;
  const { state } = expkit;
  const root = document.documentElement;
  const charts = new Set();  // of {node, instance, draw}

  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const isDark = () => (root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);

  /* A dark line cannot be seen on a dark page: it is mixed with white. */
  const onPage = (hex) => {
    if (!isDark()) return hex;
    const parts = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16) / 255);
    const luminance = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    const share = luminance < 0.35 ? (0.35 - luminance) * 1.1 : 0;
    return `#${parts.map((part) => Math.round(255 * (part + (1 - part) * share))
      .toString(16).padStart(2, "0")).join("")}`;
  };

  const fontSize = () => Math.round(0.8 * parseFloat(getComputedStyle(document.body).fontSize));
  const axisStyle = () => ({
    axisLine: { onZero: false, lineStyle: { color: colour("line") } },
    axisTick: { lineStyle: { color: colour("line") } },
    axisLabel: { color: colour("faint"), fontSize: fontSize(), hideOverlap: true },
    nameTextStyle: { color: colour("faint"), fontSize: fontSize() },
    splitLine: { lineStyle: { color: colour("grid") }, showMinLine: false, showMaxLine: false },
  });
  /* Of a log axis only powers of ten are named, not where it happens to end. */
  const logLabel = (value) => {
    const exponent = Math.round(Math.log10(value) * 1e6) / 1e6;
    if (!Number.isInteger(exponent)) return "";
    return Math.abs(exponent) < 4 ? expkit.format.number(value) : `1e${exponent}`;
  };

  // ------------------------------------------------------------ the box beside the pointer

  const tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  document.body.append(tip);
  const showTip = (x, y, ...children) => {
    tip.replaceChildren(...children);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const left = x + 16 + width > innerWidth ? x - 16 - width : x + 16;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, Math.min(y + 12, innerHeight - height - 4))}px`;
  };
  const hideTip = () => { tip.hidden = true; };

  // ------------------------------------------------------------ when to draw

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const chart = entry.target.expkitChart;
      chart.isVisible = entry.isIntersecting;
      if (chart.isVisible && chart.isStale) redraw(chart);
    }
  }, { rootMargin: "300px" });
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) target.expkitChart.instance?.resize();
  });

  const redraw = (chart) => {
    chart.isStale = false;
    chart.instance ??= echarts.init(chart.node, null, { renderer: "canvas" });
    chart.draw(chart.instance);
  };
  const pending = new Set();
  let isScheduled = false;
  /* However many choices change at once, a chart is drawn once, and only while it can be seen. */
  const invalidate = (chart) => {
    chart.isStale = true;
    if (!chart.isVisible) return;
    pending.add(chart);
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      for (const waiting of pending) if (waiting.isStale) redraw(waiting);
      pending.clear();
    });
  };

  /* A chart in `node`; `draw` gets the ECharts instance, first when the node comes into sight. */
  const add = (node, draw, names) => {
    const chart = { node, draw, instance: null, isVisible: false, isStale: true };
    node.expkitChart = chart;
    charts.add(chart);
    observer.observe(node);
    sizes.observe(node);
    state.onChange(names, () => invalidate(chart));
    return chart;
  };
  const redrawAll = () => charts.forEach(invalidate);

  const applyTheme = () => {
    if (state.current.theme) root.dataset.theme = state.current.theme;
    else delete root.dataset.theme;
    redrawAll();
  };
  state.onChange(["theme"], applyTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);

  return { add, invalidate, colour, onPage, isDark, fontSize, axisStyle, logLabel,
    showTip, hideTip, applyTheme };
})();
