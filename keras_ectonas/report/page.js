"use strict";
// Tells what a point is while the pointer or the focus is on it. Only text is ever set, never markup.
(() => {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const point = event.target.closest(".point");
    if (!point) { hide(); return; }
    tip.textContent = point.getAttribute("aria-label");
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const room = document.documentElement;
    const left = Math.max(4, Math.min(box.right + 8, room.clientWidth - tip.offsetWidth - 4));
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { hide(); } });
  // What is folded away is printed too.
  addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) { folded.open = true; }
  });
})();
