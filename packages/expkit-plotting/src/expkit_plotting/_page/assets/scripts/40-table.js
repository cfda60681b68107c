/* The tables of runs and of groups: the static ones, made to sort, filter, hide and reorder. */
"use strict";

expkit.table = (() => {
  const { data, state } = expkit;
  const { element, announce, copyButton } = expkit.dom;

  const table = document.getElementById("runs-table");
  const body = table.tBodies[0];
  /* The static table has the first few thousand runs. */
  const makeRow = (run, index) => {
    const cell = (value, place) => {
      const number = data.asNumber(value);
      const content = number === null ? expkit.format.text(value) : expkit.format.number(number);
      return place === 0 ? element("th", { scope: "row" }, content)
        : element("td", { class: number === null ? "" : "number" }, content);
    };
    return element("tr", { "data-run": index }, element("td", { class: "pick" }),
      run.values.map(cell));
  };
  const written = [...body.rows];
  const rows = data.runs.map((run, index) => written[index] ?? makeRow(run, index));
  body.append(...rows.slice(written.length));
  const heads = [...table.tHead.rows[0].cells].slice(1);  // the first ticks runs

  const natural = new Intl.Collator(undefined, { numeric: true });
  const compare = (first, second) => {
    if (first === null || second === null) return first === second ? 0 : first === null ? 1 : -1;
    const [a, b] = [data.asNumber(first), data.asNumber(second)];
    if (a !== null && b !== null) {
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return a - b;
    }
    return natural.compare(expkit.format.text(first), expkit.format.text(second));
  };
  /* Descending or not, what has no value comes last. */
  const sorted = (items, value, isDescending) => [...items].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    const isEmpty = (part) => part === null || Number.isNaN(data.asNumber(part));
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);
    return isDescending ? compare(b, a) : compare(a, b);
  });
  const parse = (text) => (text.startsWith("-") ? [text.slice(1), true] : [text, false]);

  // ------------------------------------------------------------ runs

  const columns = () => {
    const names = data.columns.map((column) => column.name);
    const order = state.current.order.filter((name) => names.includes(name));
    return [...order, ...names.filter((name) => !order.includes(name))];
  };
  let arranged = data.columns.map((column) => column.name);

  const arrange = () => {
    const wanted = columns();
    const hidden = new Set(state.current.hide);
    const places = wanted.map((name) => data.columnsByName.get(name).index);
    const isMoved = wanted.some((name, place) => name !== arranged[place]);
    for (const row of [table.tHead.rows[0], ...rows]) {
      row.expkitCells ??= [...row.cells].slice(1);
      if (isMoved) row.append(...places.map((place) => row.expkitCells[place]));
      wanted.forEach((name, place) => { row.expkitCells[places[place]].hidden = hidden.has(name); });
    }
    arranged = wanted;
  };

  const sort = () => {
    const [name, isDescending] = parse(state.current.sort);
    const column = data.columnsByName.get(name);
    const order = column === undefined ? data.runs.map((_, index) => index)
      : sorted(data.runs.map((_, index) => index), (run) => data.runs[run].values[column.index],
        isDescending);
    body.append(...order.map((run) => rows[run]));
    heads.forEach((head, index) => {
      const isSorted = data.columns[index].name === name;
      if (isSorted) head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  };

  const filter = () => {
    const picked = new Set(state.current.pick);
    rows.forEach((row, index) => {
      row.hidden = !state.isShown(index);
      row.classList.toggle("picked", picked.has(data.runs[index].id));
      row.querySelector("input").checked = picked.has(data.runs[index].id);
    });
    const count = state.shown().length;
    const text = `${count} of ${data.runs.length} runs`;
    document.getElementById("count").textContent = text;
    document.getElementById("clear").hidden = state.isWhole() && !state.current.q;
    announce(text);
  };

  /* While runs are ticked only these are shown; the box shows all others again. */
  const pick = (id, isPicked) => {
    const picked = state.current.pick.filter((other) => other !== id);
    state.set({ pick: isPicked ? [...picked, id] : picked });
  };

  const cycle = (key, name, direction) => {
    const first = direction === "maximize" ? `-${name}` : name;
    const second = direction === "maximize" ? name : `-${name}`;
    const now = state.current[key];
    state.set({ [key]: now === first ? second : now === second ? "" : first });
  };

  const columnMenu = () => {
    const list = element("ul", {});
    const fillList = () => {
      list.replaceChildren(...columns().map((name, place, all) => {
        const column = data.columnsByName.get(name);
        const move = (offset) => {
          const order = [...all];
          [order[place], order[place + offset]] = [order[place + offset], order[place]];
          state.set({ order });
        };
        const box = element("input", { type: "checkbox", onchange: () => {
          const hidden = state.current.hide.filter((other) => other !== name);
          state.set({ hide: box.checked ? hidden : [...hidden, name] });
        } });
        box.checked = !state.current.hide.includes(name);
        return element("li", {},
          element("label", {}, box, column.label),
          element("button", { type: "button", "aria-label": `Move ${column.label} left`,
            disabled: place === 0, onclick: () => move(-1) }, "↑"),
          element("button", { type: "button", "aria-label": `Move ${column.label} right`,
            disabled: place === all.length - 1, onclick: () => move(1) }, "↓"));
      }));
    };
    fillList();
    state.onChange(["hide", "order"], fillList);
    return element("details", { class: "menu" },
      element("summary", {}, "Columns"), element("div", {}, list));
  };

  // ------------------------------------------------------------ as text

  const csvCell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  /* A spreadsheet would run a cell that starts like a formula. */
  const csvText = (value) => {
    if (value === null) return "";
    if (typeof value === "number") return String(value);
    const text = expkit.format.text(value);
    return csvCell(/^[=+\-@\t\r]/.test(text) && data.asNumber(text) === null ? `'${text}` : text);
  };
  const latexText = (text) => text.replace(/[\\{}$&#_%~^]/g, (letter) => ({
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}",
  }[letter] ?? `\\${letter}`));

  const shownTable = () => {
    const isGroups = state.current.tab === "groups";
    if (isGroups) return expkit.groups.cells();
    const hidden = new Set(state.current.hide);
    const names = columns().filter((name) => !hidden.has(name));
    const order = [...body.rows].map((row) => Number(row.dataset.run)).filter(state.isShown);
    return {
      heads: names.map((name) => data.columnsByName.get(name).label),
      rows: order.map((run) => names.map((name) => data.value(run, name))),
      texts: (value) => (typeof value === "number" ? expkit.format.number(value) : expkit.format.text(value)),
    };
  };
  const asCsv = () => {
    const { heads: titles, rows: cells } = shownTable();
    return [titles.map(csvText), ...cells.map((row) => row.map(csvText))]
      .map((row) => row.join(",")).join("\n") + "\n";
  };
  const asLatex = () => {
    const { heads: titles, rows: cells, texts } = shownTable();
    const line = (parts) => `${parts.map(latexText).join(" & ").replaceAll("±", "$\\pm$")} \\\\`;
    const kinds = titles.map((_, place) =>
      (cells.every((row) => row[place] === null || data.asNumber(row[place]) !== null
        || /±/.test(String(row[place]))) ? "r" : "l"));
    return [`\\begin{tabular}{${kinds.join("")}}`, "\\toprule", line(titles), "\\midrule",
      ...cells.map((row) => line(row.map(texts))), "\\bottomrule", "\\end{tabular}", ""].join("\n");
  };

  const start = () => {
    heads.forEach((head, index) => {
      const column = data.columns[index];
      head.replaceChildren(element("button", { type: "button", title: column.name,
        onclick: () => cycle("sort", column.name, column.direction) }, column.label));
    });
    rows.forEach((row, index) => {
      const run = data.runs[index];
      const box = element("input", { type: "checkbox", "aria-label": `Show ${run.name}`,
        onchange: () => pick(run.id, box.checked) });
      row.cells[0].replaceChildren(box);
      const name = row.querySelector("th");
      name.replaceChildren(element("button", { type: "button", title: run.name,
        onclick: () => state.set({ run: run.id }) }, run.name));
    });
    document.getElementById("table-tools").append(
      columnMenu(), copyButton("Copy CSV", "The table", asCsv),
      copyButton("Copy LaTeX", "The table", asLatex));
    state.onChange(["sort"], sort);
    state.onChange(["hide", "order"], arrange);
    state.onChange(state.SELECTING, filter);
    if (state.current.sort) sort();
    if (state.current.hide.length || state.current.order.length) arrange();
    filter();
  };

  return { start, sorted, parse, cycle, asCsv, asLatex };
})();

