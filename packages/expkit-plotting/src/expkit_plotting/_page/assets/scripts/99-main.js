/* From the static page to the live one. */
"use strict";

(() => {
  const { state, data } = expkit;
  const { element, copyButton } = expkit.dom;
  state.readAddress();
  document.documentElement.classList.add("live-page");
  expkit.charts.applyTheme();

  const search = document.getElementById("filter");
  search.value = state.current.q;
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => state.set({ q: search.value }), data.runs.length > 300 ? 120 : 0);
  });
  state.onChange(["q"], () => { if (document.activeElement !== search) search.value = state.current.q; });
  document.getElementById("clear").addEventListener("click", () => {
    search.value = "";
    state.set({ q: "", pick: [], brush: {} });
  });
  document.getElementById("theme").addEventListener("click", () =>
    state.set({ theme: expkit.charts.isDark() ? "light" : "dark" }));
  for (const node of document.querySelectorAll("[data-copy]")) {
    node.append(copyButton("Copy", node.dataset.copy, () => node.querySelector("code").textContent));
  }
  for (const node of document.querySelectorAll("[data-run]:not(tr)")) {
    const name = data.runs[Number(node.dataset.run)];
    node.replaceChildren(element("button", { type: "button", onclick: () => state.set({ run: name.id }) },
      node.textContent));
  }

  expkit.table.start();
  expkit.groups.start();
  expkit.curves.start();
  expkit.parallel.start();
  expkit.scatter.start();
  expkit.details.start();
  expkit.live.start();
})();
