// The best model at a budget, of a fit or of a published law: asked for in training FLOPs, answered for each number of
// experts, with intervals where the runs pin every parameter down.

const FAMILY_WORDS = [
  ["proportional", "all in experts", "every parameter is an expert's: N = N_a E / K"],
  ["glu", "gated experts", "as Abnar et al. 2025"],
  ["switch", "SwiGLU experts", "as Ludziejewski et al. 2025"],
  ["alternating", "every second layer", "a mixture in every second layer, as Yun et al. 2024"],
];

function budgetForm(record, job) {
  const flops = record.ranges.train_flops;
  const first = flops ? flops[1] : 1e20;
  const budget = element("input", { type: "text", inputmode: "decimal", value: said(first, 3).replace("−", "-") });
  const family = select(FAMILY_WORDS, "proportional", (value) => { kind.querySelector("small").textContent = aboutOf(value); });
  const kind = field("kind of models", family, aboutOf("proportional"));
  const chosen = element("input", { type: "number", min: "1", step: "1", value: "1" });
  const answer = element("div", { "aria-live": "polite" });
  const run = async () => {
    try {
      const found = await ask("bestAt", { law: job.job.law, params: record.params, columns: record.columns,
        family: family.value, budget: positiveIn("Budget", budget.value), topK: positiveIn("Experts a token uses", chosen.value),
        covariance: record.covariance, identified: record.identified }).promise;
      answer.replaceChildren(...budgetAnswer(found, flops, positiveIn("Budget", budget.value), record));
    } catch (error) {
      answer.replaceChildren(element("p", { class: "lab-wrong", role: "alert" }, error.message));
    }
  };
  return element("form", { class: "lab-form", onsubmit: (event) => { event.preventDefault(); run(); } },
    element("h3", {}, "The best model at a budget"),
    element("div", { class: "lab-fields" }, field("training FLOPs", budget),
      field("experts that a token uses, K", chosen), kind,
      element("button", { type: "submit", class: "lab-button" }, "Find it")), answer);
}

function aboutOf(family) {
  return FAMILY_WORDS.find(([value]) => value === family)[2];
}

function positiveIn(what, text) {
  const value = Number(String(text).trim());
  if (!(String(text).trim() && value > 0 && Number.isFinite(value))) refuse(`${what}: expected a number > 0, found '${text}'.`);
  return value;
}

function withEnds(row, name, digits) {
  const ends = row.intervals && row.intervals[name];
  const write = name === "loss" ? (value) => said(value, digits) : counted;
  const words = ends ? `${write(ends[0])} to ${write(ends[1])}` : "";
  return [write(row[name]), words ? element("span", { class: "lab-ends" }, words) : ""];
}

function budgetAnswer(found, flops, budget, record) {
  const { best, rows, routed } = found;
  const columns = [["total_params", "N"], ["active_params", ACTIVE], ["tokens", "tokens D"], ["loss", "loss L"]];
  const lines = rows.map((row) => [routed ? `E = ${row.n_experts}` : "dense", ...columns.map(([name]) =>
    withEnds(row, name, name === "loss" ? 4 : 3)),
  row.edge ? "at the limit of the search" : row.n_experts === best.n_experts ? "lowest loss" : ""]);
  const notes = [];
  if (!best.intervals) {
    notes.push("No intervals: the runs do not pin down every parameter; moelaws fit --bootstrap 1000 makes some.");
  }
  if (found.expertsEdge) notes.push("The most experts that were compared are best: more might be better still.");
  if (flops && (budget > flops[1] * 1.001 || budget < flops[0] * 0.999)) {
    const away = budget > flops[1] ? budget / flops[1] : flops[0] / budget;
    const decades = said(Math.log10(away), 2);
    notes.push(`The runs lie ${decades} decade${decades === "1" ? "" : "s"} of compute away: this is an extrapolation.`);
  }
  const caption = `What ${said(budget, 3)} training FLOPs buy, as ${record.law} sees it`
    + `${best.intervals ? ", with 95 % intervals" : ""}`;
  return [tableOf(caption, ["", ...columns.map(([, title]) => headOf(title)), ""], lines),
    ...notes.map((each) => element("p", { class: "lab-note" }, each))];
}
