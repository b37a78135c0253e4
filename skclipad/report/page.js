"use strict";
(() => {
  const PER_PAGE = 60;
  const N_WORST = 10; // that are to be labelled before those near the threshold
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const N_BINS = data.nBins;
  const names = data.names;
  const scores = data.scores;
  const parts = Object.keys(data.components);
  const anyBoxes = data.boxes.some((boxes) => boxes?.length);
  const anyMaps = data.hasMap.some(Boolean);
  const chunks = new Map();
  const own = keptLabels(data.keys);
  const answers = []; // pictures labelled by hand and what they were before, to go back
  let threshold = data.threshold;
  let shown = []; // numbers of the pictures that pass the filters, in order
  let page = 0;
  let descending = true;
  let ranks = null; // places of the names in alphabetical order
  let detail = -1; // place in `shown` of the picture looked at closely

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const svg = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const digits = (value) => (value === null ? "–" : value.toFixed(3));
  // A threshold is typed again elsewhere: no digit of it may be lost.
  const cut = (value) => (Number(value.toFixed(3)) === value ? value.toFixed(3) : String(value));
  const isAnomalous = (i) => scores[i] !== null && scores[i] > threshold;
  // 1 for damaged, 0 for good: as the person says who looks, or else as was given.
  const truth = (i) => own.get(i) ?? data.labels?.[i] ?? null;
  const KINDS = ["good", "damaged"];
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

  // Pictures are unpacked chunk by chunk, the first time one of them is shown; of
  // thousands of pictures only a few chunks are ever in memory twice.
  const picture = (i) => {
    const number = Math.floor(i / data.chunk);
    if (!chunks.has(number)) {
      if (chunks.size > 40) chunks.delete(chunks.keys().next().value);
      chunks.set(number, JSON.parse($(`pictures-${number}`).textContent));
    }
    return chunks.get(number)[i % data.chunk];
  };

  const square = (i) => {
    const box = element("span", "square");
    const found = picture(i);
    if (!found) {
      box.append(element("span", "missing", "no picture"));
      return box;
    }
    const frame = element("span", "frame");
    const longer = Math.max(found.w, found.h);
    frame.style.width = `${(100 * found.w) / longer}%`;
    frame.style.aspectRatio = `${found.w} / ${found.h}`;
    const image = element("img", longer < 100 ? "coarse" : "");
    image.alt = "";
    image.src = `data:image/jpeg;base64,${found.jpg}`;
    frame.append(image);
    if (found.png) {
      const heat = element("img", "heat");
      heat.alt = "";
      heat.src = `data:image/png;base64,${found.png}`;
      frame.append(heat);
    }
    if (data.region?.sizes[i]) {
      const [width, height] = data.region.sizes[i];
      const outline = svg("svg", {
        viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", class: "region",
      });
      // Dashes on a dark line: they are seen on any picture.
      for (const kind of ["dark", "dashed"]) {
        outline.append(svg("path", { d: data.region.path, class: kind }));
      }
      frame.append(outline);
    }
    for (const [left, top, width, height] of data.boxes[i] ?? []) {
      const around = element("span", "box");
      const share = (value) => `${100 * value}%`;
      Object.assign(around.style, {
        left: share(left), top: share(top), width: share(width), height: share(height),
      });
      frame.append(around);
    }
    box.append(frame);
    return box;
  };

  const verdict = (i) => {
    if (scores[i] === null) return ["", "not scored"];
    return isAnomalous(i) ? ["anomalous", "above threshold"] : ["normal", "not above"];
  };
  const answerButtons = (i) => {
    const box = element("div", "answers");
    for (const [label, word] of KINDS.entries()) {
      const button = element("button", "", word);
      button.type = "button";
      button.dataset.label = label;
      button.setAttribute("aria-label", `${word}: ${names[i]}`);
      button.setAttribute("aria-pressed", String(truth(i) === label));
      box.append(button);
    }
    return box;
  };

  // Lines end between folders, and never within the last letters and the ending.
  const between = data.separator === "\\" ? /(?<=[/\\])/ : /(?<=\/)/;
  const nameLines = (name) => {
    const lines = element("span", "name");
    const folders = name.split(between);
    const file = folders.pop();
    if (folders.length) lines.append(element("span", "folders"));
    for (const folder of folders) lines.firstChild.append(element("span", "", folder));
    const [ending] = file.match(/.{0,4}\.[^.]{1,5}$/u) ?? [""];
    lines.append(element("span", "file", file.slice(0, file.length - ending.length)));
    lines.lastChild.append(element("span", "ending", ending));
    return lines;
  };

  const card = (i, place) => {
    const button = element("button", "card");
    button.type = "button";
    button.dataset.place = place;
    const [kind, word] = verdict(i);
    button.setAttribute("aria-label", `${names[i]}, score ${digits(scores[i])}, ${word}`);
    const words = element("span", "words");
    const line = element("span", "line");
    line.append(element("span", "score", digits(scores[i])));
    line.append(element("span", `verdict ${kind}`, word));
    const bar = element("span", "bar");
    const filled = element("i", kind);
    filled.style.width = `${100 * (scores[i] ?? 0)}%`;
    bar.append(filled);
    words.append(line, bar);
    const about = parts.map((part) => `${part}\u00a0${digits(data.components[part][i])}`);
    const more = data.errors[i] ?? about.join(" · ");
    if (more) words.append(element("span", "parts", more));
    words.append(nameLines(names[i].slice(data.folder.length)));
    button.title = names[i];
    button.append(square(i), words);
    const item = element("li");
    item.append(button);
    if (data.keys[i] !== null) item.append(answerButtons(i));
    return item;
  };

  // Which pictures, and in which order

  const filters = {
    all: ["All", () => true],
    anomalous: ["Above the threshold", isAnomalous],
    normal: ["Not above it", (i) => scores[i] !== null && !isAnomalous(i)],
    unscored: ["Not scored", (i) => scores[i] === null],
    unlabelled: ["Not labelled", (i) => truth(i) === null],
    labelled1: ["Labelled damaged", (i) => truth(i) === 1],
    labelled0: ["Labelled good", (i) => truth(i) === 0],
    missed: ["Missed damaged", (i) => truth(i) === 1 && !isAnomalous(i)],
    alarm: ["False alarms", (i) => truth(i) === 0 && isAnomalous(i)],
  };
  const nameRanks = () => {
    if (!ranks) { // letters are slow to compare: once, and numbers from then on
      const collator = new Intl.Collator("en", { numeric: true });
      const order = names.map((_, i) => i);
      order.sort((a, b) => collator.compare(names[a], names[b]) || a - b);
      ranks = new Array(names.length);
      order.forEach((i, rank) => { ranks[i] = rank; });
    }
    return ranks;
  };
  // The score near which another label says most: the threshold, or where the labels
  // say that it belongs. Both lists fall by score.
  const turningPoint = (known, open) => {
    if (!known.some((i) => truth(i) === 1)) return threshold;
    let mistakes = known.filter((i) => truth(i) === 1).length; // of a cut above all
    let best = null;
    for (let k = 0; k <= known.length; k++) {
      if (k > 0) mistakes += truth(known[k - 1]) === 1 ? -1 : 1;
      const high = k > 0 ? scores[known[k - 1]] : Infinity;
      const low = k < known.length ? scores[known[k]] : -Infinity;
      if (low === high) continue; // nothing cuts between equal scores
      const far = Math.max(low - threshold, threshold - high, 0);
      if (!best || mistakes < best.mistakes || (mistakes === best.mistakes && far < best.far)) {
        best = { mistakes, low, high, far };
      }
    }
    if (best.far === 0) return threshold;
    const inside = open.filter((i) => scores[i] > best.low && scores[i] < best.high);
    if (inside.length) return scores[inside[Math.floor(inside.length / 2)]];
    return Number.isFinite(best.low) ? best.low : best.high;
  };
  // The worst first, then the nearest to that score, at last those with a label.
  const labellingRanks = () => {
    const byScore = names.map((_, i) => i).filter((i) => scores[i] !== null);
    byScore.sort((a, b) => scores[b] - scores[a] || a - b);
    const isOpen = (i) => truth(i) === null;
    const worst = byScore.slice(0, N_WORST).filter(isOpen);
    const rest = byScore.slice(N_WORST).filter(isOpen);
    const middle = turningPoint(byScore.filter((i) => !isOpen(i)), rest);
    const far = (i) => Math.abs(scores[i] - middle);
    rest.sort((a, b) => far(a) - far(b) || a - b);
    const places = new Array(names.length).fill(null);
    [...worst, ...rest].forEach((i, place) => { places[i] = place; });
    return places;
  };
  const sorts = { score: ["score", () => scores] };
  for (const part of parts) sorts[`part ${part}`] = [part, () => data.components[part]];
  sorts.name = ["name", nameRanks];
  sorts.labelling = ["use of a label", labellingRanks];
  for (const [select, options] of [["show", filters], ["sort", sorts]]) {
    for (const [value, [label]] of Object.entries(options)) {
      const option = element("option", "", label);
      option.value = value;
      $(select).append(option);
    }
  }

  const compare = (values, sign) => (a, b) => {
    const [x, y] = [values[a], values[b]];
    if (x === null || y === null) return (x === null) - (y === null) || a - b; // last
    return sign * (x - y) || a - b;
  };

  const select = () => {
    const passes = filters[$("show").value][1];
    const text = $("search").value.trim().toLowerCase();
    const [low, high] = ["from", "to"].map((id) => $(id).value);
    shown = [];
    for (let i = 0; i < names.length; i++) {
      if (!passes(i)) continue;
      if (text && !names[i].toLowerCase().includes(text)) continue;
      if (low !== "" && !(scores[i] !== null && scores[i] >= Number(low))) continue;
      if (high !== "" && !(scores[i] !== null && scores[i] <= Number(high))) continue;
      shown.push(i);
    }
    shown.sort(compare(sorts[$("sort").value][1](), descending ? -1 : 1));
    $("clear").hidden = !text && !low && !high && $("show").value === "all" &&
      $("sort").value === "score" && descending;
    page = 0;
    draw();
  };

  const nPages = () => Math.max(1, Math.ceil(shown.length / PER_PAGE));
  const draw = () => {
    const first = page * PER_PAGE;
    const some = shown.slice(first, first + PER_PAGE);
    $("gallery").replaceChildren(...some.map((i, k) => card(i, first + k)));
    const number = shown.length.toLocaleString("en");
    $("found").textContent = shown.length > PER_PAGE
      ? `Pictures ${first + 1} to ${first + some.length} of ${number}`
      : count(shown.length, "picture");
    $("found").hidden = !shown.length;
    $("nothing").hidden = Boolean(shown.length);
    $("page").textContent = `Page ${page + 1} of ${nPages()}`;
    $("pages").hidden = nPages() === 1;
    for (const id of ["first", "previous"]) $(id).disabled = page === 0;
    for (const id of ["next", "last"]) $(id).disabled = page === nPages() - 1;
  };
  const turn = (to, focus = true) => {
    page = Math.min(Math.max(to, 0), nPages() - 1);
    draw();
    if (focus) $("pictures-heading").scrollIntoView({ block: "start" });
  };

  // Labels

  const tellLabels = () => {
    const found = [[0, 0], [0, 0]]; // by label: not above the threshold, above it
    let [any, mine] = [0, 0];
    names.forEach((_, i) => {
      if (truth(i) !== null) any += 1;
      if (own.get(i) !== null) mine += 1;
      if (truth(i) !== null && scores[i] !== null) found[truth(i)][Number(isAnomalous(i))] += 1;
    });
    const [good, damaged] = found.map(([below, above]) => below + above);
    const counted = `${any.toLocaleString("en")} of ${count(names.length, "picture")} labelled: ${damaged} damaged, ${good} good.`;
    $("labelled").textContent = any
      ? `${counted} The threshold ${cut(threshold)} finds ${found[1][1]} of ${damaged} damaged and raises ${found[0][1]} false alarm${found[0][1] === 1 ? "" : "s"} among ${good} good.`
      : "None yet. Say of some twenty pictures whether they are good or damaged, and a threshold can be chosen by them.";
    $("detail-labelled").textContent = any ? counted : "";
    $("save").hidden = $("detail-save").hidden = !any;
    $("forget").hidden = !mine;
    $("unkept").hidden = own.isKept();
  };
  // Histogram, counts and buttons, while pictures keep their places.
  const redrawLabels = () => {
    histogram();
    for (const button of $("gallery").querySelectorAll(".answers button")) {
      const i = shown[button.closest("li").firstChild.dataset.place];
      button.setAttribute("aria-pressed", String(truth(i) === Number(button.dataset.label)));
    }
    if (detail >= 0 && $("detail").open) look(detail);
  };
  const answer = (place, label) => {
    const i = shown[place];
    if (data.keys[i] === null) return false;
    answers.push([i, own.get(i)]);
    own.set(i, label);
    redrawLabels();
    return true;
  };
  const takeBack = () => {
    if (!answers.length) return;
    const [i, before] = answers.pop();
    own.set(i, before);
    redrawLabels();
    const place = shown.indexOf(i);
    if (place < 0) return;
    if ($("detail").open) look(place);
    else focusPlace(place);
  };
  const saveLabels = () => {
    const all = names.map((name, i) => [name, truth(i), data.keys[i]]);
    const rows = all.filter(([, label]) => label !== null);
    if (!rows.length) return;
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([labelTable.write(rows)], { type: "text/csv" }));
    link.download = "labels.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    const said = `${count(rows.length, "label")} saved as labels.csv, in the browser's folder of downloads.`;
    $("detail-labelled").textContent = said;
    $("opened").textContent = `${said} Next, with the table of this report: skclipad threshold scores.csv --labels labels.csv`;
  };
  const openLabels = async (file) => {
    let said;
    try {
      const found = labelTable.read(await file.text());
      let n = 0;
      names.forEach((name, i) => {
        const label = found.of(name, data.keys[i]);
        if (data.keys[i] === null || label === undefined) return;
        own.set(i, label);
        n += 1;
      });
      said = `${file.name}: ${count(found.n, "label")}, ${n.toLocaleString("en")} of pictures on this page.`;
    } catch (error) {
      said = `${file.name} was not read: ${error.message}.`;
    }
    redrawLabels();
    $("opened").textContent = said;
  };
  const startLabelling = () => {
    $("tools").reset();
    $("sort").value = "labelling";
    $("show").value = "unlabelled";
    setDirection(false);
    select();
    // Maps and boxes would suggest the answer: they wait until they are asked for.
    $("detail").classList.remove("hot");
    press("detail-heat", false);
    boxAll(false);
    if (shown.length) look(0);
    else {
      $("opened").textContent = "Every picture has a label.";
      $("clear").click();
    }
  };

  // Histogram

  const histogram = () => {
    const bins = [0, 1].map(() => new Array(N_BINS).fill(0));
    scores.forEach((score, i) => {
      if (score === null) return;
      const bin = Math.min(N_BINS - 1, Math.max(0, Math.floor(score * N_BINS)));
      bins[data.labels === null ? Number(isAnomalous(i)) : truth(i)][bin] += 1;
    });
    // As high as if there were as many pictures in the reference as here.
    const nScored = scores.filter((score) => score !== null).length;
    const reference = (data.reference?.shares ?? []).map((share) => share * nScored);
    const most = Math.max(1, ...bins[0].map((n, k) => n + bins[1][k]), ...reference);
    const drawing = svg("svg", {
      viewBox: `0 0 ${N_BINS} 100`, preserveAspectRatio: "none", role: "img",
      "aria-label": `Histogram of ${count(scores.filter((s) => s !== null).length, "score")}`,
    });
    for (let k = 0; k < N_BINS; k++) {
      let top = 100;
      for (const kind of [0, 1]) {
        const height = (98 * bins[kind][k]) / most;
        if (!height) continue;
        top -= height;
        const bar = svg("rect", {
          x: k + 0.06, y: top, width: 0.88, height, class: kind ? "anomalous" : "normal",
        });
        const title = svg("title", {});
        title.textContent = `${(k / N_BINS).toFixed(2)} to ${((k + 1) / N_BINS).toFixed(2)}: ${bins[kind][k]}`;
        bar.append(title);
        drawing.append(bar);
      }
    }
    if (reference.length) {
      const steps = reference.map((n, k) => `V${100 - (98 * n) / most}H${k + 1}`);
      drawing.append(svg("path", { d: `M0 100${steps.join("")}V100`, class: "reference" }));
    }
    drawing.append(svg("line", { x1: 0, x2: N_BINS, y1: 100, y2: 100, class: "axis" }));
    const at = threshold * N_BINS;
    drawing.append(svg("line", { x1: at, x2: at, y1: 0, y2: 100, class: "threshold" }));
    scores.forEach((score, i) => { // labels, a stroke each
      if (score === null || own.get(i) === null) return;
      const x = Math.min(1, Math.max(0, score)) * N_BINS;
      const kind = own.get(i) ? "anomalous" : "normal";
      drawing.append(svg("line", { x1: x, x2: x, y1: 101, y2: 107, class: `label ${kind}` }));
    });
    const ticks = element("div", "ticks");
    for (const tick of ["0", "0.25", "0.5", "0.75", "1"]) ticks.append(element("span", "", tick));
    const legend = element("div", "legend");
    const said = data.labels === null ? ["not above the threshold", "above it"] : ["labelled good", "labelled damaged"];
    legend.append(element("span", "", said[0]), element("span", "anomalous", said[1]));
    if (reference.length) {
      legend.append(element("span", "reference", `${count(data.reference.n, "score")} of the reference, drawn to the same number`));
    }
    $("histogram").replaceChildren(drawing, ticks, legend);

    const above = scores.filter((_, i) => isAnomalous(i)).length;
    let text = `${count(above, "picture")} of ${nScored.toLocaleString("en")} above ${cut(threshold)}`;
    text += nScored ? ` (${((100 * above) / nScored).toFixed(1)} %)` : "";
    $("above").textContent = `${text}.`;
    $("threshold-value").textContent = cut(threshold);
    $("reset").disabled = threshold === data.threshold;
    tellLabels();
  };
  const moveTo = (value) => {
    threshold = value;
    histogram();
    const here = page;
    select();
    turn(here, false);
  };

  // One picture, closely

  const look = (place) => {
    detail = place;
    const i = shown[place];
    $("detail-picture").replaceChildren(square(i));
    $("detail-name").textContent = names[i];
    const rows = [["score", digits(scores[i])]];
    if (scores[i] !== null) {
      rows.push(["threshold", `${isAnomalous(i) ? "above" : "not above"} ${cut(threshold)}`]);
    }
    if (truth(i) !== null) rows.push(["labelled", KINDS[truth(i)]]);
    for (const part of parts) rows.push([part, digits(data.components[part][i])]);
    if (data.boxes[i]) rows.push(["boxes", data.boxes[i].length || "none"]);
    if (data.peaks[i] !== null) {
      const clear = data.peaks[i] <= data.scale[0] ? ", nothing stands out" : "";
      rows.push(["highest of the map", `${digits(data.peaks[i])}${clear}`]);
    }
    if (data.errors[i]) rows.push(["error", data.errors[i]]);
    $("detail-scores").replaceChildren(
      ...rows.map(([name, value]) => {
        const row = element("tr");
        row.append(element("th", "", name), element("td", "", value));
        return row;
      })
    );
    $("detail-heat").hidden = !data.hasMap[i];
    for (const id of ["detail-good", "detail-damaged"]) {
      press(id, truth(i) === Number($(id).dataset.label));
      $(id).disabled = data.keys[i] === null;
    }
    $("detail-undo").disabled = !answers.length;
    $("detail-previous").disabled = place === 0;
    $("detail-next").disabled = place === shown.length - 1;
    if (!$("detail").open) $("detail").showModal();
  };
  const focusPlace = (place) => {
    if (place < 0 || place >= shown.length) return;
    const to = Math.floor(place / PER_PAGE);
    if (to !== page) turn(to, false);
    $("gallery").querySelector(`[data-place="${place}"]`).focus();
  };
  const press = (id, pressed) => $(id).setAttribute("aria-pressed", String(pressed));
  const heatAll = () => press("heat", document.body.classList.toggle("warm"));
  const boxAll = (on) => press("boxes", document.body.classList.toggle("boxed", on));
  const heatOne = () => press("detail-heat", $("detail").classList.toggle("hot"));

  // Hands

  $("tools").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["search", "from", "to"]) $(id).addEventListener("input", select);
  for (const id of ["show", "sort"]) {
    $(id).addEventListener("change", () => {
      if (id === "sort") setDirection(!["name", "labelling"].includes($("sort").value));
      select();
    });
  }
  const setDirection = (down) => {
    descending = down;
    $("direction").textContent = down ? "↓" : "↑";
  };
  $("direction").addEventListener("click", () => { setDirection(!descending); select(); });
  $("heat").addEventListener("click", heatAll);
  $("boxes").addEventListener("click", () => boxAll());
  for (const id of ["clear", "back"]) {
    $(id).addEventListener("click", () => { $("tools").reset(); setDirection(true); select(); });
  }
  const wide = matchMedia("(min-width: 34.01rem)"); // room for all controls
  const fold = () => { $("more").open = wide.matches; };
  wide.addEventListener("change", fold);
  $("first").addEventListener("click", () => turn(0));
  $("previous").addEventListener("click", () => turn(page - 1));
  $("next").addEventListener("click", () => turn(page + 1));
  $("last").addEventListener("click", () => turn(nPages() - 1));
  $("threshold").addEventListener("input", () => moveTo(Number($("threshold").value)));
  $("reset").addEventListener("click", () => {
    $("threshold").value = data.threshold;
    moveTo(data.threshold);
  });
  $("gallery").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const place = Number(button.closest("li").firstChild.dataset.place);
    if (button.className === "card") look(place);
    else answer(place, Number(button.dataset.label));
  });
  $("label").addEventListener("click", startLabelling);
  $("save").addEventListener("click", saveLabels);
  $("open").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    for (const file of $("file").files) await openLabels(file);
    $("file").value = "";
  });
  $("forget").addEventListener("click", () => {
    if (!confirm("Forget what you said of the pictures on this page?")) return;
    own.forget();
    answers.length = 0;
    redrawLabels();
  });
  own.watch(redrawLabels);
  // Each answer may say something new about where the next is needed most.
  const orderRest = () => {
    const rest = shown.splice(detail + 1);
    shown.push(...rest.sort(compare(labellingRanks(), 1)));
    draw();
  };
  const answerCloser = (label) => {
    if (!answer(detail, label)) return;
    if ($("sort").value === "labelling" && !descending) orderRest();
    if (detail < shown.length - 1) look(detail + 1);
  };
  for (const id of ["detail-good", "detail-damaged"]) {
    $(id).addEventListener("click", () => answerCloser(Number($(id).dataset.label)));
  }
  $("detail-undo").addEventListener("click", takeBack);
  $("detail-save").addEventListener("click", saveLabels);
  $("detail-previous").addEventListener("click", () => look(detail - 1));
  $("detail-next").addEventListener("click", () => look(detail + 1));
  $("detail-heat").addEventListener("click", heatOne);
  $("detail-close").addEventListener("click", () => $("detail").close());
  $("detail").addEventListener("close", () => focusPlace(detail));
  $("detail").addEventListener("click", (event) => {
    if (event.target === $("detail")) $("detail").close(); // beside it
  });

  const ANSWERS = { g: 0, d: 1 };
  const columns = () => getComputedStyle($("gallery")).gridTemplateColumns.split(" ").length;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select")) return;
    const key = event.key;
    if ($("detail").open) {
      if (key === "ArrowLeft" && detail > 0) look(detail - 1);
      else if (key === "ArrowRight" && detail < shown.length - 1) look(detail + 1);
      else if (key === "h") heatOne();
      else if (key === "b" && anyBoxes) boxAll();
      else if (key in ANSWERS && !event.repeat) answerCloser(ANSWERS[key]);
      else if (key === "u") takeBack();
      else if (key === "s") saveLabels();
      return;
    }
    const place = event.target.closest("#gallery li")?.firstChild.dataset.place;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
    if (place !== undefined && key in steps) focusPlace(Number(place) + steps[key]);
    else if (place !== undefined && key in ANSWERS && !event.repeat) {
      if (answer(Number(place), ANSWERS[key])) focusPlace(Number(place) + 1);
    } else if (key === "u") takeBack();
    else if (key === "s") saveLabels();
    else if (key === "/") $("search").focus();
    else if (key === "h" && anyMaps) heatAll();
    else if (key === "b" && anyBoxes) boxAll();
    else if (key === "n") turn(page + 1);
    else if (key === "p") turn(page - 1);
    else return;
    event.preventDefault();
  });

  // First look

  const unscored = scores.filter((score) => score === null).length;
  const scored = (names.length - unscored).toLocaleString("en");
  $("summary").textContent = count(names.length, "picture") +
    (unscored ? `: ${scored} scored, ${unscored.toLocaleString("en")} not` : ", all scored");
  $("folder").hidden = !data.folder;
  $("folder").querySelector("span").textContent = data.folder;
  $("region").hidden = !data.region;
  $("region").textContent = data.region?.said ?? "";
  $("drift").hidden = !data.reference;
  $("drift").textContent = data.reference?.said ?? "";
  $("heat").hidden = !anyMaps;
  $("boxes").hidden = !anyBoxes;
  boxAll(true);
  const colours = data.colours.map(([r, g, b, a]) => `rgb(${r} ${g} ${b} / ${a / 255})`);
  for (const scale of data.scale ? document.querySelectorAll(".scale") : []) {
    scale.hidden = false;
    scale.querySelector(".ramp").style.backgroundImage = `linear-gradient(to right, ${colours})`;
    scale.querySelectorAll(".end").forEach((end, k) => { end.textContent = digits(data.scale[k]); });
  }
  $("threshold").value = threshold;
  $("original").textContent = cut(data.threshold);
  $("detail").classList.add("hot");
  fold();
  histogram();
  select();
})();
