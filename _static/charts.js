// Draws the charts of a page. Each is a div.chart with a specification (JSON) and, where scripts are off, an image.
// Vega is one script of this site, fetched only by pages that show a chart.
(function () {
  "use strict";
  const BUNDLE = new URL("vega/bundle.js", document.currentScript.src).href;
  const PHONE = 560;
  const MENU = 48;  // the button in a chart's upper corner

  function load(url) {
    return new Promise(function (resolve, reject) {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = function () { reject(new Error("cannot load " + url)); };
      document.head.append(script);
    });
  }

  // Pixels that words take as a chart sets its titles; as many more as another font of the reader's may need.
  const pen = document.createElement("canvas").getContext("2d");
  function taken(words) {
    pen.font = "600 14px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
    return 1.04 * pen.measureText(words).width;
  }

  // Vega does not break a title; a narrow chart would cut it off, and a wide one set it below its own menu.
  function wrapped(title, width) {
    const text = typeof title === "string" ? title : title.text;
    if (typeof text !== "string") return title;
    const lines = [""];
    for (const word of text.split(" ")) {
      const line = lines[lines.length - 1];
      if (line && taken(line + " " + word) > width) lines.push(word);
      else lines[lines.length - 1] = line ? line + " " + word : word;
    }
    return Object.assign(typeof title === "string" ? {} : title, { text: lines });
  }

  // Panels of one chart, and how many there are; nothing where the specification does not say.
  function panels(spec) {
    const by = spec.facet || (spec.encoding && spec.encoding.facet);
    if (!by || !by.field) return null;
    const inside = spec.facet ? spec.spec : spec;
    const data = spec.data || inside.data || {};
    const rows = data.values || (spec.datasets || {})[data.name];
    if (!Array.isArray(rows) || typeof inside.width !== "number") return null;
    return { inside: inside, by: by, count: new Set(rows.map(function (row) { return row[by.field]; })).size };
  }

  // Small panels stand side by side as far as the page has room, and then grow into what is left of it.
  const LEAST = 0.8, MOST = 320, BETWEEN = 22, AXIS = 62;
  function spread(spec, width) {
    const found = panels(spec);
    if (!found) return spec;
    const own = /"y":"independent"/.test(JSON.stringify(spec.resolve || {})) ? AXIS : BETWEEN;
    const room = function (columns) { return (width - AXIS - (columns - 1) * own) / columns; };
    let columns = found.count;
    while (columns > 1 && room(columns) < LEAST * found.inside.width) columns -= 1;
    columns = Math.ceil(found.count / Math.ceil(found.count / columns));  // as many in each row
    if (spec.facet) spec.columns = columns;
    else found.by.columns = columns;
    found.inside.width = Math.floor(Math.min(MOST, room(columns)));
    return spec;
  }

  // After a first drawing: panels by so much wider or narrower that the chart fills its width and no more.
  function refitted(spec, off) {
    const found = panels(spec);
    if (!found || Math.abs(off) < 4) return null;
    const columns = Math.min(found.count, spec.columns || found.by.columns || 1);
    const width = Math.min(MOST, found.inside.width + Math.floor(off / columns));
    if (width === found.inside.width) return null;
    found.inside.width = width;
    return spec;
  }

  // The titles of horizontal axes, in lines that fit.
  function titled(part, width) {
    if (Array.isArray(part)) part.forEach(function (each) { titled(each, width); });
    else if (part && typeof part === "object") {
      const x = part.encoding && part.encoding.x;
      for (const holder of [x, x && x.axis]) {
        if (holder && typeof holder.title === "string") {
          const lines = wrapped(holder.title, width);
          holder.title = lines.text.length > 1 ? lines.text : holder.title;
        }
      }
      for (const [name, value] of Object.entries(part)) {
        if (name !== "datasets" && name !== "data" && name !== "encoding") titled(value, width);
      }
    }
  }

  // Vega-Lite stretches single views only. Views side by side go below each other where the page is narrow, and take
  // its width; legends wrap.
  function fitted(spec, width) {
    if (width >= PHONE) {
      const wide = spread(structuredClone(spec), width);
      const several = panels(wide);
      if (several) titled(wide, several.inside.width);
      if (wide.title) wide.title = wrapped(wide.title, width - MENU);
      const single = wide.mark || wide.layer;
      const apart = wide.encoding && (wide.encoding.facet || wide.encoding.column || wide.encoding.row);
      if (single && !apart && typeof wide.width === "number") wide.width = "container";
      return wide;
    }
    const narrow = structuredClone(spec);
    if (narrow.title) narrow.title = wrapped(narrow.title, width);
    narrow.config = narrow.config || {};
    narrow.config.legend = Object.assign({ columns: 4, gradientLength: Math.max(80, Math.min(200, width - 220)) }, narrow.config.legend);
    titled(narrow, width - 60);
    narrow.config.axis = Object.assign({}, narrow.config.axis, { titlePadding: 4 });
    narrow.config.axisX = Object.assign({ tickCount: 5 }, narrow.config.axisX);
    const inner = Math.max(160, width - 70);
    if (narrow.hconcat) {
      narrow.vconcat = narrow.hconcat;
      delete narrow.hconcat;
    }
    for (const view of narrow.vconcat || narrow.concat || []) {
      if (typeof view.width === "number" && view.width > inner) view.width = inner;
      if (view.title) view.title = wrapped(view.title, inner);
    }
    // Panels whose rows have names beside them take all of a phone's width, each.
    const named = JSON.stringify(narrow.spec || narrow.encoding || {}).includes('"labelLimit"');
    const several = named ? null : panels(narrow);
    if (several) {
      spread(narrow, width - 6);
      titled(narrow, several.inside.width);
    } else if (narrow.concat || narrow.facet || (narrow.encoding && narrow.encoding.facet)) {
      narrow.columns = 1;
      const inside = narrow.spec || narrow;
      if (typeof inside.width === "number" && inside.width > inner) inside.width = inner;
      if (narrow.encoding && narrow.encoding.facet) narrow.encoding.facet.columns = 1;
    }
    return narrow;
  }

  function fallBack(chart, error) {
    const still = chart.querySelector("noscript");
    const view = chart.querySelector(".chart-view");
    if (still) view.innerHTML = still.textContent;
    chart.dataset.state = "failed";
    console.error("chart not drawn:", error);
  }

  // The same chart with legends of so many columns.
  function columned(part, count) {
    if (Array.isArray(part)) part.forEach(function (each) { columned(each, count); });
    else if (part && typeof part === "object") {
      for (const [name, value] of Object.entries(part)) {
        if (name === "legend" && value && typeof value === "object") value.columns = count;
        if (name !== "datasets" && name !== "data") columned(value, count);
      }
    }
    return part;
  }

  // Vega does not count the letters of a legend before it sets them in columns: on a phone some lie outside.
  function runsOut(view) {
    const drawing = view.querySelector("svg.marks");
    const edge = drawing ? drawing.getBoundingClientRect().right + 1 : Infinity;
    return Array.from(drawing ? drawing.querySelectorAll(".role-legend text") : []).some(function (label) {
      return label.getBoundingClientRect().right > edge;
    });
  }

  // Groups of marks have a role and no name; the drawing has its own name, and its menu gets one.
  function name(view) {
    for (const group of view.querySelectorAll('[role^="graphics-"]:not([aria-label])')) group.setAttribute("aria-hidden", "true");
    const menu = view.querySelector("summary");
    if (menu) menu.setAttribute("aria-label", "Save this figure");
  }

  async function draw(chart) {
    const view = chart.querySelector(".chart-view");
    const spec = JSON.parse(chart.querySelector(".chart-spec").textContent);
    const wide = view.clientWidth >= PHONE;
    const options = {
      renderer: "svg",
      actions: wide ? { export: true, source: false, compiled: false, editor: false } : false,
      downloadFileName: document.location.pathname.split("/").pop().replace(".html", ""),
    };
    try {
      const first = fitted(spec, view.clientWidth);
      await window.vegaEmbed(view, structuredClone(first), options);
      const drawing = view.querySelector("svg.marks");
      const again = drawing && refitted(first, view.clientWidth - drawing.getBoundingClientRect().width - 2);
      if (again) await window.vegaEmbed(view, again, options);
      for (const columns of wide ? [] : [2, 1]) {
        if (!runsOut(view)) break;
        const tried = columned(fitted(spec, view.clientWidth), columns);
        tried.config.legend.layout = { direction: "vertical" };  // several legends below each other
        await window.vegaEmbed(view, tried, options);
      }
      name(view);
      chart.dataset.state = "drawn";
      window.dispatchEvent(new Event("chartdrawn"));
    } catch (error) {
      fallBack(chart, error);
    }
  }

  document.addEventListener("DOMContentLoaded", async function () {
    const charts = Array.from(document.querySelectorAll("div.chart"));
    if (charts.length === 0) return;
    try {
      await load(BUNDLE);
    } catch (error) {
      charts.forEach(function (chart) { fallBack(chart, error); });
      return;
    }
    for (const chart of charts) await draw(chart);
    // Vega measures a container again when the window changes; the page can change without it (side bar, fonts).
    const widths = new WeakMap();
    const observer = new ResizeObserver(function (entries) {
      const changed = entries.filter(function (entry) {
        const before = widths.get(entry.target);
        widths.set(entry.target, entry.contentRect.width);
        return before !== undefined && Math.abs(before - entry.contentRect.width) >= 1;
      });
      if (changed.length > 0) window.dispatchEvent(new Event("resize"));
    });
    charts.forEach(function (chart) { observer.observe(chart.querySelector(".chart-view")); });
  });
})();
