// What the theme leaves out for readers who use a keyboard or have pages read to them.
(function () {
  "use strict";
  // A box that scrolls can be scrolled by key only if it can be reached by key.
  function reach() {
    for (const box of document.querySelectorAll("article pre, article table, article div.math, article div.cell_output, article div.chart")) {
      const wide = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
      if (wide && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.dataset.reached = "";
      } else if (!wide && "reached" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.reached;
      }
    }
  }
  // What a link leads to is open, whatever it is folded behind; a public name's signature stands above what is.
  function open() {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    const own = place.matches("dt.sig") ? place.nextElementSibling?.querySelector(":scope > details") : null;
    let closed = own && !own.open;
    if (own) own.open = true;
    for (let each = place.closest("details"); each; each = each.parentElement.closest("details")) {
      closed = closed || !each.open;
      each.open = true;
    }
    if (closed) place.scrollIntoView();
  }
  document.addEventListener("DOMContentLoaded", function () {
    open();
    // Docutils calls references a list, and their entries no items of one.
    for (const list of document.querySelectorAll('div.citation-list[role="list"]')) list.removeAttribute("role");
    for (const entry of document.querySelectorAll('[role="doc-biblioentry"]')) entry.removeAttribute("role");
    reach();
  });
  window.addEventListener("load", reach);
  window.addEventListener("resize", reach);
  window.addEventListener("hashchange", open);
  window.addEventListener("chartdrawn", reach);
})();
