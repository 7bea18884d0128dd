// A law fitted to runs: the minimum of many starts, its intervals, and what moelaws fit writes of them.

const LEVEL = 0.95;
const ENDLESS = 1e3;

// job: {law (a name, or {formula, variables}), data: letter -> values, target, seeds, weights, columns: letter -> name,
// ranges, derived, holdout: {data, target}, objective, delta, seed, starts}. report(stage, done, total).
// Returns {record (the JSON of moelaws fit), residuals, rows, theta...}: plain values.
function fit(job, report) {
  const began = Date.now();
  const law = job.law.formula ? lawFromFormula(job.law.formula, job.law.variables) : lawNamed(job.law.name);
  const problem = bind(law, job.data, job.target, job);
  if (problem.runs < problem.count) {
    throw new LabError(`${problem.runs} runs for ${problem.count} free parameters of law ${shown(law.name)}: at least as`
      + " many runs as parameters are needed.");
  }
  const chance = new Chance(job.seed || 0);
  const starts = dispersed(problem, job.starts || startsFor(problem.count), chance);
  refuseUndefined(problem, starts, job);
  const design = foreseen(problem, job);
  const found = findMinimum(problem, starts, chance, (done, total) => report("starts", done, total));
  const seconds = (Date.now() - began) / 1000;
  const groups = groupsOf(job.data, job.seeds);
  const spread = covariance(problem, found.theta, groups);
  const sure = certainty(problem, found, spread, (done, total) => report("interval ends", done, total));
  if (sure.status === "converged" && !found.converged) {
    throw new LabError(`The best of ${found.starts} starts was still descending when its steps ran out; another seed of the`
      + " starts, or other runs, may help.");
  }
  const params = problem.params(found.theta);
  return {
    record: recordOf({ law, problem, found, spread, sure, params, seconds, design, job }),
    runs: residualsOf(problem, found.theta),
  };
}

// Refuse runs at which the law has no value for any of the starts.
function refuseUndefined(problem, starts, job) {
  const fine = new Uint8Array(problem.runs);
  for (const theta of starts.slice(0, 16)) {
    const { residuals, slopes } = problem.linearise(theta);
    residuals.forEach((r, i) => {
      if (Number.isFinite(r) && slopes.every((along) => Number.isFinite(along[i]))) fine[i] = 1;
    });
  }
  const bad = fine.indexOf(0);
  if (bad < 0) return;
  const where = problem.law.variables.map(({ symbol }) => `${symbol} = ${shortNumber(job.data[symbol][bad])}`).join(", ");
  throw new LabError(`Row ${job.rows ? job.rows[bad] : bad + 2}: law ${shown(problem.law.name)} has no value there (${where}).`);
}

// Intervals, and what they say of the fit.
function certainty(problem, found, spread, report) {
  const all = problem.free.map((_, i) => i);
  if (spread.freedom < 1) {
    const known = Object.fromEntries(problem.free.map((name) => [name, false]));
    return { ends: null, known, ...statusOf(problem, found.theta, spread, known),
      method: `no intervals: ${spread.observed} and ${problem.count} free parameters leave no degree of freedom` };
  }
  const ends = intervalEnds(problem, found.theta, found.value, spread, LEVEL, all, found.others, report);
  const bound = atBound(problem, found.theta);
  const known = pinnedDown(problem, spread, ends);
  for (const name of bound) known[name] = false;
  const low = Math.min(...spread.degrees);
  const high = Math.max(...spread.degrees);
  const degrees = high - low < 0.5 ? `t with ${shortNumber(high)} degree${high === 1 ? "" : "s"} of freedom`
    : `t with ${shortNumber(low)} to ${shortNumber(high)} degrees of freedom`;
  return { ends, known, ...statusOf(problem, found.theta, spread, known),
    method: `likelihood, ${100 * LEVEL} %, ${degrees}; ${spread.words}` };
}

function residualsOf(problem, theta) {
  const r = problem.residuals(theta);
  const back = (value) => (problem.onLog ? Math.exp(value) : value);
  return Array.from(r, (each, i) => ({
    observed: back(problem.observed[i]), predicted: back(problem.observed[i] + each), residual: -each,
  }));
}

