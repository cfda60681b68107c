/* What the reader has chosen. It lives in the page's address, so that it can be sent. */
"use strict";

expkit.state = (() => {
  const { data } = expkit;
  const listeners = new Set();
  const DEFAULTS = Object.freeze({
    q: "",          // what was typed into the filter
    pick: [],       // names of runs that were ticked
    brush: {},      // by axis of the parallel coordinates [low, high]
    view: "auto",   // curves: auto, groups, runs
    log: {},        // by metric: whether its axis is logarithmic, where that is not the default
    smooth: 0,      // of curves, from 0 to 0.99
    tab: "runs",    // of the tables
    sort: "",       // column, with "-" before it for descending
    gsort: "",      // the same, of the table of groups
    hide: [],       // columns
    order: [],      // columns, where another order than the table's was chosen
    metric: data.metric ?? "",
    x: "", y: "",   // of the scatter
    run: "",        // the run whose details are open
    theme: "",
  });
  const current = structuredClone(DEFAULTS);

  const isDefault = (name) =>
    JSON.stringify(current[name]) === JSON.stringify(DEFAULTS[name]);

  const address = () => {
    const parts = new URLSearchParams();
    for (const name of Object.keys(DEFAULTS)) {
      if (isDefault(name)) continue;
      const value = current[name];
      parts.set(name, typeof value === "string" ? value : JSON.stringify(value));
    }
    return parts.toString();
  };

  /* Take over what the address says; whatever is of another type is left out. */
  const readAddress = () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    for (const [name, fallback] of Object.entries(DEFAULTS)) {
      let value = structuredClone(fallback);
      if (parts.has(name)) {
        const text = parts.get(name);
        try {
          const parsed = typeof fallback === "string" ? text : JSON.parse(text);
          const isSameKind = typeof parsed === typeof fallback
            && Array.isArray(parsed) === Array.isArray(fallback) && parsed !== null;
          if (isSameKind) value = parsed;
        } catch { /* a damaged address shows the whole page */ }
      }
      current[name] = value;
    }
    expand();
  };

  let timer = 0;
  const writeAddress = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const text = address();
      if (text === location.hash.slice(1)) return;
      try {
        history.replaceState(null, "", text ? `#${text}` : location.href.split("#")[0]);
      } catch { /* shown inside a notebook, where there is no address */ }
    }, 150);
  };

  // ------------------------------------------------------------ which runs are shown

  const terms = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  const COMPARISON = /^([^<>=!]+)(<=|>=|!=|<|>|=)(.+)$/;
  const texts = data.runs.map((run) =>
    run.values.map((value) => expkit.format.text(value)).join(" ").toLowerCase());

  const columnOf = (name) => data.columns.findIndex(
    (column) => column.name.toLowerCase() === name || column.label.toLowerCase() === name);

  const matches = (term, index) => {
    const comparison = COMPARISON.exec(term);
    const column = comparison === null ? -1 : columnOf(comparison[1]);
    if (column < 0) return texts[index].includes(term);
    const [, , operator, wanted] = comparison;
    const value = data.runs[index].values[column];
    const number = data.asNumber(value);
    const limit = Number(wanted);
    if (number !== null && !Number.isNaN(limit)) {
      return { "<": number < limit, ">": number > limit, "<=": number <= limit,
        ">=": number >= limit, "=": number === limit, "!=": number !== limit }[operator];
    }
    const isSame = expkit.format.text(value).toLowerCase() === wanted;
    return operator === "=" ? isSame : operator === "!=" ? !isSame : false;
  };

  let shown = [];
  let shownSet = new Set();
  const expand = () => {
    const wanted = terms(current.q);
    const picked = new Set(current.pick);
    const brushes = Object.entries(current.brush);
    shown = [];
    data.runs.forEach((run, index) => {
      if (picked.size && !picked.has(run.id)) return;
      if (!wanted.every((term) => matches(term, index))) return;
      if (!brushes.every(([axis, range]) => expkit.axes.isWithin(axis, index, range))) return;
      shown.push(index);
    });
    shownSet = new Set(shown);
  };

  const SELECTING = ["q", "pick", "brush"];
  const set = (changes) => {
    const changed = Object.keys(changes).filter(
      (name) => JSON.stringify(changes[name]) !== JSON.stringify(current[name]));
    if (!changed.length) return;
    Object.assign(current, changes);
    if (changed.some((name) => SELECTING.includes(name))) expand();
    writeAddress();
    for (const listener of listeners) listener(changed);
  };
  const onChange = (names, listener) => listeners.add((changed) => {
    if (changed.some((name) => names.includes(name))) listener();
  });
  addEventListener("hashchange", () => {
    readAddress();
    for (const listener of listeners) listener(Object.keys(DEFAULTS));
  });

  return {
    current, set, onChange, readAddress, address, SELECTING,
    shown: () => shown,
    isShown: (run) => shownSet.has(run),
    isWhole: () => shown.length === data.runs.length,
  };
})();

/* The axes of parallel coordinates and scatter: a key or a number of each run as a position. */
expkit.axes = (() => {
  const { data } = expkit;
  const MOST_LISTED = 8;
  const cache = new Map();

  /* Numbers keep their place, on a log scale if they span orders of magnitude; others are listed. */
  const axis = (name) => {
    if (cache.has(name)) return cache.get(name);
    const column = data.columnsByName.get(name);
    const values = data.runs.map((run) => run.values[column.index]);
    const present = values.filter((value) => value !== null);
    const numbers = present.map(data.asNumber);
    let made;
    const isNumeric = present.length > 0 && numbers.every((number) => number !== null)
      && !present.every((value) => typeof value === "boolean");
    const distinct = [...new Set(numbers)];
    // The few values of a swept key are named as they are, and lie as far apart as others.
    const isListed = column.kind === "key" && distinct.length <= MOST_LISTED;
    if (isNumeric && !isListed) {
      const finite = numbers.filter(Number.isFinite);
      const low = Math.min(...finite);
      const high = Math.max(...finite);
      const log = low > 0 && high / low >= 100;
      made = { name, label: column.label, kind: "number", log, low, high,
        position: (run) => {
          const number = data.asNumber(values[run]);
          return number === null || !Number.isFinite(number) ? null : number;
        } };
    } else {
      const ordered = isNumeric ? distinct.sort((a, b) => a - b) : column.choices ?? present;
      const texts = [...new Set(ordered.map(expkit.format.text))];
      // A run without the key has a place of its own, or its line would run past the axis.
      if (present.length < values.length) texts.push(expkit.format.text(null));
      const places = new Map(texts.map((text, place) => [text, place]));
      made = { name, label: column.label, kind: "category", texts, log: false, low: 0,
        high: texts.length - 1,
        position: (run) => {
          const place = places.get(expkit.format.text(values[run]));
          return place === undefined ? null : place;
        } };
    }
    cache.set(name, made);
    return made;
  };
  const isWithin = (name, run, [low, high]) => {
    if (!data.columnsByName.has(name)) return true;
    const position = axis(name).position(run);
    return position !== null && position >= low && position <= high;
  };
  return { axis, isWithin };
})();
