"use strict";
// What the person who looks says of pictures: 1 for damaged, 0 for good. A label belongs
// to what a picture shows, so it is found again in every report that shows it. Each is an
// entry of its own in the browser's storage: two windows lose nothing to each other.
const keptLabels = (keys) => {
  const PREFIX = "skclipad label ";
  const labels = new Map();
  let isKept = true;
  try {
    for (const key of keys) {
      const value = key === null ? null : localStorage.getItem(PREFIX + key);
      if (value === "0" || value === "1") labels.set(key, Number(value));
    }
  } catch { // a browser that is told to keep nothing
    isKept = false;
  }

  const put = (key, label) => {
    if (label === null) labels.delete(key);
    else labels.set(key, label);
    if (!isKept) return;
    try {
      if (label === null) localStorage.removeItem(PREFIX + key);
      else localStorage.setItem(PREFIX + key, String(label));
    } catch { // it is full
      isKept = false;
    }
  };
  return {
    get: (i) => labels.get(keys[i]) ?? null,
    set: (i, label) => { if (keys[i] !== null) put(keys[i], label); },
    forget: () => { for (const key of new Set(keys)) if (labels.has(key)) put(key, null); },
    isKept: () => isKept,
    // Calls back when another window labels a picture of this page.
    watch: (changed) => {
      addEventListener("storage", ({ key, newValue }) => {
        if (!key?.startsWith(PREFIX)) return;
        if (newValue === null) labels.delete(key.slice(PREFIX.length));
        else labels.set(key.slice(PREFIX.length), Number(newValue));
        changed();
      });
    },
  };
};

// labels.csv, which `skclipad threshold --labels` reads. Its column picture names what a
// picture showed: another one of the same path does not get its label.
const labelTable = {
  write: (rows) => {
    const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const lines = rows.map(([name, label, key]) => `${cell(name)},${label},${key ?? ""}`);
    return ["path,label,picture", ...lines, ""].join("\r\n");
  },

  // Returns how many labels there are, and what finds that of a picture by its name and
  // key, undefined if there is none; throws an Error that says what is wrong.
  read: (text) => {
    const [head, ...rows] = labelTable.cells(text.replace(/^\ufeff/, ""));
    const columns = ["path", "label", "picture"].map((name) => (head ?? []).indexOf(name));
    const [path, label, picture] = columns;
    if (path < 0 || label < 0) throw new Error("it has no columns path and label");
    const known = { 0: 0, 1: 1, good: 0, damaged: 1 };
    const [byName, byKey] = [new Map(), new Map()];
    for (const row of rows) {
      const value = known[(row[label] ?? "").trim().toLowerCase()];
      if (value === undefined) throw new Error(`the label of ${row[path]} is ${row[label]}, but expected 0 or 1`);
      if (row[picture]) byKey.set(row[picture], value);
      else byName.set(row[path], value);
    }
    return { n: rows.length, of: (name, key) => byKey.get(key) ?? byName.get(name) };
  },

  cells: (text) => {
    const rows = [];
    let row = [];
    // A cell in quotes or without, and what ends it.
    for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^,\r\n]*))(,|\r?\n|$)/g)) {
      row.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
      if (end === ",") continue;
      if (row.length > 1 || row[0]) rows.push(row);
      row = [];
    }
    return rows;
  },
};
