// Pictures, drawn by the Vega of this site.

const HERE = document.currentScript.src;
let vega = null;

function loadVega() {
  vega = vega || new Promise((resolve, reject) => {
    if (window.vegaEmbed) {
      resolve();
      return;
    }
    const script = document.createElement("script");
    script.src = new URL("../vega/bundle.js", HERE).href;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`cannot load ${script.src}`));
    document.head.append(script);
  });
  return vega;
}

const INK = "#1f2328";
const BLUE = "#3c6da6";
const ORANGE = "#d55e00";
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

const LOOK = {
  font: FONT, background: "#ffffff", view: { stroke: null }, legend: { orient: "bottom", titleFontWeight: "normal" },
  axis: { labelColor: INK, titleColor: INK, gridColor: "#e6e8eb", titleFontWeight: "normal", labelOverlap: true },
};

// Draw a Vega-Lite specification into a holder, in place of what was there. The book's styles, which turn light into
// dark, take it for a chart once it is one.
async function draw(holder, description, spec) {
  const view = element("div", { class: "chart-view" });
  const chart = element("div", { class: "lab-chart" }, view);
  const drawing = { ...spec, description, width: "container", autosize: { type: "fit-x", contains: "padding" }, config: LOOK,
    $schema: "https://vega.github.io/schema/vega-lite/v6.json" };
  const former = [...holder.children];
  holder.append(chart);
  try {
    await loadVega();
    await window.vegaEmbed(view, drawing, { renderer: "svg", actions: false });
    chart.classList.add("chart");
    chart.dataset.state = "drawn";
  } catch (error) {
    view.textContent = `This picture could not be drawn: ${error.message}.`;
  }
  former.forEach((each) => each.remove());
}

// An axis of a quantity: logarithmic where it spans more than a factor of 20, without zero.
function scaleOf(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return low > 0 && high / low > 20 ? { type: "log" } : { zero: false };
}

// The powers of ten along a logarithmic axis of these values, which its ends are too; without enough of them what
// lies between as well.
function powersOf(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.ceil(Math.log10(Math.max(...values)));
  const steps = high - low > 2 ? [1] : [1, 2, 5];
  return Array.from({ length: high - low }, (_, i) => steps.map((step) => step * 10 ** (low + i))).flat().concat(10 ** high);
}

function axisOf(title, log, values) {
  // Vega's own format would round 20 to 2e+1.
  const small = "format(datum.value, '.6~g')";
  return { title, ...(values ? { values } : { tickCount: 6 }),
    labelExpr: log ? `datum.value >= 1e5 ? replace(format(datum.value, '~e'), '+', '') : ${small}` : small };
}
