// How far noise moves a minimum: the covariance of the coordinates, under unequal, heavy-tailed and shared noise.
// The same rules as moelaws.fitting.intervals.covariance.

const FINEST = 1e-9;
const SEVERAL = 4;
const MOST_GROUPED = 20000000;
const FEWEST_DEGREES = 3;

// Labels as 0, 1, ... without gaps, and how many there are.
function codesOf(labels) {
  const known = new Map();
  const codes = Array.from(labels, (label) => {
    if (!known.has(label)) known.set(label, known.size);
    return known.get(label);
  });
  return { codes, count: known.size };
}

// Which runs are replicates of one design point, and which share a seed's noise (null where none do).
function groupsOf(data, seeds) {
  const columns = Object.values(data);
  const design = codesOf(Array.from(columns[0], (_, i) => columns.map((column) => column[i]).join(" ")));
  if (!seeds) return { design, shared: null };
  const shared = codesOf(seeds);
  const pairs = codesOf(design.codes.map((d, i) => `${d} ${shared.codes[i]}`)).count;
  return { design, shared: shared.count < 2 || pairs === shared.count ? null : shared };
}

// Returns {matrix, loose, unit, degrees, freedom, observed, words}: unit is twice the rise of the objective when a
// coordinate is held one standard error away and all others are refitted.
function covariance(problem, theta, groups) {
  const found = problem.linearise(theta);
  const used = Array.from(problem.weights.keys()).filter((i) => problem.weights[i] > 0);
  const pick = (values) => Float64Array.from(used, (i) => values[i]);
  const weights = pick(problem.weights);
  const residuals = pick(found.residuals);
  const slopes = found.slopes.map(pick);
  const design = codesOf(used.map((i) => groups.design.codes[i]));
  let fit = linearFit(problem, residuals, slopes, weights);
  const { loose } = fit;
  const n = used.length;
  const p = theta.length;
  const designs = design.count;
  // Unequal weights leave fewer runs than there are, after Kish.
  const share = sumOf(weights) ** 2 / squares(weights) / n;
  const freedom = Math.max(share * (designs > p ? designs : n) - p, 0);
  let degrees = new Float64Array(p).fill(freedom);
  const own = share * designs >= SEVERAL * p;
  let words = own ? "unequal noise" : "equal noise";
  if (designs < n) words += ", replicates of a design point as one";
  const shared = groups.shared ? codesOf(used.map((i) => groups.shared.codes[i])) : null;
  const speak = shared !== null && shared.count * n > MOST_GROUPED;
  let moved = null;
  if (shared && shared.count > 1 && !speak) moved = sharedShift(fit, design.codes, designs, shared.codes, shared.count);
  if (moved && moved.each.some((each) => each !== 0) && fit.meanBend > (0.5 * sumOf(weights)) / n) {
    // Each design point's own noise is what is left beside the shift.
    fit = { ...fit, scores: scoresOf(problem, residuals.map((r, i) => r - moved.each[i]), weights) };
  }
  const pooled = pooledVariance(fit, design.codes, designs);
  let matrix = own ? sandwich(fit, design.codes, designs, pooled) : fit.plain.map((each) => pooled * each);
  if (moved) {
    degrees = jointDegrees(diagonal(matrix, p), degrees, diagonal(moved.matrix, p), moved.degrees);
    matrix = matrix.map((each, k) => each + moved.matrix[k]);
    words += `, a shift shared by the runs of one seed (${shared.count} of them)`;
  } else if (shared && speak) {
    const other = sandwich(fit, shared.codes, shared.count, pooledVariance(fit, shared.codes, shared.count));
    const mine = diagonal(matrix, p);
    const theirs = diagonal(other, p);
    degrees = degrees.map((each, i) => (theirs[i] > mine[i] ? Math.max(shared.count - p, 0) : each));
    const root = mine.map((each, i) => Math.sqrt(Math.max(theirs[i] / Math.max(each, 1e-300), 1)));
    matrix = matrix.map((each, k) => each * root[Math.floor(k / p)] * root[k % p]);
    words += `, ${shared.count} clusters by seed`;
  } else if (shared) words += ", but what all runs share by their one seed cannot be seen";
  const finest = (FINEST ** 2 * sumOf(weights)) / n;
  matrix = matrix.map((each, k) => each + finest * fit.plain[k]);
  const curvature = own ? fit.bread : fit.plain.map((each) => each / fit.meanBend);
  const unit = Float64Array.from({ length: p }, (_, i) => (problem.robust ? 1 : 2)
    * (loose[i] ? pooled * fit.meanBend : matrix[i * p + i] / curvature[i * p + i]));
  const observed = `${n} runs${designs < n ? ` at ${designs} design points` : ""}`;
  return { matrix, loose, unit, degrees, freedom, observed, words, p };
}

// Degrees of freedom of a sum of two estimated variances, after Satterthwaite.
function jointDegrees(one, degrees, other, otherDegrees) {
  return degrees.map((each, i) => {
    const ratio = one[i] > 0 && each > 0 ? other[i] / one[i] : 0;
    return ratio > 0 ? (1 + ratio) ** 2 / (1 / Math.max(each, 1e-9) + (ratio * ratio) / otherDegrees) : each;
  });
}

// How many standard errors an interval of this level reaches to either side.
function quantilesOf(spread, level) {
  return spread.degrees.map((each) => (each > 0 ? studentQuantile(each, 0.5 + level / 2) : Infinity));
}
