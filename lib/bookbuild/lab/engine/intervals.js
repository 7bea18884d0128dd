// Likelihood intervals: how far each parameter can go before the objective, all others refitted, rises too much.
// The default method of moelaws fit (moelaws.fitting.intervals.likelihood).

const TRIALS = 60;
const CHECKS = 4;
const NEIGHBOURS = 3;
const MANY_RUNS = 5000;
const SEEN = 0.02;
const BOUNDLESS = 200;

// Ends of the intervals of some coordinates: [{low, high, kinds}], in their order.
function intervalEnds(problem, theta, least, spread, level, which, report) {
  const valley = valleyAround(problem, theta, least, spread, level);
  const walks = [-1, 1].flatMap((sign) => which.map((i) => newWalk(valley, i, sign)));
  let unknown = walkOn(valley, walks, false, report);
  for (let check = 0; check < (problem.runs <= MANY_RUNS ? CHECKS : 0); check++) {
    // By now other walks may have found lower ground: an end from which the objective no longer rises so far is none.
    let again = false;
    for (const walk of walks.filter((each) => Number.isFinite(each.end))) {
      const { rise, at } = riseAt(valley, walks, walk, walk.end, true);
      if (rise < 1 - 4 * CLOSE) {
        reopen(walk, rise, at);
        again = true;
      }
    }
    if (!again) break;
    unknown = walkOn(valley, walks, true, report);
  }
  return which.map((_, k) => {
    const [low, high] = [walks[k], walks[k + which.length]].map((walk) => {
      const edge = Math.abs(walk.edge) >= BOUNDLESS ? walk.sign * Infinity : walk.edge;
      const found = Number.isFinite(walk.end);
      return { end: found ? walk.end : edge, kind: unknown.has(walk) ? "unknown" : found ? "found"
        : Number.isFinite(edge) ? "bound" : "open" };
    });
    return { low: low.end, high: high.end, kinds: [low.kind, high.kind] };
  });
}

function valleyAround(problem, theta, least, spread, level) {
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
  return { problem, theta, least, limit, step, follow, faint: faintOf(problem, theta) };
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

// Walk on until every walk has its end; returns those that have none after all trials.
function walkOn(valley, walks, thorough, report) {
  const close = valley.problem.runs <= MANY_RUNS ? CLOSE : 4 * CLOSE;
  for (let trial = 0; trial < TRIALS; trial++) {
    const going = walks.filter((each) => Number.isNaN(each.end));
    if (!going.length) break;
    report(walks.length - going.length, walks.length);
    const looked = going.map((walk) => {
      const place = trialOf(walk);
      return { walk, place, ...riseAt(valley, walks, walk, place, thorough) };
    });
    for (const { walk, place, rise, at } of looked) noteTrial(walk, place, rise, at, close);
  }
  return new Set(walks.filter((each) => Number.isNaN(each.end)));
}

// Rise of the objective in units of its limit with the walk's coordinate held at a place, and where. A refit starts where
// its walk stands and ahead of it along the valley; a thorough one also with faint terms made visible, and from the points
// of other walks that come nearest, which may have found a way around.
function riseAt(valley, walks, walk, place, thorough) {
  const { problem, theta, follow } = valley;
  const { i, at: here } = walk;
  const ahead = (from, far) => from.map((each, k) => each + far * follow[i][k]);
  const starts = [ahead(here, place - walk.inside)];
  if (problem.runs <= MANY_RUNS) starts.push(here);
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
  return { rise: Math.max((2 * (best.value - valley.least)) / valley.limit[i], 0), at: best.theta };
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
