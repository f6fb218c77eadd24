"use strict";
// The words of a filter: free text, and comparisons with a column or an option of a setting.
const filtering = (() => {
  const COMPARISON = /^([^<>=!:]+)(<=|>=|!=|<|>|=|:)(.+)$/;
  const UNITS = { s: 1, min: 60, h: 3600, million: 1e6, billion: 1e9, trillion: 1e12 };

  // "batch>=256 'two words'" as its words; a quote that is not closed ends with the text
  function words(query) {
    return [...query.matchAll(/(?:[^\s"']|"[^"]*"?|'[^']*'?)+/g)]
      .map(([word]) => word.replace(/["']/g, "").toLowerCase())
      .filter(Boolean);
  }

  // The figure that a text begins with, as it is shown: 91.52 of "91.52 ± 0.31", 750 (seconds) of
  // "12.5 min", 0.001 of "< 0.001".
  function figure(text) {
    const found = /^[<>≤≥\s]*([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?:\s*([a-z]+))?/i
      .exec(text.trim().replace("−", "-"));
    if (!found) return NaN;
    const unit = found[2] === undefined ? 1 : UNITS[found[2].toLowerCase()];
    return Number(found[1].replaceAll(",", "")) * (unit ?? 1);
  }

  const COMPARE = {
    "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b,
    "=": (a, b) => a === b, "!=": (a, b) => a !== b,
  };

  function holds(text, comparison, value) {
    if (comparison === ":") return text.toLowerCase().includes(value);
    const [shown, asked] = [figure(text), figure(value)];
    if (!Number.isNaN(shown) && !Number.isNaN(asked)) return COMPARE[comparison](shown, asked);
    if (comparison === "=") return text.toLowerCase() === value;
    return comparison === "!=" && text.toLowerCase() !== value;
  }

  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");

  // the column of that name, else the first whose header begins with it or holds it
  function columnOf(name, headers) {
    const sought = plain(name);
    if (!sought) return -1;
    const known = headers.map(plain);
    for (const fits of [
      (header) => header === sought,
      (header) => header.startsWith(sought),
      (header) => header.includes(sought),
    ]) {
      const place = known.findIndex(fits);
      if (place >= 0) return place;
    }
    return -1;
  }

  // the value of an option in a cell such as "momentum=0.9, schedule=cosine"; null without it
  function option(text, name) {
    const lower = text.toLowerCase();
    const start = `, ${lower}`.indexOf(`, ${name}=`);
    if (start < 0) return null;
    return lower.slice(start + name.length + 1).split(", ", 1)[0];
  }

  // a test of a row: (cells) => boolean, where cells(column) is a text and cells() all of them
  function predicate(query, headers) {
    const tests = words(query).map((word) => {
      const [, name, comparison, value] = COMPARISON.exec(word) ?? [];
      if (!name) return (cells) => cells().includes(word);
      const column = columnOf(name, headers);
      if (column >= 0) return (cells) => holds(cells(column), comparison, value);
      return (cells) => {
        for (let place = 0; place < headers.length; place += 1) {
          const own = option(cells(place), name);
          if (own !== null) return holds(own, comparison, value);
        }
        return cells().includes(word);
      };
    });
    return (cells) => tests.every((test) => test(cells));
  }

  return { predicate, figure };
})();
