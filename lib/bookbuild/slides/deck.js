// Keys: on and back, the first and the last slide, notes. Without them the deck is a page to scroll.
(function () {
  "use strict";
  const slides = Array.from(document.querySelectorAll(".slide"));
  function here() {
    const tops = slides.map(function (slide) { return Math.abs(slide.getBoundingClientRect().top); });
    return tops.indexOf(Math.min.apply(null, tops));
  }
  function go(place) {
    const slide = slides[Math.max(0, Math.min(slides.length - 1, place))];
    slide.scrollIntoView();
    history.replaceState(null, "", "#" + slide.id);
  }
  const steps = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, " ": 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 };
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) go(here() + steps[event.key]);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(slides.length - 1);
    else if (event.key.toLowerCase() === "n") document.body.classList.toggle("with-notes");
    else return;
    event.preventDefault();
  });
})();
