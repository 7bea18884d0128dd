// Where a fit starts: shapes dispersed over each law's range and beyond it, amplitudes solved for.

const MOST_AMPLITUDES = 6;
const ENOUGH_TO_START = 1000;
const STEEP = [-8, -4, -2, -1, -0.3, 0.3, 1, 2, 4, 8];
const FAINT = 0.02;
const VISIBLE = 0.1;
const DRAWN_BEYOND = 12;

function startsFor(count) {
  return count <= 5 ? 64 : count <= 8 ? 192 : 384;
}

// Exponents and scales are a Latin hypercube over the ranges that the law names; every third start looks further, and of
// these only the best of each pattern of signs are kept, so that every pattern is tried.
function dispersed(problem, count, chance) {
  const few = problem.thinned(ENOUGH_TO_START);
  const beyond = Math.floor(count / 3);
  const near = hypercube(few, count - beyond, chance, 1).map((theta) => withAmplitudes(few, theta, chance));
  if (!beyond) return near;
  const far = hypercube(few, DRAWN_BEYOND * beyond, chance, 3).map((start) => {
    const theta = withAmplitudes(few, start, chance);
    const pattern = Array.from(theta, (each, i) => (few.positive[i] ? "" : each > 0 ? "+" : "-")).join("");
    return { theta, pattern, value: few.value(theta) };
  });
  far.sort((a, b) => a.value - b.value || 0);
  const ranks = {};
  for (const each of far) each.rank = ranks[each.pattern] = (ranks[each.pattern] ?? -1) + 1;
  far.sort((a, b) => a.rank - b.rank || a.value - b.value || 0);
  return [...near, ...far.slice(0, beyond).map((each) => each.theta)];
}

function hypercube(problem, count, chance, widen) {
  const columns = problem.free.map((name, i) => {
    const { start } = problem.law.parameters.find((each) => each.name === name);
    let [low, high] = problem.positive[i] ? start.map(Math.log) : start;
    const margin = 0.5 * (widen - 1) * (high - low);
    low = Math.max(low - margin, problem.lower[i]);
    high = Math.min(high + margin, problem.upper[i]);
    return chance.shuffled(count).map((place) => low + ((high - low) * (place + chance.uniform())) / count);
  });
  return Array.from({ length: count }, (_, k) => problem.clipped(columns.map((column) => column[k])));
}

// Starts that differ from a point in one coordinate, by as much as its bounds allow; amplitudes are solved anew.
function leaps(problem, theta, chance) {
  const starts = leapt(problem, theta);
  return starts.length ? starts.map((start) => withAmplitudes(problem, start, chance)) : [theta];
}

function leapt(problem, theta) {
  const linear = areAmplitudes(problem);
  const starts = [];
  theta.forEach((here, i) => {
    if (linear[i]) return;
    for (const value of problem.positive[i] ? [-5, -2, 2, 5].map((far) => here + far) : STEEP) {
      const start = Float64Array.from(theta);
      start[i] = value;
      starts.push(problem.clipped(start));
    }
  });
  return starts;
}

// Starts with one coordinate held where a point holds it: so many leaps of an exponent from that point, and two thirds of the
// count drawn: from the law's ranges, or between, each coordinate the point's or drawn, for a held amplitude is of use only
// together with its own exponent. Amplitudes but a held one are solved for.
function heldStarts(problem, i, about, count, leaping, chance) {
  const third = Math.floor(count / 3);
  const out = leapt(problem, about);
  const leaps = chance.shuffled(out.length).slice(0, leaping).map((k) => out[k]);
  const drawn = hypercube(problem, 2 * third, chance, 1);
  const between = drawn.slice(third).map((start) => start.map((each, k) => (chance.uniform() < 0.5 ? about[k] : each)));
  return [...leaps, ...drawn.slice(0, third), ...between].map((start) => {
    start[i] = about[i];
    return withAmplitudes(problem, start, chance, i);
  });
}

function areAmplitudes(problem) {
  const linear = amplitudesOf(problem.law.tree, problem.law.variables.map((each) => each.symbol));
  return problem.free.map((name, i) => linear.has(name) && problem.positive[i]);
}

