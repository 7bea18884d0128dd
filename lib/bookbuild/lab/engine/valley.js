// The surroundings of a minimum: how far the objective rises when one coordinate is held and all others refitted.

const MANY_RUNS = 5000;
const NEIGHBOURS = 3;
const OTHER_VALLEYS = 4;
const VALLEYS_APART = 1e-3;
const SEEN = 0.02;
const BOUNDLESS = 200;

// minima: other minima that the search came to.
function valleyAround(problem, theta, least, spread, level, minima) {
  const p = theta.length;
  const variance = diagonal(spread.matrix, p);
  const known = variance.map((each, i) => (!spread.loose[i] && each > 0 ? 1 : 0));
  const quantiles = quantilesOf(spread, level);
  const step = variance.map((each, i) => {
    const size = known[i] ? quantiles[i] * Math.sqrt(each) : 0.5;
    return Math.min(Math.max(size, 1e-8), 0.1 * (problem.upper[i] - problem.lower[i]));
  });
  // How far the other coordinates go along when one goes by one, as their covariance says.
  const follow = Array.from({ length: p }, (_, i) => Float64Array.from({ length: p }, (__, j) => {
    if (i === j) return 1;
    return known[i] ? spread.matrix[j * p + i] / variance[i] : 0;
  }));
  const limit = spread.unit.map((unit, i) => Math.max(unit * quantiles[i] ** 2, problem.exact));
  const most = Math.max(...limit);
  const under = minima.filter((each) => 2 * (each.value - least) < most).map((each) => each.theta);
  return { problem, theta, least, limit, step, follow, faint: faintOf(problem, theta), others: apart(problem, theta, under) };
}

// The first minima that predict something else than the least one and those before them.
function apart(problem, theta, minima) {
  const few = problem.thinned(COMPARED_RUNS);
  const seen = [Float64Array.from(few.residuals(theta))];
  const near = VALLEYS_APART * squares(seen[0]) + problem.exact;
  return minima.filter((each) => {
    if (seen.length > OTHER_VALLEYS) return false;
    const here = Float64Array.from(few.residuals(each));
    if (!seen.every((known) => squares(here, known) > near)) return false;
    seen.push(here);
    return true;
  });
}

// The valley with the floors of the lowest others among those known and these points.
function withOthers(valley, points) {
  const low = points.map(({ value, theta }) => ({ theta, rise: Math.min(...risesOf(valley, value)) }))
    .filter((each) => each.rise < 1).sort((a, b) => a.rise - b.rise).map((each) => each.theta);
  return { ...valley, others: apart(valley.problem, valley.theta, [...valley.others, ...low]) };
}

// An objective as rises in units of the limit of each coordinate's interval.
function risesOf(valley, value) {
  return valley.limit.map((limit) => Math.max((2 * (value - valley.least)) / limit, 0));
}

// Mean share of the prediction that each amplitude's term has; NaN for what is no amplitude.
function amplitudeShares(problem, theta) {
  const { residuals, slopes } = problem.linearise(theta);
  const linear = areAmplitudes(problem);
  let size = 1;
  if (!problem.onLog) size = residuals.reduce((sum, r, i) => sum + Math.abs(r + problem.observed[i]), 0) / problem.runs;
  return slopes.map((along, i) => (linear[i] ? sumOf(along.map(Math.abs)) / problem.runs / Math.max(size, 1e-300) : NaN));
}

// Where amplitudes fade: of the floor, and of terms that the fit took out of sight.
function faintOf(problem, theta) {
  const floor = floorOf(problem.law);
  return amplitudeShares(problem, theta).map((share, i) => (share > 0 && (share < SEEN || problem.free[i] === floor)
    ? theta[i] + Math.log(SEEN) - Math.log(share) : -Infinity));
}

// Rise of the objective in units of its limit with the walk's coordinate held at a place, and where. A refit starts where
// its walk stands, ahead of it along the valley, and on the floors of other valleys; a thorough one also with faint terms
// made visible, and from the points of other walks that come nearest, which may have found a way around.
function riseAt(valley, walks, walk, place, thorough) {
  const { problem, theta, follow } = valley;
  const { i, at: here } = walk;
  const ahead = (from, far) => from.map((each, k) => each + far * follow[i][k]);
  const starts = [ahead(here, place - walk.inside)];
  if (problem.runs <= MANY_RUNS) starts.push(here, ...valley.others);
  if (thorough) {
    starts.push(ahead(theta, place - theta[i]), revived(problem, here));
    const near = [...walks].sort((a, b) => Math.abs(a.at[i] - place) - Math.abs(b.at[i] - place));
    starts.push(...near.slice(0, NEIGHBOURS).map((each) => each.at));
  }
  const held = starts.map((start) => {
    const set = Float64Array.from(start);
    set[i] = place;
    return set;
  });
  const best = refitHeld(problem, held, i);
  return { rise: risesOf(valley, best.value)[i], value: best.value, at: best.theta };
}

// The least refit with one coordinate held, from several starts.
function refitHeld(problem, starts, held) {
  if (problem.runs > MANY_RUNS) return minimise(problem, starts[0], { steps: 30, tolerance: 1e-7, hessian: "slopes", held });
  const near = starts.map((start) => {
    const first = minimise(problem, start, { steps: 20, tolerance: 1e-6, held });
    return minimise(problem, first.theta, { steps: 25, tolerance: 1e-8, hessian: "slopes", held });
  });
  return minimise(problem, bestOf(near).theta, { steps: 30, tolerance: 1e-9, hessian: "slopes", held });
}
