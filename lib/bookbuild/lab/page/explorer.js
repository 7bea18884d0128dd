// Every law to play with: its curve against one of its variables, the others and the coefficients on sliders.

// Range, step and default of a variable's slider, in log10 where it says so.
const SPANS = {
  tokens: { log: true, min: 8, max: 14, step: 0.1, value: 11 },
  dense_tokens: { log: true, min: 8, max: 14, step: 0.1, value: 11 },
  n_experts: { log2: true, min: 0, max: 9, step: 1, value: 3 },
  sparsity: { min: 0, max: 0.99, step: 0.01, value: 0.75 },
  top_k: { min: 1, max: 16, step: 1, value: 2 },
  shared_experts: { min: 0, max: 4, step: 1, value: 1 },
  granularity: { log2: true, min: 0, max: 5, step: 1, value: 1 },
  train_flops: { log: true, min: 18, max: 26, step: 0.1, value: 22 },
  activation_ratio: { min: 0.01, max: 1, step: 0.01, value: 0.1 },
};
const PARAMS_SPAN = { log: true, min: 7, max: 13, step: 0.1, value: 9.5 };

function spanOf(variable) {
  return SPANS[variable.columns[0]] || PARAMS_SPAN;
}

function backOf(span, at) {
  return span.log ? 10 ** at : span.log2 ? 2 ** at : at;
}

function lawExplorer(root) {
  const published = engine().LAWS.filter((law) => law.published.length);
  const holder = element("div", {});
  const options = published.map((each) => [each.name, `${each.name} (${each.source.split(" (")[0].split(":")[0]})`]);
  const law = select(options, "abnar2025", () => show());
  const show = () => holder.replaceChildren(...exploredLaw(engine().lawNamed(law.value)));
  root.append(field("Law", law), holder);
  show();
}

function exploredLaw(law) {
  const picture = element("div", { class: "lab-picture" });
  const answer = element("p", { class: "lab-answer", role: "status" });
  const set = select(law.published.map((each) => [each.name, each.source]), law.published[0].name, () => coefficients());
  const along = select(law.variables.map((each) => [each.symbol, `${each.symbol}: ${each.meaning}`]),
    law.variables[0].symbol, () => redraw());
  const sliders = law.variables.map((variable) => {
    const span = spanOf(variable);
    return { variable, span, ...slider({ label: `${variable.symbol}: ${variable.meaning}`, min: span.min, max: span.max,
      step: span.step, value: span.value, say: (at) => said(backOf(span, at), 3), oninput: () => redraw() }) };
  });
  const moved = element("div", { class: "lab-fields" });
  const note = element("p", { class: "lab-note" });
  let params = {};
  let printed = {};
  // A positive coefficient goes from half to twice what was printed, any other by half of it to either side.
  const coefficients = () => {
    const chosen = law.published.find((each) => each.name === set.value);
    printed = chosen.values;
    params = { ...printed };
    note.textContent = [chosen.note, law.conventions].filter(Boolean).join("; ");
    moved.replaceChildren(...law.parameters.map(({ name, positive, meaning }) => slider({
      label: `${name}${meaning ? `: ${meaning}` : ""}`, min: -1, max: 1, step: 0.02, value: 0,
      say: (at) => said(positive ? printed[name] * 2 ** at : printed[name] * (1 + 0.5 * at), 4),
      oninput: (at) => {
        params[name] = positive ? printed[name] * 2 ** at : printed[name] * (1 + 0.5 * at);
        redraw();
      } }).made));
    redraw();
  };
  const curve = (which, values) => {
    const here = sliders.find((each) => each.variable.symbol === along.value);
    const { min, max } = here.span;
    const points = Array.from({ length: 101 }, (_, i) => backOf(here.span, min + ((max - min) * i) / 100));
    const data = Object.fromEntries(sliders.map(({ variable, span, value }) =>
      [variable.symbol, variable.symbol === along.value ? points : points.map(() => backOf(span, value()))]));
    return [...engine().predict(law, values, data)].map((loss, i) => ({ at: points[i], loss, which }))
      .filter(({ loss }) => Number.isFinite(loss));
  };
  const redraw = latest(async () => {
    const same = Object.keys(printed).every((name) => params[name] === printed[name]);
    const here = sliders.find((each) => each.variable.symbol === along.value);
    const now = Object.fromEntries(sliders.map(({ variable, span, value }) => [variable.symbol, [backOf(span, value())]]));
    const [loss] = engine().predict(law, params, now);
    const target = targetOf(law);
    answer.textContent = `${target} = ${said(loss, 5)}${law.target === "loss" ? " nats per token" : ""} at `
      + sliders.map(({ variable }) => `${variable.symbol} = ${said(now[variable.symbol][0], 3)}`).join(", ");
    const values = [...curve("as printed", printed), ...(same ? [] : curve("with your coefficients", params))];
    await draw(picture, `${target} against ${along.value} under the law ${law.name}; ${answer.textContent}`, {
      height: 280, layer: [
        { data: { values }, mark: { type: "line", strokeWidth: 2 }, encoding: {
          x: { field: "at", type: "quantitative",
            scale: here.span.log || here.span.log2 ? { type: "log" } : { zero: false },
            axis: axisOf(`${along.value}: ${here.variable.meaning}`, here.span.log) },
          y: { field: "loss", type: "quantitative", scale: { zero: false },
            axis: axisOf(`${target}${law.target === "loss" ? ", nats per token" : ""}`) },
          color: { field: "which", type: "nominal", title: null, legend: same ? null : {},
            scale: { domain: ["as printed", "with your coefficients"], range: [BLUE, ORANGE] } } } },
        { data: { values: [{ at: now[along.value][0], loss }] },
          mark: { type: "point", filled: true, size: 90, color: ORANGE, opacity: 1 },
          encoding: { x: { field: "at", type: "quantitative" }, y: { field: "loss", type: "quantitative" } } },
      ] });
  });
  coefficients();
  return [element("p", { class: "lab-note" }, what(law)),
    element("div", { class: "lab-fields" }, field("coefficients", set), field("against", along)), answer, picture,
    element("div", { class: "lab-fields" }, sliders.map((each) => each.made)), note,
    element("details", { class: "lab-more" }, element("summary", {}, "Move the coefficients"), moved)];
}

// A law as text, with what it defines.
function what(law) {
  const defined = Object.entries(law.definitions).map(([name, text]) => `, ${name} = ${text}`).join("");
  return `${targetOf(law)} = ${law.formula}${defined}`;
}

// The letter of what a law predicts, or its column where it has none.
function targetOf(law) {
  return law.target === "loss" ? "L" : law.target;
}

// Run a slow function for the last of several calls in a row: a slider sends many.
function latest(slow) {
  let running = false;
  let again = false;
  const go = async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await slow();
    } finally {
      running = false;
    }
    if (again) {
      again = false;
      go();
    }
  };
  return go;
}
