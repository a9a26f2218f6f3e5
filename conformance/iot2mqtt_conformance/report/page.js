"use strict";
// Filters live in the address, so that a view can be passed on: #verdict=fail,warning&area=CMD&text=retain
(function () {
  const form = document.getElementById("filters");
  const shown = document.getElementById("shown");
  const rows = Array.from(document.querySelectorAll("#table tbody tr"));
  const cards = Array.from(document.querySelectorAll("article[data-verdict]"));
  const failures = document.getElementById("failures");
  const boxes = Array.from(form.elements).filter((field) => field.name === "verdict");
  const area = form.elements.namedItem("area");
  const text = form.elements.namedItem("text");

  function apply() {
    const verdicts = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (element) => {
      const content = element.textContent.toLowerCase();
      return verdicts.has(element.dataset.verdict)
        && (!area.value || area.value === element.dataset.area)
        && words.every((word) => content.includes(word));
    };
    for (const row of rows) row.hidden = !fits(row);
    const visible = rows.filter((row) => !row.hidden);
    const ids = new Set(visible.map((row) => row.querySelector("th a")?.hash));
    for (const card of cards) card.hidden = !ids.has("#" + card.id);
    if (failures) failures.hidden = cards.every((card) => card.hidden);
    shown.textContent = visible.length + " of " + rows.length + " clauses";
  }

  function remember() {
    const state = new URLSearchParams();
    if (boxes.some((box) => !box.checked)) {
      state.set("verdict", boxes.filter((box) => box.checked).map((box) => box.value).join(","));
    }
    if (area.value) state.set("area", area.value);
    if (text.value) state.set("text", text.value);
    history.replaceState(null, "", "#" + state);
    apply();
  }

  function recall() {
    const address = location.hash.slice(1);
    if (address && !address.includes("=")) return;
    const state = new URLSearchParams(address);
    const verdicts = state.has("verdict") ? state.get("verdict").split(",") : null;
    for (const box of boxes) box.checked = !verdicts || verdicts.includes(box.value);
    area.value = state.get("area") || "";
    text.value = state.get("text") || "";
    apply();
  }

  form.hidden = shown.hidden = false;
  form.addEventListener("input", remember);
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", recall);
  recall();
})();
