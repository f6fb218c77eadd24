"use strict";
// Runs before the page is drawn: says that scripts run, and keeps the look that was chosen. Paper
// is light, and shows what can be folded.
const look = (() => {
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const paper = window.matchMedia("print");
  const KEPT = "rso-sweep-look";
  const followers = [];

  // a browser may refuse to keep anything: then the choice holds until the page is left
  function kept() {
    try { return sessionStorage.getItem(KEPT); } catch { return null; }
  }
  function keep(choice) {
    try { sessionStorage.setItem(KEPT, choice); } catch { /* as above */ }
  }

  function isDark() {
    return !paper.matches && (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  }
  function tell() {
    for (const follow of followers) follow(isDark());
  }

  root.classList.add("js");
  const choice = kept();
  if (choice === "dark" || choice === "light") root.dataset.theme = choice;
  system.addEventListener("change", tell);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "switch";
    button.textContent = "Dark page";
    followers.push((dark) => button.setAttribute("aria-pressed", String(dark)));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      keep(root.dataset.theme);
      tell();
    });
    document.querySelector("header").prepend(button);
    tell();
  });

  const unfolded = [];
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("main details:not(.menu):not([open])")) {
      details.open = true;
      unfolded.push(details);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const details of unfolded.splice(0)) details.open = false;
  });

  return { isDark, follow: (follow) => followers.push(follow) };
})();
