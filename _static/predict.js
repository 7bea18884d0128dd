// Predictions: below each "Predict." a place to write one down. The browser keeps it, shows it again where the section
// ends, and asks how it compares. Nothing leaves the page.
(function () {
  "use strict";
  const WORDS = ["as I said", "in part", "otherwise"];

  function kept(key) {
    try { return JSON.parse(localStorage.getItem(key)) || {}; } catch (error) { return {}; }
  }

  function keep(key, value) {
    // A browser that keeps nothing (a private window, a full disk) still compares while the page is open.
    try { localStorage.setItem(key, JSON.stringify(value)); } catch (error) { /* see above */ }
  }

  function element(name, kind, text) {
    const made = document.createElement(name);
    made.className = kind;
    if (text) made.textContent = text;
    return made;
  }

  function place(paragraph, number) {
    const section = paragraph.closest("section") || paragraph.parentElement;
    const key = "moelaws prediction " + location.pathname.split("/").slice(-2).join("/") + "#" + section.id + " " + number;
    const state = kept(key);

    const box = element("div", "prediction");
    const label = element("label", "", "Your prediction");
    const field = element("textarea", "");
    field.rows = 2;
    field.value = state.said || "";
    label.append(field);
    box.append(label);
    paragraph.after(box);

    const recall = element("fieldset", "prediction recall");
    const legend = element("legend", "");
    recall.append(legend);
    for (const word of WORDS) {
      const choice = element("label", "", " " + word);
      const button = document.createElement("input");
      button.type = "radio";
      button.name = key;
      button.value = word;
      button.checked = state.came === word;
      button.addEventListener("change", function () {
        state.came = word;
        keep(key, state);
      });
      choice.prepend(button);
      recall.append(choice);
    }
    // Where the section's own text ends: before the sections within it.
    const inner = Array.from(section.children).find(function (child) {
      return child.localName === "section" && child.compareDocumentPosition(box) & Node.DOCUMENT_POSITION_PRECEDING;
    });
    section.insertBefore(recall, inner || null);

    function show() {
      recall.hidden = !field.value.trim();
      legend.textContent = "You predicted: “" + field.value.trim() + "”. It came";
    }
    field.addEventListener("input", function () {
      state.said = field.value;
      keep(key, state);
      show();
    });
    show();
  }

  document.addEventListener("DOMContentLoaded", function () {
    Array.from(document.querySelectorAll("article p > strong:first-child"))
      .filter(function (words) { return /^Predict( first)?\.$/.test(words.textContent.trim()) && !words.previousSibling; })
      .forEach(function (words, number) { place(words.parentElement, number); });
  });
})();
