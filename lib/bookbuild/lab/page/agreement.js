// What a table says twice, and not alike: training FLOPs beside sizes and tokens, sparsity beside experts, N beside N_a. By
// the rules of moelaws.runs, which says it and uses the file's columns as they are.

// known: {quantity: {values}} of the table's own columns. Returns a sentence for each gap.
function disagreements(table, rows, known) {
  const has = (...names) => names.every((name) => known[name]);
  const at = (name, i) => known[name].values[i];
  const told = [];
  const gap = (name, ratio, formula, left = "it", right = "that") => {
    const far = rows.filter((i) => Math.abs(ratio(i) - 1) > DOUBTED.gap);
    if (!far.length) return;
    const sorted = far.map(ratio).sort((a, b) => a - b);
    const middle = (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
    told.push(`${name} is not ${formula} in ${far.length} of ${rows.length} runs, row ${table.numbers[far[0]]} first: ${left}`
      + ` is ${said(middle, 3)} times ${right} (median); the file's columns are used as they are`);
  };
  const active = activeOf(table, known);
  const counted = table.places.has("flops_convention")
    && cellsOf(table, "flops_convention").some((cell) => cell && cell !== "6na");
  if (has("train_flops", "tokens") && active && !counted) {
    gap("train_flops", (i) => at("train_flops", i) / (6 * active[i] * at("tokens", i)),
      known.active_params ? "6 N_a D" : "6 N D");
  }
  const chosen = (i) => at("top_k", i) / at("n_experts", i);
  if (has("sparsity", "n_experts", "top_k")) {
    gap("sparsity", (i) => (1 - at("sparsity", i)) / chosen(i), "1 - K / E", "1 minus sparsity", "K / E");
  } else if (has("sparsity", "n_experts") && denseTable(table)) {
    gap("sparsity", (i) => 1 - at("sparsity", i), "0", "1 minus sparsity", "1 / E");
  }
  if (has("sparsity", "activation_ratio")) {
    gap("activation_ratio", (i) => at("activation_ratio", i) / (1 - at("sparsity", i)), "1 - S");
  }
  if (has("total_params", "active_params")) told.push(...sizesApart(table, rows, known, at, chosen));
  return told;
}

// N against N_a: not below it, equal for a dense model, at most N_a / (1 - S) for a sparse one.
function sizesApart(table, rows, known, at, chosen) {
  const share = (i) => at("active_params", i) / at("total_params", i);
  const active = known.sparsity ? (i) => 1 - at("sparsity", i) : known.n_experts && known.top_k ? chosen : null;
  const above = rows.filter((i) => share(i) > 1 + DOUBTED.gap);
  const below = active ? rows.filter((i) => share(i) < active(i) * (1 - DOUBTED.gap)) : [];
  const far = above.length ? above : below;
  if (!far.length) return [];
  const what = above.length ? "active_params is more than total_params"
    : "active_params is less than its share of total_params, (1 - S) N,";
  const [first] = far;
  return [`${what} in ${far.length} of ${rows.length} runs, row ${table.numbers[first]} first: ${said(at("active_params", first), 4)}`
    + ` and ${said(at("total_params", first), 4)}; the file's columns are used as they are`];
}

// No token is given to more experts than there are.
function refuseMoreChosen(table, rows, known) {
  if (!known.n_experts || !known.top_k) return;
  const at = rows.find((i) => known.top_k.values[i] > known.n_experts.values[i]);
  if (at === undefined) return;
  refuse(`${table.file}: row ${table.numbers[at]}, column '${known.top_k.shown}': found ${said(known.top_k.values[at])}, expected`
    + ` at most the number of experts, which is ${said(known.n_experts.values[at])}.`);
}
