// The sandwich of a fit: its curvature, and what each design point, group and shared shift does to it.
// The same formulas as moelaws.fitting.intervals.sandwich, where they are explained.

const LEVER = 0.5;
const WHOLE = 0.98;
const KERNEL = 0.75;
const SD_PER_MAD = 1.4826;

// The fit, made linear at its minimum. Half of the slopes counts for squares, whose terms are r^2.
function linearFit(problem, r, slopes, weights) {
  const p = slopes.length;
  const half = problem.robust ? 1 : 0.5;
  const bends = problem.robust ? expectedBends(problem, r).map((each, i) => each * weights[i])
    : weights.map((each) => half * 2 * each);
  const { inverse: plain, loose } = heldInverse(squaresOf(slopes, weights), p);
  const { inverse: bread } = heldInverse(squaresOf(slopes, bends), p);
  return { slopes, weights, bends, plain, bread, loose, p, scores: scoresOf(problem, r, weights),
    meanBend: meanBend(r, bends, weights, p, problem.robust) };
}

function scoresOf(problem, r, weights) {
  return r.map((each, i) => (problem.robust ? 1 : 0.5) * problem.slope(each, weights[i]));
}

function squaresOf(slopes, weights) {
  const p = slopes.length;
  const made = new Float64Array(p * p);
  addSquares(made, p, slopes, slopes.map((_, i) => i), weights);
  return made;
}

function sumOf(values) {
  let sum = 0;
  for (const each of values) sum += each;
  return sum;
}

function meanBend(r, bends, weights, p, robust) {
  if (!robust || r.length <= p) return sumOf(bends) / sumOf(weights);
  // A robust fit passes through about as many runs as it has parameters; their residuals of zero tell nothing.
  const rest = Array.from(r.keys()).sort((i, j) => Math.abs(r[i]) - Math.abs(r[j])).slice(p);
  return Math.max(sumOf(rest.map((i) => bends[i])) / sumOf(rest.map((i) => weights[i])), 1e-12);
}

// Expected curvature of a Huber term where each residual is, were it moved by a share of the noise.
function expectedBends(problem, r) {
  const sorted = r.map(Math.abs).sort();
  const rest = sorted.slice(Math.min(problem.count, r.length - 1));
  const width = Math.max(KERNEL * SD_PER_MAD * median(rest) * r.length ** -0.2, 1e-3 * problem.delta);
  return r.map((each) => normalShare((problem.delta - each) / width) - normalShare((-problem.delta - each) / width));
}

function pooledVariance(fit, design, designs) {
  const n = fit.weights.length;
  let square = sumOf(fit.scores.map((s, i) => (s * s) / fit.weights[i])) / Math.max(n - fit.p, 1);
  if (fit.p < designs && designs < n) {
    const sums = new Float64Array(designs);
    const weights = new Float64Array(designs);
    design.forEach((d, i) => {
      sums[d] += fit.scores[i];
      weights[d] += fit.weights[i];
    });
    square = Math.max(square, sumOf(sums.map((s, d) => (s * s) / weights[d])) / (designs - fit.p));
  }
  return square / fit.meanBend ** 2;
}

// Covariance from each group's own residuals, as the jackknife over groups would have it.
function sandwich(fit, group, groups, pooled) {
  const { p } = fit;
  const members = Array.from({ length: groups }, () => []);
  group.forEach((g, i) => members[g].push(i));
  const meat = new Float64Array(p * p);
  for (const runs of members) {
    const score = new Float64Array(p);
    const weight = new Float64Array(p * p);
    for (const i of runs) {
      for (let a = 0; a < p; a++) {
        score[a] += fit.slopes[a][i] * fit.scores[i];
        for (let b = 0; b < p; b++) weight[a * p + b] += fit.slopes[a][i] * fit.slopes[b][i] * fit.weights[i];
      }
    }
    const lever = matrixProduct(weight, fit.plain, p);
    const shrunk = lever.map((each, k) => (k % (p + 1) === 0 ? 1 : 0) - WHOLE * each);
    const moved = solve(shrunk, score);
    for (let a = 0; a < p; a++) for (let b = 0; b < p; b++) meat[a * p + b] += moved[a] * moved[b];
    if (sumOf(diagonal(lever, p)) > LEVER) weight.forEach((each, k) => { meat[k] += pooled * fit.meanBend ** 2 * each; });
  }
  return matrixProduct(matrixProduct(fit.bread, meat, p), fit.bread, p);
}

