/* One run in full, in a panel; and the keys in which runs differ. */
"use strict";

expkit.details = (() => {
  const { data, state } = expkit;
  const { element, replace, copyButton } = expkit.dom;
  const { text, duration } = expkit.format;
  const dialog = document.getElementById("run");

  /* The configuration of a run by dotted key: what all share, with the changes of this run. */
  const configOf = (index) => {
    const { set, without } = data.configs.runs[index] ?? { set: null };
    if (set === null) return null;
    const config = new Map(Object.entries(data.configs.base));
    for (const key of without ?? []) config.delete(key);
    for (const [key, value] of Object.entries(set)) config.set(key, value);
    return config;
  };
  const ABSENT = Symbol("absent");
  const PLACES = new Set(["run_name", "experiment_id", "results_dir"]);  // where a run is, not what
  const shownValue = (value) => (value === ABSENT ? element("span", { class: "faint" }, "not there") : text(value));

  const differences = (first, second) => {
    const [a, b] = [configOf(first), configOf(second)];
    if (a === null || b === null) return null;
    return [...new Set([...a.keys(), ...b.keys()])].map((key) =>
      [key, a.has(key) ? a.get(key) : ABSENT, b.has(key) ? b.get(key) : ABSENT])
      .filter(([key, one, other]) => !PLACES.has(key) && (one === ABSENT || other === ABSENT
        || JSON.stringify(one) !== JSON.stringify(other)));
  };
  const comparison = (index, other, title) => {
    if (other === null || other === undefined || other === index) return [];
    const rows = differences(index, other);
    if (rows === null) return [];
    return [element("h3", {}, `Difference to ${title}, ${data.runs[other].name}`),
      rows.length ? element("table", { class: "differences" },
        element("thead", {}, element("tr", {}, ["key", "this run", data.runs[other].name]
          .map((head) => element("th", { scope: "col" }, head)))),
        element("tbody", {}, rows.map(([key, own, theirs]) => element("tr", {},
          element("th", { scope: "row", class: "mono" }, key), element("td", { class: "mono" }, shownValue(own)),
          element("td", { class: "mono" }, shownValue(theirs))))))
        : element("p", { class: "faint" }, "Their configurations are equal.")];
  };

  const facts = (pairs) => element("dl", { class: "facts" }, pairs.filter(([, value]) =>
    value !== null && value !== undefined && value !== "").flatMap(([label, value]) =>
    [element("dt", {}, label), element("dd", {}, value)]));

  /* A cell of a confusion matrix is as dark as its share of the row: of the true class. */
  const shade = (table, row, cell) => {
    const total = row.slice(1).reduce((sum, count) => sum + count, 0);
    const share = table.shaded && total ? cell / total : 0;
    const colour = expkit.charts.colour("accent");
    return share ? { background: `color-mix(in srgb, ${colour} ${Math.round(45 * share)}%, transparent)` } : {};
  };
  const dataTable = (table) => element("div", { class: "scroll" }, element("table", { class: "data" },
    element("thead", {}, element("tr", {}, table.head.map((cell) => element("th", { scope: "col" }, text(cell))))),
    element("tbody", {}, table.rows.map((row) => element("tr", {}, row.map((cell, place) =>
      (table.shaded && place === 0 ? element("th", { scope: "row" }, cell)
        : element("td", { class: data.asNumber(cell) === null ? "" : "number",
          style: shade(table, row, cell) }, text(cell)))))))));

  const draw = (index) => {
    const run = data.runs[index];
    const detail = data.details[index];
    const config = configOf(index);
    const measured = data.measured.map((name) => [name, data.value(index, name)])
      .filter(([, value]) => value !== null);
    const order = [...document.querySelectorAll("#runs-table tbody tr:not([hidden])")]
      .map((row) => Number(row.dataset.run));
    const place = order.indexOf(index);
    const step = (offset, label) => element("button", { type: "button", class: "action",
      disabled: order[place + offset] === undefined, onclick: () =>
        state.set({ run: data.runs[order[place + offset]].id }) }, label);
    replace(dialog,
      element("div", { class: "head" },
        element("h2", { id: "run-name" }, run.name),
        step(-1, "Previous"), step(1, "Next"),
        element("button", { type: "button", onclick: () => dialog.close() }, "Close")),
      element("p", {}, element("span", { class: `state ${run.state}` }, run.state),
        ` · attempt ${detail.attempt} · ${duration(detail.seconds)}`),
      detail.error ? [element("h3", {}, "Why it failed"), element("p", {}, detail.error.summary),
        element("pre", { tabindex: 0 }, detail.error.traceback)] : "",
      facts([["started", detail.started], ["ended", detail.ended], ["host", detail.host],
        ["code", detail.code], ["configuration hash", detail.config_hash], ["files", links(detail)],
        ["continued", detail.continued]]),
      measured.length ? [element("h3", {}, "Numbers"), facts(measured.map(([name, value]) =>
        [data.columnsByName.get(name).label, text(value)]))] : "",
      ...comparison(index, data.best, "the best run"),
      ...comparison(index, detail.before, "the run before it"),
      detail.images.length ? [element("h3", {}, "Images"), element("div", { class: "images" },
        detail.images.map((image) => element("figure", {},
          image.data ? element("img", { src: image.data, alt: image.name, loading: "lazy" })
            : element("p", { class: "faint" }, image.reason),
          element("figcaption", { class: "faint" }, image.name))))] : "",
      detail.tables.map((table) => [element("h3", {}, table.name), dataTable(table),
        table.note ? element("p", { class: "faint" }, table.note) : ""]),
      config === null ? "" : [element("h3", {}, "Configuration"),
        copyButton("Copy", "The configuration", () => yaml(config)), element("pre", { tabindex: 0 }, yaml(config))],
      detail.timings.length ? [element("h3", {}, "Timings"), dataTable({ head: ["timer", "total", "count"],
        rows: detail.timings })] : "",
      detail.environment !== null && data.environments[detail.environment] ? element("details", {},
        element("summary", {}, "Environment"),
        facts(Object.entries(data.environments[detail.environment]).map(([key, value]) => [key, text(value)]))) : "",
      detail.log ? [element("h3", {}, "Last lines of the log"), element("pre", { tabindex: 0 }, detail.log)] : "",
      detail.left_out ? element("p", { class: "faint" }, detail.left_out) : "",
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  };

  const links = (detail) => element("span", {}, detail.files.flatMap((file, place) => [
    place ? ", " : "", element("a", { href: file.href }, file.name)]));

  const yaml = (config) => [...config].map(([key, value]) => `${key}: ${text(value)}`).join("\n");

  const show = () => {
    const index = data.runs.findIndex((run) => run.id === state.current.run);
    if (index >= 0) draw(index);
    else if (dialog.open) dialog.close();
  };

  const start = () => {
    dialog.addEventListener("close", () => state.set({ run: "" }));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    state.onChange(["run"], show);
    show();
    drawDiffering();
    state.onChange(state.SELECTING, drawDiffering);
  };

  /* The keys whose values are not the same in all runs that are shown. */
  const drawDiffering = () => {
    const section = document.getElementById("differences");
    const runs = state.shown().filter((run) => data.configs.runs[run]);
    const keys = new Map();
    for (const run of runs) {
      for (const key of [...Object.keys(data.configs.runs[run].set), ...(data.configs.runs[run].without ?? [])]) {
        if (!keys.has(key) && !PLACES.has(key)) keys.set(key, new Map());
      }
    }
    for (const run of runs) {
      const { set, without } = data.configs.runs[run];
      for (const [key, counts] of keys) {
        let value = "not there";
        if (key in set) value = text(set[key]);
        else if (!(without ?? []).includes(key) && key in data.configs.base) value = text(data.configs.base[key]);
        counts.set(value, (counts.get(value) ?? 0) + 1);
      }
    }
    const rows = [...keys].filter(([, counts]) => counts.size > 1)
      .sort(([key, first], [other, second]) => first.size - second.size || (key < other ? -1 : 1));
    section.hidden = !rows.length;
    replace(section.querySelector("tbody"), rows.map(([key, counts]) => element("tr", {},
      element("th", { scope: "row", class: "mono" }, key),
      element("td", {}, [...counts].slice(0, 12).map(([value, count], place) => [place ? ", " : "",
        element("span", { class: "mono" }, value), element("span", { class: "faint" }, ` × ${count}`)]).flat(),
        counts.size > 12 ? element("span", { class: "faint" }, ` and ${counts.size - 12} more values`) : ""))));
  };

  return { start };
})();
