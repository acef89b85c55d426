/* The report of a study: tables that sort, filter and save; the grid's keys, hints and details; figures and sentences to take away.
   Without this script the page is whole: every row, every hole and every figure stands in the HTML. */
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const element = (tag, attributes = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), attributes);
    made.append(...children);
    return made;
  };

  // ---- saving: everything is made here, nothing is fetched
  const save = (name, blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // ---- tables
  const raw = (cell) => (cell.classList.contains("x") ? "" : cell.title || cell.textContent);
  const key = (cell, numeric) => {
    const value = raw(cell);
    if (!numeric) return value.toLowerCase();
    return value === "" ? NaN : Number(value.replace("inf", "Infinity"));
  };
  const collator = new Intl.Collator("en", { numeric: true });

  /* One condition of a filter: name>number on a column of numbers, name=text on any, else words anywhere in the row. */
  const condition = (term, names, numeric) => {
    const match = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(term);
    const wanted = match && match[1].toLowerCase();
    const column = match ? names.findIndex((n) => n.toLowerCase() === wanted) : -1;
    if (column < 0) return (row) => row.text.includes(term);
    const [, , sign, operand] = match;
    const number = Number(operand);
    if (!numeric[column] || Number.isNaN(number)) {
      return (row) => sign === "=" && raw(row.tr.cells[column]).toLowerCase() === operand;
    }
    const tests = { "<": (v) => v < number, ">": (v) => v > number, "<=": (v) => v <= number, ">=": (v) => v >= number, "=": (v) => v === number };
    return (row) => tests[sign](key(row.tr.cells[column], true));
  };

  const csv = (names, rows) => {
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [names, ...rows].map((row) => row.map(quoted).join(",") + "\r\n").join("");
  };

  for (const block of $$(".table-block")) {
    const table = $("table", block);
    const body = table.tBodies[0];
    const first = Number(table.dataset.first);
    const heads = $$("thead th", table);
    const names = heads.map((th) => th.dataset.name);
    const numeric = heads.map((th) => th.classList.contains("n"));
    const rows = [...body.rows].map((tr) => ({ tr, text: "", shown: true }));
    let order = rows;
    const all = $(".show-all", block);
    const said = $(".rows-shown", block);
    const filter = $(".filter", block);

    const draw = () => {
      let n = 0;
      for (const row of order) {
        row.tr.classList.toggle("out", !row.shown);
        row.tr.classList.toggle("more", row.shown && n >= first);
        n += row.shown;
      }
      const open = block.classList.contains("all");
      const visible = open ? n : Math.min(n, first);
      const found = n < rows.length ? `${n} of ${rows.length} rows match` : `${n} row${n === 1 ? "" : "s"}`;
      said.textContent = visible < n ? `${found}, the first ${visible} are shown` : found;
      if (all) {
        all.hidden = n <= first;
        all.textContent = open ? `Show the first ${first} rows` : `Show all ${n} rows`;
      }
    };
    const sort = (index) => {
      const was = heads[index].getAttribute("aria-sort");
      const now = was === "ascending" ? "descending" : was === "descending" ? "none" : "ascending";
      heads.forEach((th) => th.removeAttribute("aria-sort"));
      if (now === "none") order = rows;
      else {
        heads[index].setAttribute("aria-sort", now);
        const sign = now === "ascending" ? 1 : -1;
        const keyed = rows.map((row, i) => ({ row, i, key: key(row.tr.cells[index], numeric[index]) }));
        const absent = (k) => k === "" || Number.isNaN(k); // last in either direction
        keyed.sort((a, b) => absent(a.key) - absent(b.key) || (absent(a.key) ? 0 : sign * (numeric[index] ? (a.key > b.key) - (a.key < b.key) : collator.compare(a.key, b.key))) || a.i - b.i);
        order = keyed.map((k) => k.row);
      }
      body.append(...order.map((row) => row.tr));
      draw();
    };
    const search = () => {
      for (const row of rows) row.text ||= [...row.tr.cells].map((c) => `${c.textContent} ${c.title}`).join(" ").toLowerCase();
      const tests = filter.value.toLowerCase().split(/\s+/).filter(Boolean).map((term) => condition(term, names, numeric));
      for (const row of rows) row.shown = tests.every((test) => test(row));
      draw();
    };
    heads.forEach((th, index) => {
      const button = element("button", { type: "button" }, ...th.childNodes);
      button.addEventListener("click", () => sort(index));
      th.append(button);
    });
    filter?.addEventListener("input", search);
    all?.addEventListener("click", () => { block.classList.toggle("all"); draw(); });
    $(".csv", block).addEventListener("click", () => {
      const shown = order.filter((row) => row.shown).map((row) => [...row.tr.cells].map(raw));
      save(`${block.id}.csv`, new Blob([csv(names, shown)], { type: "text/csv" }));
    });
    draw();
  }
  $$(".table-tools").forEach((tools) => (tools.hidden = false));

  // a shadow says that a table or figure goes on to the right
  const cut = (box) => box.classList.toggle("cut", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  for (const box of $$(".scroll")) {
    new ResizeObserver(() => cut(box)).observe(box);
    box.addEventListener("scroll", () => cut(box), { passive: true });
  }

  // ---- grid: one stop for the tab key, arrows within; a hint on hover and focus; details on request
  const grid = $(".grid");
  const { texts, squares, states, glyphs } = JSON.parse($("#grid-data").textContent);
  const tip = $("#tip");
  const dialog = $("#details");
  const visible = () => $$("tr.run:not(.out)", grid);
  const enter = (button) => {
    $$(".square[tabindex='0']", grid).forEach((b) => (b.tabIndex = -1));
    if (button) button.tabIndex = 0;
  };
  let hinted = null;
  const hint = (button) => {
    hinted = button;
    tip.replaceChildren(button.getAttribute("aria-label"));
    if (button.dataset.reason) tip.append(element("em", {}, button.dataset.reason));
    tip.hidden = false;
    const box = button.getBoundingClientRect();
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 12))}px`;
    tip.style.top = `${below ? box.bottom + 8 : box.top - tip.offsetHeight - 8}px`;
    $$("thead th", grid).forEach((th, i) => th.classList.toggle("lit", i === button.parentElement.cellIndex));
  };
  const unhint = () => {
    hinted = null;
    tip.hidden = true;
    $$("th.lit", grid).forEach((th) => th.classList.remove("lit"));
  };
  const open = (button) => {
    const parts = squares[Number(button.dataset.i)].flatMap(([state, reason, error, checkpoints]) => {
      const slug = states[state].replace(" ", "-");
      const named = texts[checkpoints].split(" ");
      const glyph = element("span", { className: `glyph ${slug}`, ariaHidden: "true" }, glyphs[state]);
      const list = element("ul", { className: "steps" }, ...named.map((c) => element("li", { className: slug }, c)));
      return [
        element("h4", {}, glyph, `${states[state]}: ${named.length} checkpoint${named.length === 1 ? "" : "s"}`),
        ...(texts[reason] ? [element("p", {}, texts[reason])] : []),
        ...(texts[error] ? [element("pre", {}, texts[error])] : []),
        list,
      ];
    });
    $("#details-title").textContent = button.getAttribute("aria-label").replace(/: [^:]*$/, "");
    $(".body", dialog).replaceChildren(...parts);
    unhint();
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  grid.addEventListener("keydown", (event) => {
    const button = event.target.closest(".square");
    if (event.key === "Escape") unhint();
    if (!button || !(event.key in moves)) return;
    event.preventDefault();
    const rows = visible();
    const [down, right] = moves[event.key];
    let r = rows.indexOf(button.closest("tr")) + down;
    let c = button.parentElement.cellIndex + right;
    let next = null;
    while (!next && rows[r]?.cells[c]) { // step over what the study did not ask for
      next = $(".square", rows[r].cells[c]);
      r += down;
      c += right;
    }
    if (next) { enter(next); next.focus(); }
  });
  grid.addEventListener("click", (event) => { const b = event.target.closest(".square"); if (b) { enter(b); open(b); } });
  for (const [type, act] of Object.entries({ pointerover: hint, focusin: hint, pointerout: unhint, focusout: unhint })) {
    grid.addEventListener(type, (event) => { const b = event.target.closest(".square"); if (b) act(b); });
  }
  const follow = () => (hinted && hinted === document.activeElement ? hint(hinted) : unhint()); // moving to a square scrolls
  addEventListener("scroll", follow, { passive: true, capture: true });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  const winnow = () => {
    const words = $("#grid-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const holes = $("#grid-holes").checked;
    for (const part of grid.tBodies) {
      const suite = ($(".suite", part)?.textContent ?? "").toLowerCase();
      const runs = $$("tr.run", part);
      for (const tr of runs) {
        const text = tr.cells[0].textContent.toLowerCase() + suite;
        tr.classList.toggle("out", !words.every((w) => text.includes(w)) || (holes && tr.classList.contains("whole")));
      }
      $(".suite", part)?.classList.toggle("out", runs.every((tr) => tr.classList.contains("out")));
    }
    const left = visible();
    $("#grid-shown").textContent = `${left.length} of ${$$("tr.run", grid).length} runs`;
    enter(left.length ? $(".square", left[0]) : null);
  };
  $("#grid-filter").addEventListener("input", winnow);
  $("#grid-holes").addEventListener("change", winnow);
  winnow();

  // ---- figures and sentences
  const source = (svg) => {
    const copy = svg.cloneNode(true);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    return new XMLSerializer().serializeToString(copy);
  };
  const png = (svg, name) => {
    const { width, height } = svg.viewBox.baseVal;
    const scale = 4; // 72 points to an inch: 288 dots per inch
    const canvas = element("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    const image = new Image();
    image.addEventListener("load", () => {
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob), "image/png");
    });
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source(svg));
  };
  for (const button of $$(".downloads button")) {
    const svg = $("svg", button.closest("figure"));
    const name = button.dataset.file;
    button.hidden = false;
    button.addEventListener("click", () => button.classList.contains("png") ? png(svg, `${name}.png`) : save(`${name}.svg`, new Blob([source(svg)], { type: "image/svg+xml" })));
  }
  const copied = (text) => { // file:// pages may lack navigator.clipboard: then through a selection
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject(new Error("no clipboard"));
  };
  for (const button of $$(".copy")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const label = button.textContent;
      const say = (text) => { button.textContent = text; setTimeout(() => (button.textContent = label), 1600); };
      copied(button.dataset.text).then(() => say("Copied"), () => prompt("Copy this sentence:", button.dataset.text));
    });
  }

  // ---- contents: mark where the reader is; closed to begin with on a small screen
  const links = new Map($$(".contents a").map((a) => [a.hash.slice(1), a]));
  const spy = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -65% 0px" });
  $$("main > section").forEach((section) => spy.observe(section));
  if (innerWidth < 1200) $(".contents details").open = false;
})();
