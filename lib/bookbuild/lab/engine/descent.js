// From many starts to one minimum: a quick descent of all, a careful one of the best, a shake to make sure.

const POLISHED = 16;
const COMPARED_ENDS = 512;
const ALIKE = 1e-3;
const ROUNDS = 3;
const LANDED = 8;
const NEAR_LEAST = 3;
const LAST_LEAPS = 60;
const ENOUGH_RUNS = 2000;
const MANY_CELLS = 500000;
const FOLLOWED = 32;

// Returns {theta, value, converged, reached, starts, others}; others: other minima that it came to, or near to.
// report(done, total) is told how far the starts are.
function findMinimum(problem, starts, chance, report) {
  let best = null;
  let reached = 0;
  let total = 0;
  let theta = starts;
  const others = [];
  for (let round = 0; round < ROUNDS; round++) {
    total += theta.length;
    const down = descendAll(problem, theta, (done) => report(total - theta.length + done, total));
    const { ends, sizes } = distinct(problem, down);
    const { minima, leader } = race(problem, ends, best);
    others.push(...minima);
    const first = minima.indexOf(bestOf(minima));
    const led = leader.map((to) => to === first);
    if (!best || minima[first].value < best.value * (1 - SAME) - problem.exact) {
      best = shake(problem, minima[first], chance);
      reached = 0;
    } else leader.forEach((to, i) => { led[i] = led[i] || to === KNOWN; });
    // What the shake went out from got there too, if by a detour; and what led to it.
    const at = minima.map((each) => each.value <= best.value * (1 + SAME) + problem.exact);
    leader.forEach((to, i) => { if (led[i] || (to !== KNOWN && at[to])) reached += sizes[i]; });
    if (reached >= 2) break;
    theta = dispersed(problem, starts.length, chance);
  }
  for (let k = 0; k < LAST_LEAPS && !best.converged; k++) {
    const on = leapOn(problem, best.theta);
    const converged = on.converged || best.value - on.value <= 1e-9 * best.value;
    best = { ...(on.value <= best.value ? on : best), converged };
  }
  const low = others.filter((each) => each.value <= NEAR_LEAST * best.value + problem.exact);
  low.sort((a, b) => a.value - b.value);
  return { ...best, reached, starts: total, others: low };
}

// The first descents; on very many runs first on some of them, and the best ends on all.
function descendAll(problem, starts, report) {
  const cells = starts.length * problem.runs;
  const few = cells > MANY_CELLS
    ? problem.thinned(Math.max(8 * problem.count, Math.floor(MANY_CELLS / starts.length))) : problem;
  const ends = starts.map((theta, k) => {
    if (k % 8 === 0) report(k);
    return { ...firstDescent(few, theta), label: k };
  });
  if (few === problem) return ends;
  ends.sort((a, b) => a.value - b.value);
  return ends.map((each, k) => (k < FOLLOWED ? firstDescent(problem, each.theta) : { ...each, value: Infinity }));
}

// The best distinct ends of the first descents, and how many starts ended at each: ends are the same when they predict
// the same.
function distinct(problem, minima) {
  const order = minima.filter((each) => Number.isFinite(each.value)).sort((a, b) => a.value - b.value)
    .slice(0, COMPARED_ENDS);
  if (!order.length) {
    throw new LabError(`None of ${minima.length} starts has a finite objective under law ${shown(problem.law.name)}. `
      + "Are the columns in the units of the law?");
  }
  const few = problem.thinned(COMPARED_RUNS);
  const kept = [];
  for (const { theta } of order) {
    const here = Float64Array.from(few.residuals(theta));
    const near = ALIKE * squares(here);
    let closest = null;
    for (const each of kept) {
      const apart = squares(here, each.here);
      if (apart <= near && (!closest || apart < closest.apart)) closest = { each, apart };
    }
    if (closest) closest.each.size += 1;
    else if (kept.length < POLISHED) kept.push({ theta, here, size: 1 });
  }
  return { ends: kept.map((each) => each.theta), sizes: kept.map((each) => each.size) };
}

// Restart from around a minimum until nothing better is found: some along the valley, some leaping in one exponent.
function shake(problem, from, chance) {
  let best = from;
  const few = problem.thinned(ENOUGH_RUNS);
  for (let round = 0; round < ROUNDS; round++) {
    const valley = valleyOf(problem, best.theta);
    const p = problem.count;
    const near = [1, 3, 10].flatMap((size) => [0, 1, 2, 3].map(() => {
      const drawn = Array.from({ length: p }, () => chance.normal());
      return problem.clipped(best.theta.map((each, i) => each
        + size * drawn.reduce((sum, z, k) => sum + valley[i * p + k] * z, 0)));
    })).map((theta, k) => (k % 2 ? theta : withAmplitudes(problem, theta, chance)));
    const down = near.map((theta) => firstDescent(few, theta, 30).theta);
    const leapt = leaps(problem, best.theta, chance).map((theta) => firstDescent(few, theta, 30));
    let landed = [];
    if (leapt.some((each) => Number.isFinite(each.value))) landed = distinct(problem, leapt).ends.slice(0, LANDED);
    const again = bestOf(race(problem, [...down, ...landed], best).minima);
    if (!(again.value < best.value * (1 - SAME))) return again.value < best.value && again.converged ? again : best;
    best = again;
  }
  return best;
}

// Square root of the inverse curvature, scaled by the residuals' spread; open directions are cut off.
function valleyOf(problem, theta) {
  const p = problem.count;
  const { residuals, slopes } = problem.linearise(theta);
  const curvature = new Float64Array(p * p);
  addSquares(curvature, p, slopes, slopes.map((_, i) => i), new Float64Array(problem.runs).fill(1));
  const unit = unitsOf(curvature, p);
  const { values, vectors } = eigen(inUnits(curvature, unit), p);
  const noise = squares(residuals) / problem.runs;
  const made = new Float64Array(p * p);
  values.forEach((value, k) => {
    const spread = Math.sqrt(noise / Math.max(value, 1e-9 * values[p - 1], 1e-300));
    for (let i = 0; i < p; i++) {
      const reach = 0.3 * (problem.upper[i] - problem.lower[i]);
      made[i * p + k] = Math.max(-reach, Math.min(reach, unit[i] * vectors[k][i] * spread));
    }
  });
  return made;
}
