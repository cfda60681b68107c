/* While `expkit report --watch` runs, the page asks its own file whether there is a newer one. */
"use strict";

expkit.live = (() => {
  const { data } = expkit;
  const { element } = expkit.dom;
  const EVERY_MS = 3000;

  /* The file's head answers `#version` and stops loading, so that asking costs little. */
  const start = () => {
    if (!data.live) return;
    let frame = null;
    addEventListener("message", (event) => {
      if (frame === null || event.source !== frame.contentWindow) return;
      const version = event.data?.expkitVersion;
      frame.remove();
      frame = null;
      if (typeof version !== "string" || version === data.version) return;
      if (document.querySelector("dialog[open]") || document.activeElement?.matches("input, select")) {
        offer();
      } else {
        reload();
      }
    });
    setInterval(() => {
      if (document.hidden) return;
      frame?.remove();
      frame = element("iframe", { src: `${location.href.split("#")[0]}#version`, hidden: true,
        title: "version of this page", "aria-hidden": "true", tabindex: -1 });
      document.body.append(frame);
    }, EVERY_MS);
  };
  const reload = () => {
    const text = expkit.state.address();
    history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
    location.reload();
  };
  const offer = () => {
    if (document.querySelector(".news")) return;
    const button = element("button", { type: "button", onclick: reload }, "Show it");
    (document.querySelector("dialog[open]") ?? document.body).append(
      element("div", { class: "news", role: "status" }, "There is a newer report. ", button));
  };
  return { start };
})();
