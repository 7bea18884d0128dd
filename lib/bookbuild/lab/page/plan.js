// Two questions to move: what a budget buys under a published law, and how many experts a step of decoding reads.

function planner(root) {
  const laws = engine().LAWS.filter((law) => law.family);
  const answer = element("div", { "aria-live": "polite" });
  const law = select(laws.map((each) => [each.name, `${each.name} (${each.source.split(" (")[0]})`]), laws[0].name,
    () => redraw());
  const oninput = () => redraw();
  const budget = slider({ label: "training budget C, FLOPs", min: 18, max: 26, step: 0.1, value: 21,
    say: (at) => said(10 ** at, 2), oninput });
  const chosen = slider({ label: "experts that a token uses, K", min: 1, max: 8, step: 1, value: 1, say: String, oninput });
  const redraw = latest(async () => {
    const picked = engine().lawNamed(law.value);
    const found = engine().bestAt({ law: { name: picked.name }, params: picked.published[0].values, family: picked.family,
      budget: 10 ** budget.value(), topK: chosen.value() });
    const dense = found.rows[0];
    const rows = found.rows.map((row) => [row.n_experts === 1 ? "dense" : `E = ${row.n_experts}`,
      counted(row.total_params), counted(row.active_params), counted(row.tokens), row.loss.toFixed(3),
      row === dense ? "" : (row.loss - dense.loss).toFixed(3).replace("-", "−")]);
    const words = `What ${said(10 ** budget.value(), 2)} FLOPs buy, each E at its best size,`
      + ` as ${picked.published[0].source} has it`;
    answer.replaceChildren(tableOf(words, ["", "N", headOf(ACTIVE), "tokens D", "loss L", "against dense"], rows),
      element("p", { class: "lab-note" }, "The paper prints no uncertainty that would make an interval; beyond its own"
        + " budgets this is an extrapolation."));
  });
  root.append(element("div", { class: "lab-fields" }, field("law", law), budget.made, chosen.made), answer);
  redraw();
}

function touchedExperts(root) {
  const picture = element("div", { class: "lab-picture" });
  const answer = element("p", { class: "lab-answer", role: "status" });
  const oninput = () => redraw();
  const power = (at) => String(2 ** at);
  const experts = slider({ label: "experts a layer, E", min: 1, max: 9, step: 1, value: 6, say: power, oninput });
  const chosen = slider({ label: "experts that a token uses, K", min: 1, max: 16, step: 1, value: 2, say: String, oninput });
  const batch = slider({ label: "tokens in a step, B", min: 0, max: 10, step: 1, value: 5, say: power, oninput });
  const redraw = latest(async () => {
    const e = 2 ** experts.value();
    const k = Math.min(chosen.value(), e);
    const b = 2 ** batch.value();
    const touched = (tokens) => e * (1 - (1 - k / e) ** tokens);
    answer.textContent = `A step of ${b} tokens reads ${said(touched(b), 3)} of ${e} experts in each layer,`
      + ` ${said((100 * touched(b)) / e, 3)} %, under even routing.`;
    const steps = Array.from({ length: 81 }, (_, i) => 2 ** (i / 8));
    const values = steps.map((tokens) => ({ tokens, read: touched(tokens) }));
    await draw(picture, answer.textContent, { height: 240, layer: [
      { data: { values }, mark: { type: "line", color: BLUE }, encoding: {
        x: { field: "tokens", type: "quantitative", scale: { type: "log", base: 2 }, axis: axisOf("tokens in a step, B") },
        y: { field: "read", type: "quantitative", scale: { domain: [0, e] }, axis: axisOf("experts read, of each layer") } } },
      { data: { values: [{ tokens: b, read: touched(b) }] },
        mark: { type: "point", filled: true, size: 90, color: ORANGE, opacity: 1 },
        encoding: { x: { field: "tokens", type: "quantitative" }, y: { field: "read", type: "quantitative" } } },
    ] });
  });
  root.append(element("div", { class: "lab-fields" }, experts.made, chosen.made, batch.made), answer, picture);
  redraw();
}
