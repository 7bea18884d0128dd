// What runs pin down: parameters whose interval ends on both sides, within sensible limits; and what to call a fit.
// The same rules as moelaws.fitting.intervals.identifiability.

const FLOOR_FACTOR = Math.log(4);
const INSTEAD = -0.8;
const VANISHED = 1e-6;

// Parameter -> whether it is pinned down.
function pinnedDown(problem, spread, ends) {
  const floor = problem.free.indexOf(floorOf(problem.law));
  const width = ends.map((each) => each.high - each.low);
  const bounded = ends.map((each, i) => each.kinds.every((kind) => kind === "found") && !spread.loose[i]
    && spread.freedom >= FEWEST_DEGREES);
  const widest = sensibleWidth(problem);
  const known = bounded.map((each, i) => each && width[i] < widest[i]);
  if (floor >= 0) {
    const strict = [floor, ...substitutes(problem, spread)];
    known[floor] = known[floor] && strict.every((i) => bounded[i] && width[i] < FLOOR_FACTOR);
  }
  return Object.fromEntries(problem.free.map((name, i) => [name, known[i]]));
}

function sensibleWidth(problem) {
  return problem.free.map((name, i) => {
    const [low, high] = problem.law.parameters.find((each) => each.name === name).start;
    return problem.positive[i] ? Math.log(1e6) : 3 * (high - low);
  });
}

// Amplitudes that make up for the floor: the more of one, the less of the other.
function substitutes(problem, spread) {
  const floor = problem.free.indexOf(floorOf(problem.law));
  if (floor < 0) return [];
  const p = problem.count;
  const error = diagonal(spread.matrix, p).map((each) => Math.sqrt(Math.max(each, 1e-300)));
  return areAmplitudes(problem).flatMap((linear, j) => (linear
    && spread.matrix[floor * p + j] / error[floor] / error[j] < INSTEAD ? [j] : []));
}

// Free parameters that ended at a bound; an amplitude of zero is at none.
function atBound(problem, theta) {
  return problem.free.filter((_, i) => {
    const room = 1e-9 * (problem.upper[i] - problem.lower[i]);
    const low = theta[i] <= problem.lower[i] + room && !(problem.positive[i] && problem.lower[i] <= -BOUNDLESS);
    const high = theta[i] >= problem.upper[i] - room && !(problem.positive[i] && problem.upper[i] >= BOUNDLESS);
    return low || high;
  });
}

function statusOf(problem, theta, spread, known) {
  const bound = atBound(problem, theta);
  if (bound.length) return { status: "bound hit", message: `${bound.join(", ")} ended at a bound` };
  const loose = Object.keys(known).filter((name) => !known[name]);
  if (!loose.length) return { status: "converged", message: "an interior minimum, every parameter pinned down" };
  const status = "not identified";
  if (spread.freedom < FEWEST_DEGREES) {
    const left = spread.freedom;
    const degrees = left < 1 ? "no degree" : left < 2 ? "1 degree" : `${shortNumber(left)} degrees`;
    return { status, message: `${spread.observed} and ${problem.count} free parameters leave ${degrees} of freedom: too few`
      + " to tell the noise, so nothing is pinned down" };
  }
  const share = amplitudeShares(problem, theta);
  const gone = problem.free.filter((_, i) => share[i] < VANISHED);
  return { status, message: `the runs do not pin down ${loose.join(", ")}`
    + (gone.length ? `; nothing is left of ${gone.join(", ")}` : "") };
}

function shortNumber(value) {
  return String(Number(value.toPrecision(3)));
}
