// The best model at a budget, as a law sees it: which runs a budget buys from a family of models, and the lowest loss.
// The same limits as moelaws.Forecaster: 1e-4 to 1e8 training tokens an active parameter.

const EXPERTS = [1, 2, 4, 8, 16, 32, 64];
const TOKENS_PER_PARAM = [1e-4, 1e8];
const SIZES = 1200;
const DRAWS = 200;

// Total and active parameters and training FLOPs a token, from one size, E and K.
function widthFamily(name, vocabulary, aspect, expert, context) {
  const params = (d, experts) => 2 * d * vocabulary + ((4 + expert * experts) * d ** 3) / aspect;
  return {
    name, total: (d, e) => params(d, e), active: (d, e, k) => params(d, k), dense: (d) => params(d, 1),
    flops: context ? (d, e, k) => 6 * ((d / aspect) * d * d * (4 + (2 * context) / d + 12 * k) + vocabulary * d)
      : (d, e, k) => 6 * params(d, k),
  };
}

const FAMILIES = [
  { name: "proportional", total: (n, e, k) => (n * e) / k, active: (n) => n, dense: (n) => n, flops: (n) => 6 * n },
  widthFamily("glu", 50432, 64, 12, 2048),
  widthFamily("switch", 50257, 64, 9, 0),
  { name: "alternating", total: (n, e) => (1 + (e - 1) / 3) * n, active: (n, e, k) => (1 + (k - 1) / 3) * n,
    dense: (n) => n, flops: (n) => 6 * n },
];

// The size at which a family has so many active parameters.
function sizeOf(family, target, e, k) {
  let low = -10;
  let high = 80;
  for (let i = 0; i < 100; i++) {
    const middle = 0.5 * (low + high);
    if (family.active(Math.exp(middle), e, k) < target) low = middle;
    else high = middle;
  }
  return low;
}

// Whether a law can choose a size under a budget: it must see the training tokens fall as the model grows.
function canPlan(law, columns) {
  const read = law.variables.map(({ symbol, columns: names }) => (columns || {})[symbol] || names[0]);
  const known = ["total_params", "active_params", "dense_params", "non_embedding_params", "n_experts", "top_k", "sparsity",
    "tokens", "granularity"];
  return read.includes("tokens") && read.some((name) => name.endsWith("_params")) && read.every((name) => known.includes(name));
}

function runsFor(law, columns, family, budget, e, k) {
  const [low, high] = [...TOKENS_PER_PARAM].reverse().map((ratio) => sizeOf(family, Math.sqrt(budget / (6 * ratio)), e, k));
  const sizes = Array.from({ length: SIZES }, (_, i) => Math.exp(low + ((high - low) * i) / (SIZES - 1)));
  const table = sizes.map((size) => ({
    total_params: family.total(size, e, k), active_params: family.active(size, e, k), dense_params: family.dense(size, e, k),
    non_embedding_params: family.total(size, e, k), n_experts: e, top_k: k, sparsity: 1 - k / e, granularity: 1,
    tokens: budget / family.flops(size, e, k),
  }));
  const data = Object.fromEntries(law.variables.map(({ symbol, columns: names }) => {
    const name = (columns || {})[symbol] || names.find((each) => each in table[0]);
    return [symbol, table.map((row) => row[name])];
  }));
  return { low, high, table, data };
}

// The lowest point of a curve on the grid, with the parabola through its neighbours.
function lowestOf(values) {
  let at = 0;
  for (let i = 1; i < values.length; i++) if (values[i] < values[at] || Number.isNaN(values[at])) at = i;
  if (at === 0 || at === values.length - 1) return { at, value: values[at], edge: at ? "high" : "low" };
  const [left, middle, right] = [values[at - 1], values[at], values[at + 1]];
  const bend = left - 2 * middle + right;
  const offset = bend > 0 ? (0.5 * (left - right)) / bend : 0;
  return { at: at + offset, value: middle - 0.25 * (left - right) * offset, edge: "" };
}

