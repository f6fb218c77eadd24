"use strict";
// The contents say which section is being read.
(() => {
  const links = new Map([...document.querySelectorAll(".contents > ol a")]
    .map((link) => [document.querySelector(link.hash), link]));
  const shown = new Set();
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) shown.add(target);
      else shown.delete(target);
    }
    const current = [...links.keys()].findLast((section) => shown.has(section));
    if (!current) return;
    for (const [section, link] of links) {
      if (section === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    // what is read is what crosses the upper third of the window
  }, { rootMargin: "0px 0px -67% 0px" });
  for (const section of links.keys()) observer.observe(section);
})();
