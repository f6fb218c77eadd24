"use strict";
// Tables whose rows are sorted and filtered; a long one is data, of which a page is in the document.
(() => {
  const { element, menu } = copying;
  const LEAST_TO_FILTER = 9, MOST_PRINTED = 1000;
  // rows of a page; a browser lays out some hundred at once without a pause, all only if asked to
  const SIZES = [50, 500, 2000, Infinity];
  const MARKS = {
    best: ["b", "The best of those that are compared"],
    tied: ["i", "Not to be told apart from the best"],
  };

  // A table's rows as functions of their number: the text and the rank of a cell, and the element.
  function written(table) {
    const rows = [...table.tBodies[0].rows];
    return {
      size: rows.length,
      text: (row, column) => rows[row].cells[column].textContent,
      rank: (row, column) => Number(rows[row].cells[column].dataset.rank ?? -1),
      element: (row) => rows[row],
    };
  }

  function embedded(data, headers) {
    const { n_rows: size, columns, marks } = data;
    const marked = new Map();
    for (const [mark, places] of Object.entries(marks)) {
      for (const [row, column] of places) marked.set(row * columns.length + column, mark);
    }
    const cell = (row, column) => columns[column].cells?.[row] ?? row;
    const text = (row, column) => columns[column].texts[cell(row, column)];
    return {
      size,
      text,
      rank: (row, column) => columns[column].ranks[cell(row, column)] ?? -1,
      element: (row) => element("tr", {}, ...columns.map((_, column) => {
        const shown = text(row, column);
        const mark = marked.get(row * columns.length + column);
        const inner = mark
          ? element(MARKS[mark][0], { title: MARKS[mark][1], textContent: shown })
          : shown;
        const isNumber = headers[column].className === "number";
        const className = isNumber ? "number" : shown.length > 72 ? "long" : "";
        return element("td", { className }, inner);
      })),
    };
  }

  // The numbers of the rows in the order of a column; what has no rank is last in both directions.
  function sorted(rows, column, direction) {
    const numbers = Array.from({ length: rows.size }, (_, row) => row);
    if (direction === 0) return numbers;
    const ranks = numbers.map((row) => rows.rank(row, column));
    const isMissing = (row) => ranks[row] < 0;
    return numbers.sort((a, b) =>
      isMissing(a) - isMissing(b) || direction * (ranks[a] - ranks[b]) || a - b);
  }

  function searchable(rows, headers) {
    const lines = new Array(rows.size);
    return (row) => (column) => {
      if (column !== undefined) return rows.text(row, column);
      lines[row] ??= headers.map((_, place) => rows.text(row, place)).join("\n").toLowerCase();
      return lines[row];
    };
  }

  function equip(figure) {
    const table = figure.querySelector("table"), body = table.tBodies[0];
    const headers = [...table.tHead.rows[0].cells];
    const names = headers.map((header) => header.textContent);
    const data = figure.querySelector("script.rows");
    const rows = data ? embedded(JSON.parse(data.textContent), headers) : written(table);
    const cells = searchable(rows, headers);
    const label = figure.querySelector("figcaption b a").textContent;
    let column = 0, direction = 0, query = "", page = 0, step = 0;
    let order = sorted(rows, column, direction), kept = order;

    const above = element("div", { className: "controls" });
    const told = element("output");
    told.setAttribute("aria-live", "polite");
    const control = (textContent, act) => {
      const made = element("button", { type: "button", textContent });
      made.addEventListener("click", act);
      return made;
    };
    const previous = control("Previous", () => { page -= 1; show(); });
    const next = control("Next", () => { page += 1; show(); });
    const larger = () => SIZES[step + 1] ?? Infinity;
    const more = control("", () => {
      step = larger() < kept.length ? step + 1 : SIZES.length - 1;
      page = 0;
      show();
    });
    const fewer = control(`Show ${SIZES[0]}`, () => { step = page = 0; show(); });

    function choose() {
      const holds = filtering.predicate(query, names);
      kept = query.trim() ? order.filter((row) => holds(cells(row))) : order;
      page = 0;
      show();
    }

    function show(onPaper = false) {
      const size = !data ? Infinity : onPaper ? MOST_PRINTED : SIZES[step];
      const from = onPaper || page === 0 ? 0 : page * size;
      const until = Math.min(from + size, kept.length);
      body.replaceChildren(...kept.slice(from, until).map(rows.element));
      if (!kept.length) {
        const none = { className: "none", textContent: "No row matches.", colSpan: headers.length };
        body.append(element("tr", {}, element("td", none)));
      }
      tell(from, until);
    }

    function tell(from, until) {
      const counted = (number) => number.toLocaleString("en");
      const found = counted(kept.length), isFiltered = query.trim() !== "";
      const isPart = until - from < kept.length;
      const matching = isFiltered ? `${found} of ${counted(rows.size)} rows match` : "";
      const shown = isPart ? `rows ${counted(from + 1)} to ${counted(until)} of ${found}` : "";
      told.textContent = [matching, shown].filter(Boolean).join("; ") || `${found} rows`;
      above.classList.toggle("told", isFiltered || isPart);
      previous.disabled = page === 0;
      next.disabled = until >= kept.length;
      previous.hidden = next.hidden = !isPart;
      more.hidden = !(SIZES[step] < kept.length);
      more.textContent = larger() < kept.length ? `Show ${counted(larger())}` : `Show all ${found}`;
      fewer.hidden = step === 0;
    }

    headers.forEach((header, place) => {
      const button = header.querySelector("button");
      button.disabled = false;
      button.title = "Sort";
      button.addEventListener("click", () => {
        direction = column !== place || direction === 0 ? 1 : direction === 1 ? -1 : 0;
        column = place;
        for (const other of headers) other.removeAttribute("aria-sort");
        if (direction) header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        order = sorted(rows, column, direction);
        choose();
      });
    });

    if (rows.size >= LEAST_TO_FILTER) above.append(filter(), told);
    if (data) above.append(previous, next, more, fewer);
    if (above.childElementCount) figure.querySelector(".wide").before(above);

    const files = figure.querySelector("script.files");
    if (files) {
      const copier = menu(JSON.parse(files.textContent), label);
      figure.append(element("div", { className: "controls" }, copier));
    }
    tell(0, data ? Math.min(SIZES[0], rows.size) : rows.size);
    if (data) {
      window.addEventListener("beforeprint", () => show(true));
      window.addEventListener("afterprint", () => show());
    }

    function filter() {
      const input = element("input", {
        type: "search", placeholder: `Filter: words${example(rows, headers, names)}`,
        title: "All words must occur in a row. A column’s name, then one of : = != < <= > >=, "
          + "then a value, asks for that column.",
        spellcheck: false, autocomplete: "off",
      });
      input.setAttribute("aria-label", `Filter the rows of ${label}`);
      input.addEventListener("input", () => {
        // a table that grows and shrinks beneath one’s typing is hard to read
        if (!table.style.minWidth) table.style.minWidth = `${table.offsetWidth}px`;
        query = input.value;
        choose();
      });
      return input;
    }
  }

  // A comparison that some rows of the table pass.
  function example(rows, headers, names) {
    const column = headers.findIndex((header) => header.className === "number");
    if (column < 0) return "";
    for (let row = Math.floor(rows.size / 2); row < rows.size; row += 1) {
      const value = filtering.figure(rows.text(row, column));
      if (!Number.isNaN(value)) return `, or ${names[column].split(/\s/)[0].toLowerCase()}>=${value}`;
    }
    return "";
  }

  for (const figure of document.querySelectorAll("figure.of-table")) {
    if (figure.querySelector("table")) equip(figure);
  }
})();
