// Quantities that follow from others, by the rules of moelaws.runs, in its order.

const RULES = [
  { column: "active_params", from: ["total_params"], words: "N, dense", rule: (n) => n, dense: true },
  { column: "total_params", from: ["active_params"], words: "N_a, dense", rule: (n) => n, dense: true },
  { column: "sparsity", from: ["n_experts", "top_k"], words: "(E - K) / E", rule: (e, k) => (e - k) / e },
  { column: "top_k", from: ["n_experts", "sparsity"], words: "E (1 - S)", rule: (e, s) => e * (1 - s) },
  { column: "n_experts", from: ["top_k", "sparsity"], words: "K / (1 - S)", rule: (k, s) => k / (1 - s) },
  { column: "sparsity", from: ["activation_ratio"], words: "1 - A", rule: (a) => 1 - a },
  { column: "tokens", from: ["train_flops", "active_params"], words: "C / (6 N_a)", rule: (c, n) => c / (6 * n) },
  { column: "train_flops", from: ["tokens", "active_params"], words: "6 N_a D", rule: (d, n) => 6 * n * d },
  { column: "active_params", from: ["train_flops", "tokens"], words: "C / (6 D)", rule: (c, d) => c / (6 * d) },
  { column: "activation_ratio", from: ["sparsity"], words: "1 - S", rule: (s) => 1 - s },
];
const OF_EXPERTS = ["n_experts", "top_k", "sparsity", "activation_ratio", "granularity", "shared_experts", "moe_every"];

// Whether a table holds dense models only: its columns of experts say so, or it has no such column.
function denseTable(table) {
  const there = OF_EXPERTS.filter((name) => numbersFor(table, name));
  for (const [name, none] of [["n_experts", 1], ["sparsity", 0]]) {
    if (there.includes(name)) return numbersFor(table, name).every((each) => each === none || Number.isNaN(each));
  }
  const taken = OF_EXPERTS.map((name) => guess(table, name));
  const speaks = new RegExp(SPEAKS_OF_EXPERTS, "i");
  if (there.length || table.names.some((name) => !taken.includes(name) && speaks.test(name))) return false;
  const [total, active] = [numbersFor(table, "total_params"), numbersFor(table, "active_params")];
  if (!total || !active) return Boolean(total || active);
  return total.every((each, i) => !(Math.abs(active[i] / each - 1) >= 0.01));
}

// The rules that give quantities which no column holds: {quantity: rule}.
function derivedRules(table) {
  if (table.rules) return table.rules;
  const dense = denseTable(table);
  const found = {};
  const known = (name) => Boolean(found[name] || numbersFor(table, name));
  if (dense && !OF_EXPERTS.some(known)) {
    for (const [name, value] of [["sparsity", 0], ["n_experts", 1], ["top_k", 1]]) {
      found[name] = { column: name, from: [], words: `${value}, dense`, rule: () => value };
    }
  }
  for (const rule of RULES) {
    if ((!rule.dense || dense) && !known(rule.column) && rule.from.every(known)) found[rule.column] = rule;
  }
  table.rules = found;
  return found;
}

// Training FLOPs of every run, from the table or from what follows; null where nothing tells them.
function flopsOf(table, known) {
  if (known.train_flops) return known.train_flops.values;
  const active = activeOf(table, known);
  return active && known.tokens ? active.map((each, i) => 6 * each * known.tokens.values[i]) : null;
}

// Active parameters of every run; of dense models they are all.
function activeOf(table, known) {
  const found = known.active_params || (denseTable(table) && known.total_params);
  return found ? found.values : null;
}
