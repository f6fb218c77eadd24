"use strict";
// What is shown can be copied: a button beside each text, and a menu below each table.
const copying = (() => {
  const spoken = document.createElement("div");
  spoken.className = "unseen";
  spoken.setAttribute("role", "status");
  document.body.append(spoken);

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // a browser that keeps its clipboard from pages lets a selection be copied
      const area = element("textarea", { value: text, className: "unseen" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) throw new Error("the browser does not allow it");
    }
  }

  function button(label, name, text) {
    const made = element("button", { type: "button", className: "copier", textContent: label });
    made.setAttribute("aria-label", name);
    made.addEventListener("click", async () => {
      let told = "Copied";
      try { await copy(text()); } catch (error) { told = `Not copied: ${error.message}`; }
      made.textContent = told;
      spoken.textContent = told;
      setTimeout(() => { made.textContent = label; spoken.textContent = ""; }, 1600);
    });
    return made;
  }

  // a disclosure: it closes when something in it was chosen, and by Escape
  function menu(texts, subject) {
    const choices = element("div", { className: "choices" });
    const made = element("details", { className: "menu" },
      element("summary", { className: "control", textContent: "Copy as" }), choices);
    for (const [format, text] of Object.entries(texts)) {
      choices.append(button(format, `Copy ${subject} as ${format}`, () => text));
    }
    made.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !made.open) return;
      made.open = false;
      made.firstElementChild.focus();
    });
    made.addEventListener("focusout", (event) => {
      if (event.relatedTarget && !made.contains(event.relatedTarget)) made.open = false;
    });
    return made;
  }

  for (const place of document.querySelectorAll(".text")) {
    const shown = place.querySelector("pre");
    place.append(button("Copy", `Copy ${place.dataset.what}`, () => shown.textContent));
  }
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".menu[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });

  return { element, menu };
})();
