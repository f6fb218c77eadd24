"use strict";
// Figures are drawn when they come near; where a figure has several charts, its reader chooses.
(() => {
  const { element } = copying;
  const AXIS = 62, GAP = 24, NARROWEST = 250, WIDEST = 400, NEAR = "800px";
  const ON_PAPER = 680, MOST_RADIOS = 5;
  const themes = JSON.parse(document.querySelector("script.themes").textContent);
  const drawn = [];

  // As many panels a row as fit; Vega-Lite itself does not fit facets to their page.
  function fitted(specification, available) {
    const fit = structuredClone(specification);
    const own = fit.concat ?? [fit.spec ?? fit];
    const n = fit.concat ? fit.concat.length : fit.facet ? fit.facet.sort?.length ?? 2 : 1;
    const widest = n === 1 ? Math.max(fit.usermeta?.widest ?? own[0].width ?? 0, WIDEST) : WIDEST;
    // side by side, the panels of a facet share one axis and those of a concatenation do not
    const overhead = (columns) => AXIS * (fit.concat ? columns : 1) + GAP * (columns - 1);
    let columns = Math.min(n, 3);
    while (columns > 1 && (available - overhead(columns)) / columns < NARROWEST) columns -= 1;
    const fitting = Math.floor(Math.min(widest, (available - overhead(columns)) / columns));
    // one that could not be read if it were narrower is scrolled to
    const width = Math.max(fitting, fit.usermeta?.narrowest ?? 0);
    if (fit.concat || fit.facet) Object.assign(fit, { columns, spacing: GAP });
    for (const panel of own) panel.width = width;
    return fit;
  }

  function equip(figure) {
    const place = figure.querySelector(".chart");
    // Vega names what it draws into by itself: the name of the figure stays that of the page
    const paper = element("div");
    paper.setAttribute("aria-hidden", "true");
    place.append(paper);
    const charts = JSON.parse(figure.querySelector("script.charts").textContent);
    const [title, caption] = [figure.querySelector(".title"), figure.querySelector(".words")];
    let current = charts[0], view = null, turn = 0, wanted = false;

    async function draw(onPaper = false) {
      wanted = true;
      turn += 1;
      const mine = turn, theme = look.isDark() && !onPaper ? "dark" : "light";
      const width = onPaper ? ON_PAPER : place.clientWidth;
      try {
        const result = await vegaEmbed(paper, fitted(current.specification, width), {
          mode: "vega-lite", renderer: "svg", actions: false, ast: true,
          // the figure has words of its own; those of thousands of marks would say no more
          config: { ...themes[theme], aria: false }, tooltip: { theme },
        });
        if (mine !== turn) { result.finalize(); return; }
        view?.finalize();
        view = result;
      } catch (error) {
        if (mine === turn) paper.textContent = `This chart could not be drawn: ${error.message}`;
      }
    }

    function choose(chart) {
      current = chart;
      title.textContent = chart.title;
      caption.textContent = chart.caption;
      place.setAttribute("aria-label", chart.title);
      draw();
    }

    if (charts.length > 1) {
      const controls = element("div", { className: "controls" });
      figure.prepend(controls);
      select(controls, charts, figure.id, choose);
    }
    drawn.push({ draw, isWanted: () => wanted });
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      if (!wanted) draw();
    }, { rootMargin: NEAR }).observe(place);
  }

  // A selector for each key of the choices. One offers what exists with what those before it say,
  // so that every chart can be reached and none is offered that does not exist.
  function select(controls, charts, identifier, choose) {
    const keys = [...new Set(charts.flatMap((chart) => Object.keys(chart.choices)))];
    let current = charts[0];

    function change(index, value) {
      const agrees = (chart, until) => keys.slice(0, until)
        .every((key) => chart.choices[key] === current.choices[key]);
      const possible = charts.filter((chart) => agrees(chart, index) && chart.choices[keys[index]] === value);
      const alike = (chart) => keys.slice(index + 1)
        .filter((key) => chart.choices[key] === current.choices[key]).length;
      current = possible.reduce((best, chart) => (alike(chart) > alike(best) ? chart : best));
      show(index);
      choose(current);
    }

    function show(changed) {
      const focused = changed !== undefined;
      const made = keys.map((key, index) => {
        const values = [...new Set(charts
          .filter((chart) => keys.slice(0, index)
            .every((before) => chart.choices[before] === current.choices[before]))
          .map((chart) => chart.choices[key])
          .filter((value) => value !== undefined))];
        return selector(key, values, current.choices[key], `${identifier}-${index}`, (value) => change(index, value));
      });
      controls.replaceChildren(...made.filter(Boolean));
      // the control that was used is another element now
      if (focused) document.getElementById(`${identifier}-${changed}`)?.focus();
    }
    show();
  }

  function selector(key, values, chosen, identifier, change) {
    if (values.length < 2) return null;
    if (values.length > MOST_RADIOS) {
      const made = element("select", { id: identifier }, ...values.map((value) =>
        element("option", { value, textContent: value, selected: value === chosen })));
      made.addEventListener("change", () => change(made.value));
      return element("label", { className: "selector" },
        element("span", { className: "name", textContent: key }), made);
    }
    const group = element("fieldset", { className: "selector" },
      element("legend", { className: "name", textContent: key }));
    for (const value of values) {
      const input = element("input", { type: "radio", name: identifier, value, checked: value === chosen });
      if (value === chosen) input.id = identifier;
      input.addEventListener("change", () => change(value));
      group.append(element("label", { className: "option" }, input,
        element("span", { textContent: value })));
    }
    return group;
  }

  for (const figure of document.querySelectorAll("figure.of-chart")) equip(figure);
  const redraw = () => drawn.forEach((each) => each.isWanted() && each.draw());
  look.follow(redraw);
  let width = window.innerWidth, waiting;
  window.addEventListener("resize", () => {
    // a phone's address bar changes the height alone
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });
  window.addEventListener("beforeprint", () => drawn.forEach((each) => each.draw(true)));
  window.addEventListener("afterprint", redraw);
})();