// The shift of ln L (or L) that the runs of one group share, by the moments of the groups' summed residuals.
function sharedShift(fit, design, designs, shared, groups) {
  const { p, slopes, weights, plain } = fit;
  const n = weights.length;
  const pull = Array.from({ length: p }, (_, a) => {
    const row = new Float64Array(groups);
    for (let i = 0; i < n; i++) row[shared[i]] += slopes[a][i] * weights[i];
    return row;
  });
  const moved = Array.from({ length: p }, (_, a) => Float64Array.from({ length: groups }, (__, g) => {
    let sum = 0;
    for (let b = 0; b < p; b++) sum += plain[a * p + b] * pull[b][g];
    return sum;
  }));
  // What is left of the groups' sums when the fit has taken its part, one row of groups a run.
  const left = Array.from({ length: n }, (_, i) => Float64Array.from({ length: groups }, (__, g) => {
    let sum = g === shared[i] ? weights[i] : 0;
    for (let a = 0; a < p; a++) sum -= slopes[a][i] * weights[i] * moved[a][g];
    return sum;
  }));
  const residual = fit.scores.map((s, i) => s / weights[i] / fit.meanBend);
  const shows = summedRows(left, shared, groups, null);
  const cells = codesOf(design.map((d, i) => d * groups + shared[i]));
  const between = sumOf(columnSums(summedRows(left, shared.map(() => 0), 1, residual)).map((s) => s * s));
  const within = squaresIn(summedRows(left, design, designs, residual));
  const gain = squaresIn(shows) - squaresIn(summedRows(left, cells.codes, cells.count, null));
  const variance = gain > 0 ? Math.max(between - within, 0) / gain : 0;
  const { first, second } = momentsOf(shows);
  const weight = new Float64Array(groups);
  const pulled = new Float64Array(groups);
  shared.forEach((g, i) => {
    weight[g] += weights[i];
    pulled[g] += weights[i] * residual[i];
  });
  const noise = Math.max(sumOf(residual.map((r, i) => weights[i] * r * r)) / n - variance, 0);
  const each = pulled.map((sum, g) => (variance > 0 ? (variance / (variance + noise / weight[g])) * (sum / weight[g]) : 0));
  const matrix = new Float64Array(p * p);
  for (let a = 0; a < p; a++) {
    for (let b = 0; b < p; b++) matrix[a * p + b] = variance * sumOf(moved[a].map((x, g) => x * moved[b][g]));
  }
  return { matrix, degrees: Math.max(first > 0 ? (first * first) / second : 1, 1),
    each: Float64Array.from(shared, (g) => each[g]) };
}

// Sums of rows over the values of a code, each row times a factor.
function summedRows(rows, code, count, factors) {
  const made = Array.from({ length: count }, () => new Float64Array(rows[0].length));
  rows.forEach((row, i) => row.forEach((value, k) => { made[code[i]][k] += value * (factors ? factors[i] : 1); }));
  return made;
}

function columnSums(rows) {
  return rows[0].map((_, k) => sumOf(rows.map((row) => row[k])));
}

function squaresIn(rows) {
  return sumOf(rows.map((row) => squares(row)));
}

// Sums of the second and of the fourth powers of the eigenvalues of a matrix made symmetric, without finding them.
function momentsOf(matrix) {
  const g = matrix.length;
  const symmetric = matrix.map((row, i) => row.map((each, j) => 0.5 * (each + matrix[j][i])));
  const first = squaresIn(symmetric);
  let second = 0;
  for (let i = 0; i < g; i++) {
    for (let j = 0; j < g; j++) {
      let sum = 0;
      for (let k = 0; k < g; k++) sum += symmetric[i][k] * symmetric[k][j];
      second += sum * sum;
    }
  }
  return { first, second };
}
