/* Elements from data. Text only ever becomes text: nothing here reads markup. */
"use strict";

expkit.dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  const nodes = (children) =>
    children.flat(Infinity).filter((child) => child !== null && child !== undefined);
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "style") Object.assign(node.style, value);
      else node.setAttribute(name, value === true ? "" : String(value));
    }
    node.append(...nodes(children));
    return node;
  };
  const element = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  const replace = (node, ...children) => node.replaceChildren(...nodes(children));

  /* A short line in the colour and dashes of a curve. */
  const lineSample = (colour, dashes, width = 26) => svg(
    "svg", { width, height: 8, viewBox: `0 0 ${width} 8`, "aria-hidden": "true" },
    svg("line", { x1: 0, y1: 4, x2: width, y2: 4, stroke: colour, "stroke-width": 2.4,
      "stroke-dasharray": (dashes ?? []).join(" ") }),
  );

  const announcer = document.getElementById("announcer");
  const announce = (text) => { announcer.textContent = text; };

  const copy = async (text, label) => {
    let copied = false;
    try {
      await navigator.clipboard.writeText(text);
      copied = true;
    } catch {  // a page from a file may not be allowed to
      const area = element("textarea", { readonly: true });
      area.value = text;
      document.body.append(area);
      area.select();
      copied = document.execCommand("copy");
      area.remove();
    }
    announce(copied ? `${label} copied` : `${label} could not be copied`);
    return copied;
  };

  /* A button that copies what `text()` returns, and says on its face that it did. */
  const copyButton = (label, what, text) => {
    const button = element("button", { type: "button", class: "action", onclick: async () => {
      const copied = await copy(text(), what);
      button.textContent = copied ? "Copied" : "Cannot copy";
      setTimeout(() => { button.textContent = label; }, 1500);
    } }, label);
    return button;
  };

  return { element, replace, lineSample, announce, copyButton };
})();

expkit.format = (() => {
  const number = (value, digits = 4) => {
    if (value === null || value === undefined) return "–";
    if (Number.isNaN(value)) return "NaN";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
    return Number(value.toPrecision(digits)).toString();
  };
  const text = (value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value === "number") return number(value, 6);
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  const duration = (seconds) => {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  };
  return { number, text, duration };
})();