// ask: {law, params, columns, family (a name), budget, experts, topK, covariance, identified}.
// Returns the best model of the budget, one row for each number of experts, and intervals where the runs pin down all.
function bestAt(ask) {
  const law = ask.law.formula ? lawFromFormula(ask.law.formula, ask.law.variables) : lawNamed(ask.law.name);
  if (!canPlan(law, ask.columns)) {
    throw new LabError(`Law ${shown(law.name)} cannot choose a size at a budget: it does not say what tokens do.`);
  }
  if (!(ask.budget >= 1e6 && ask.budget <= 1e40)) {
    throw new LabError(`Budget: found ${ask.budget}, expected training FLOPs from 1e6 to 1e40.`);
  }
  const family = FAMILIES.find((each) => each.name === (ask.family || "proportional"));
  const read = law.variables.map(({ symbol, columns }) => (ask.columns || {})[symbol] || columns[0]);
  const routed = read.some((name) => ["n_experts", "sparsity"].includes(name));
  const choices = routed ? ask.experts || EXPERTS : [1];
  const draws = drawnCoordinates(law, ask);
  const found = choices.map((e) => {
    const k = Math.min(ask.topK || 1, e);
    const { low, high, table, data } = runsFor(law, ask.columns, family, ask.budget, e, k);
    const names = law.parameters.map((each) => each.name);
    const program = assemble(law, data, names, law.parameters.map((each) => each.positive), {}, true);
    const expander = new Expander(program, SIZES);
    return draws.map((theta) => {
      const best = lowestOf(expander.valuesAt(theta));
      const size = Math.exp(low + ((high - low) * best.at) / (table.length - 1));
      const active = family.active(size, e, k);
      return { n_experts: e, top_k: k, total_params: family.total(size, e, k), active_params: active,
        tokens: ask.budget / family.flops(size, e, k), loss: Math.exp(best.value), edge: best.edge };
    });
  });
  const rows = found.map((each) => ({ ...each[0], intervals: endsOf(each.slice(1)) }));
  const best = draws.map((_, d) => found.map((each) => each[d]).reduce((a, b) => (b.loss < a.loss ? b : a)));
  const at = choices.indexOf(best[0].n_experts);
  return { rows, best: { ...best[0], intervals: endsOf(best.slice(1)) }, routed,
    expertsEdge: routed && choices.length > 1 && at === choices.length - 1 ? "high" : "" };
}

function endsOf(draws) {
  if (!draws.length) return null;
  return Object.fromEntries(["n_experts", "total_params", "active_params", "tokens", "loss"].map((name) => {
    const values = draws.map((each) => each[name]);
    return [name, [quantile(values, 0.025), quantile(values, 0.975)]];
  }));
}

// The coefficients, and draws of them from their covariance with the t-distribution's tails.
function drawnCoordinates(law, ask) {
  const logs = law.parameters.map((each) => each.positive);
  const point = Float64Array.from(law.parameters, ({ name }, i) => (logs[i] ? Math.log(ask.params[name]) : ask.params[name]));
  const joint = ask.covariance;
  const sure = joint && joint.degrees > 0 && law.parameters.every(({ name }) => (ask.identified || {})[name]);
  if (!sure) return [point];
  const p = joint.parameters.length;
  const error = joint.matrix.map((row, i) => Math.sqrt(Math.max(row[i], 1e-300)));
  const { values, vectors } = eigen(joint.matrix.flatMap((row, i) => row.map((each, j) => each / error[i] / error[j])), p);
  const chance = new Chance(0);
  return [point, ...Array.from({ length: DRAWS }, () => {
    const tail = Math.sqrt(joint.degrees / chance.chiSquared(joint.degrees));
    const drawn = values.map((value) => Math.sqrt(Math.max(value, 0)) * chance.normal());
    const theta = Float64Array.from(point);
    joint.parameters.forEach((name, i) => {
      const at = law.parameters.findIndex((each) => each.name === name);
      theta[at] += tail * error[i] * drawn.reduce((sum, z, k) => sum + z * vectors[k][i], 0);
    });
    return theta;
  })];
}
