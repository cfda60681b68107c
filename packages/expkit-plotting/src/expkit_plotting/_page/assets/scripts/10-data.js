/* The page's data, as _page/content.py writes it, and how values are read from it. */
"use strict";
const expkit = {};

expkit.data = (() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("expkit-data");
  let curves = null;

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

  /* Steps are written as offsets of two bytes where they are small whole numbers. */
  const decodeSteps = (entry) => (entry.kind === "u2"
    ? Float64Array.from(new Uint16Array(bytes(entry.data)), (offset) => entry.first + offset)
    : new Float64Array(bytes(entry.data)));

  /* The curves of all metrics; they are decoded when they are first drawn. */
  const curvesOf = (metric) => {
    if (curves === null) {
      curves = read("expkit-curves");
      curves.decodedSteps = new Array(curves.steps.length);
      curves.decoded = new Map();
    }
    if (!curves.decoded.has(metric)) {
      const steps = (index) => {
        curves.decodedSteps[index] ??= decodeSteps(curves.steps[index]);
        return curves.decodedSteps[index];
      };
      curves.decoded.set(metric, (curves.metrics[metric] ?? []).map(([run, x, y]) => ({
        run, x: steps(x), y: new Float32Array(bytes(y)),
      })));
    }
    return curves.decoded.get(metric);
  };

  /* JSON knows neither NaN nor the infinities: they are written as text. */
  const SPECIAL = { NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity };
  const asNumber = (value) => {
    if (typeof value === "number") return value;
    if (typeof value === "boolean") return Number(value);
    return typeof value === "string" && value in SPECIAL ? SPECIAL[value] : null;
  };
  const columns = new Map(data.columns.map((column, index) => [column.name, { ...column, index }]));
  const value = (run, name) => data.runs[run].values[columns.get(name).index];

  return { ...data, columnsByName: columns, value, asNumber, curvesOf };
})();