/* Mean ± standard deviation of each group, and which of them is best. */
expkit.groups = (() => {
  const { data, state } = expkit;
  const { element } = expkit.dom;

  const cellText = ([mean, spread, n]) => {
    if (mean === null) return "–";
    const text = expkit.format.number(data.asNumber(mean));
    if (spread === null || n < 2) return text;
    return `${text} ± ${expkit.format.number(data.asNumber(spread), 2)}`;
  };

  /* Groups of which at least one run is shown. */
  const shown = () => data.groups.rows.filter((group) => group.runs.some(state.isShown));

  const order = () => {
    const [name, isDescending] = expkit.table.parse(state.current.gsort);
    const key = data.groups.keys.indexOf(name);
    const measured = data.groups.columns.findIndex((column) => column.name === name);
    if (key < 0 && measured < 0) return shown();
    return expkit.table.sorted(shown(),
      (group) => (key >= 0 ? group.labels[key] : group.cells[measured][0]), isDescending);
  };

  const cells = () => ({
    heads: [...data.groups.labels, "n", ...data.groups.columns.map((column) => column.label)],
    rows: order().map((group) => [...group.labels, group.n, ...group.cells.map(cellText)]),
    texts: expkit.format.text,
  });

  const draw = () => {
    const { keys, columns } = data.groups;
    const [sortedBy, isDescending] = expkit.table.parse(state.current.gsort);
    const head = (name, label, direction, kind) => element("th", {
      scope: "col", class: kind,
      "aria-sort": name === sortedBy ? (isDescending ? "descending" : "ascending") : null,
    }, name === null ? label : element("button", { type: "button",
      onclick: () => expkit.table.cycle("gsort", name, direction) }, label));
    document.getElementById("groups-table").replaceChildren(
      element("thead", {}, element("tr", {},
        keys.map((name, index) => head(name, data.groups.labels[index], null, "")),
        head(null, "n", null, "number"),
        columns.map((column) => head(column.name, column.label, column.direction, "number")))),
      element("tbody", {}, order().map((group) => element("tr", {},
        group.labels.map((label, index) => (index === 0
          ? element("th", { scope: "row" }, expkit.format.text(label))
          : element("td", {}, expkit.format.text(label)))),
        element("td", { class: "number" }, String(group.n)),
        group.cells.map((cell, index) => element("td", {
          class: group.best.includes(index) ? "number best" : "number" }, cellText(cell)))))));
  };

  const start = () => {
    const tabs = [...document.querySelectorAll("#tables [role=tab]")];
    const show = () => tabs.forEach((tab) => {
      const isSelected = tab.dataset.tab === state.current.tab;
      tab.setAttribute("aria-selected", isSelected);
      tab.tabIndex = isSelected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isSelected;
    });
    tabs.forEach((tab, place) => {
      tab.addEventListener("click", () => state.set({ tab: tab.dataset.tab }));
      tab.addEventListener("keydown", (event) => {
        const offset = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (offset === undefined) return;
        const next = tabs[(place + offset + tabs.length) % tabs.length];
        state.set({ tab: next.dataset.tab });
        next.focus();
      });
    });
    state.onChange(["tab"], show);
    state.onChange(["gsort", ...state.SELECTING], draw);
    show();
    draw();
  };
  return { start, cells, cellText };
})();