function qualityOf(observed, predicted) {
  const n = observed.length;
  const mean = sumOf(observed) / n;
  const square = sumOf(predicted.map((each, i) => (each - observed[i]) ** 2));
  const spread = sumOf(observed.map((each) => (each - mean) ** 2));
  const logs = sumOf(predicted.map((each, i) => Math.log(each / observed[i]) ** 2));
  return { n, rmse_log: plainNumber(Math.sqrt(logs / n)), mse: plainNumber(square / n),
    r2: plainNumber(spread ? 1 - square / spread : NaN) };
}

function plainNumber(value) {
  return Number.isFinite(value) ? value : null;
}

// The fields of data/fit.schema.json.
function recordOf({ law, problem, found, spread, sure, params, seconds, design, job }) {
  const quality = qualityOf(Array.from(job.target), Array.from(predict(law, params, job.data)));
  const { n, ...measures } = quality;
  const free = problem.free.map((name, i) => [name, i]);
  const ends = sure.ends || [];
  const held = job.holdout;
  const record = {
    kind: "moelaws fit", law: law.name, formula: law.formula, objective: problem.objective,
    delta: problem.robust ? problem.delta : null, over: 1, n_runs: n, status: sure.status, message: sure.message, params,
    fixed: Object.keys(problem.held).sort(),
    intervals: Object.fromEntries(free.slice(0, ends.length).map(([name, i]) => [name,
      [plainNumber(problem.natural(i, ends[i].low)), plainNumber(problem.natural(i, ends[i].high))]])),
    interval_method: sure.method, interval_level: LEVEL,
    interval_ends: Object.fromEntries(free.slice(0, ends.length).map(([name, i]) => [name, ends[i].kinds])),
    identified: Object.fromEntries(law.parameters.map(({ name }) => [name, sure.known[name] ?? true])),
    objective_value: found.value, ...measures,
    holdout: held ? qualityOf(Array.from(held.target), Array.from(predict(law, params, held.data))) : null,
    starts: found.starts, starts_at_optimum: found.reached, seconds,
    positive: law.parameters.filter((each) => each.positive).map((each) => each.name),
    columns: job.columns || {}, derived: job.derived || {}, ranges: job.ranges || {},
    versions: { moelaws: VERSION, javascript: "lab" },
  };
  if (Object.keys(law.definitions).length) record.definitions = law.definitions;
  if (law.target !== "loss") record.target = law.target;
  if (design) record.design = design;
  const joint = jointOf(problem, found.theta, spread);
  if (joint) record.covariance = joint;
  return record;
}

// What noise does to all parameters together: enormous along what the runs leave open.
function jointOf(problem, theta, spread) {
  const p = problem.count;
  const { residuals, slopes } = problem.linearise(theta);
  const total = sumOf(problem.weights);
  const curvature = squaresOf(slopes, problem.weights).map((each) => each / total);
  const unit = diagonal(curvature, p).map((each) => 1 / Math.sqrt(each > 1e-280 ? each : 1));
  const { values, vectors } = eigen(inUnits(curvature, unit), p);
  const matrix = Array.from({ length: p }, (_, i) => Array.from({ length: p }, (__, j) => spread.matrix[i * p + j]));
  values.forEach((value, k) => {
    if (value > OPEN * values[p - 1]) return;
    const away = vectors[k].map((each, i) => ENDLESS * unit[i] * each);
    for (let i = 0; i < p; i++) for (let j = 0; j < p; j++) matrix[i][j] += away[i] * away[j];
  });
  const used = problem.weights.reduce((sum, weight) => sum + (weight > 0 ? 1 : 0), 0);
  const noise = Math.sqrt(residuals.reduce((sum, r, i) => sum + (problem.weights[i] > 0 ? r * r : 0), 0) / (used - p));
  if (used <= p || !Number.isFinite(noise) || !matrix.flat().every(Number.isFinite)) return null;
  return { parameters: problem.free, matrix, degrees: Math.min(...spread.degrees), noise, noise_degrees: used - p };
}