// The start with those amplitudes that fit best, given its other coordinates, and a random share mixed in. but: a coordinate
// that stays, amplitude or not.
function withAmplitudes(whole, theta, chance, but = -1) {
  const problem = whole.thinned(ENOUGH_TO_START);
  const which = areAmplitudes(problem).flatMap((linear, i) => (linear && i !== but ? [i] : []));
  if (!which.length || which.length > MOST_AMPLITUDES) return theta;
  const n = problem.runs;
  const bare = Float64Array.from(theta);
  which.forEach((i) => { bare[i] = 0; });
  // Its own value, not its log: on this the prediction depends linearly.
  problem.plain = problem.plain || new Expander(
    problem.onLog ? assemble(problem.law, problem.data, problem.free, problem.positive, problem.held, false) : problem.program, n);
  const { value, slopes, support } = problem.plain.expand(bare);
  const loss = problem.losses = problem.losses || problem.observed.map((each) => (problem.onLog ? Math.exp(each) : each));
  const signed = loss.some((each) => each <= 0);
  const spread = Math.max(Math.sqrt(loss.reduce((a, b) => a + b * b, 0) / n), 1e-300);
  const unit = (k) => (signed ? spread : loss[k]);
  const found = which.map((i) => slopes[support.indexOf(i)]);
  const size = found.map((column) => column.reduce((a, b) => a + b, 0) / n);
  // Relative residuals, and columns of mean one: the unknowns are then shares of the loss.
  const columns = found.map((column, c) => column.map((each, k) => bounded(each / size[c] / unit(k))));
  const goal = loss.map((each, k) => {
    let rest = value[value.length === 1 ? 0 : k];
    for (const column of found) rest -= column[k];
    return bounded((each - rest) / unit(k));
  });
  const shares = nonNegative(columns, goal);
  let logs = 0;
  for (let k = 0; k < n; k++) logs += Math.log(unit(k)) / n;
  const scale = Math.exp(logs);
  const random = chance.shares(which.length);
  const start = Float64Array.from(theta);
  which.forEach((i, c) => {
    const mixed = Math.max(0.95 * shares[c] + 0.05 * random[c] * scale, 1e-4 * scale);
    const log = Math.log(mixed) - Math.log(size[c]);
    start[i] = Number.isNaN(log) ? 0 : Math.max(-200, Math.min(200, log));
  });
  return problem.clipped(start);
}

function bounded(number) {
  return Number.isNaN(number) ? 0 : Math.max(-1e100, Math.min(1e100, number));
}

// Least squares with non-negative weights, by trying every set of weights that are not zero: at most 64.
function nonNegative(columns, goal) {
  const k = columns.length;
  const gram = columns.map((a) => columns.map((b) => dot(a, b)));
  const right = columns.map((a) => dot(a, goal));
  const trace = gram.reduce((sum, row, i) => sum + row[i], 0);
  gram.forEach((row, i) => { row[i] += 1e-10 * trace + 1e-300; });
  let best = new Float64Array(k);
  let most = 0;
  for (let set = 1; set < 2 ** k; set++) {
    const keep = Array.from({ length: k }, (_, i) => i).filter((i) => set & (1 << i));
    const inner = solve(keep.flatMap((i) => keep.map((j) => gram[i][j])), Float64Array.from(keep, (i) => right[i]));
    const gain = keep.reduce((sum, i, at) => sum + inner[at] * right[i], 0);
    if (inner.every((each) => each >= 0) && gain > most) {
      most = gain;
      best = new Float64Array(k);
      keep.forEach((i, at) => { best[i] = inner[at]; });
    }
  }
  return best;
}

// A point with its faint terms made visible: a term that a fit took to zero has no slope to come back by.
function revived(whole, theta) {
  const problem = whole.thinned(ENOUGH_TO_START);
  const linear = areAmplitudes(problem);
  const { residuals, slopes } = problem.linearise(theta);
  let size = 1;
  if (!problem.onLog) size = residuals.reduce((sum, r, i) => sum + Math.abs(r + problem.observed[i]), 0) / problem.runs;
  return whole.clipped(theta.map((each, i) => {
    const share = slopes[i].reduce((sum, s) => sum + Math.abs(s), 0) / problem.runs / size || 0;
    if (!linear[i] || share >= FAINT) return each;
    return each + Math.log(VISIBLE) - Math.log(Math.max(share, 1e-300));
  }));
}
