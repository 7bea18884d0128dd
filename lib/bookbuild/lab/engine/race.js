// The last part of a search: a few ends of descents go to the bottom, as long as they may yet be the best.
// Where the runs leave a combination of parameters open, the bottom is a long curved valley in which Newton's method
// makes small steps: the best few leap ahead along their path, land, and go on from the best landing.

const SAME = 1e-6;
const COMPARED_RUNS = 1000;
const HOPELESS = 3;
const STRIDE = 12;
const WALKED = 5;
const LEAPT = 12;
const LEAPERS = 4;
const LEAPS = [0, 3, 10, 30, 100, 300];
const PATIENCE = 10;
const LEAP_PATIENCE = 3;
const SAME_END = 1e-5;
const KNOWN = -1;

// Follow starts to the bottom with exact second derivatives; beat: a minimum that is known already, or null.
// Returns minima in the order of the starts, and for each the index of the end that it was found to lead to.
function race(problem, starts, beat) {
  const gone = problem.robust
    ? starts.map((theta) => minimise(problem, theta, { steps: 25, tolerance: 1e-6 }).theta) : starts;
  const minima = gone.map((theta) => minimise(problem, theta, { steps: STRIDE, tolerance: 1e-12, hessian: "exact" }));
  const reach = minima.map(() => Infinity);
  const leader = minima.map((_, i) => i);
  for (let number = 0; number < WALKED + LEAPT; number++) {
    const leaping = number >= WALKED;
    const moving = inTheRace(problem, minima, reach, leader, beat).slice(0, leaping ? LEAPERS : undefined);
    if (!moving.length) break;
    for (const i of moving) {
      const before = minima[i].value;
      const on = leaping ? leapOn(problem, minima[i].theta)
        : minimise(problem, minima[i].theta, { steps: STRIDE, tolerance: 1e-12, hessian: "exact" });
      const gain = before - on.value;
      if (leaping && gain <= 1e-9 * before) on.converged = true;
      minima[i] = on;
      reach[i] = gain * (leaping ? LEAP_PATIENCE : PATIENCE);
    }
  }
  for (let k = 0; k < leader.length; k++) {
    leader.forEach((to, i) => { if (to !== KNOWN) leader[i] = leader[to]; });
  }
  return { minima, leader };
}

function leapOn(problem, theta) {
  const ahead = minimise(problem, theta, { steps: 20, tolerance: 1e-12, hessian: "exact" });
  let landed = LEAPS.map((far) => ahead.theta.map((each, i) => each + (each - theta[i]) * far));
  for (const [steps, kept] of [[8, 2], [17, 1]]) {
    const ends = landed.map((each) => minimise(problem, each, { steps, tolerance: 1e-12, hessian: "exact" }));
    ends.sort((a, b) => a.value - b.value);
    if (kept === 1) return ends[0];
    landed = ends.slice(0, kept).map((each) => each.theta);
  }
  return ahead;
}

// Which ends still move and may yet be the best, the best ones first; notes who leads to whom.
function inTheRace(problem, minima, reach, leader, beat) {
  const least = Math.min(...minima.map((each) => each.value));
  const lead = beat ? Math.min(least, beat.value) : least;
  const moving = minima.map((_, i) => i).filter((i) => {
    const { value, converged } = minima[i];
    const gap = value - lead;
    const far = gap > Math.min(reach[i], (HOPELESS - 1) * lead) + problem.exact;
    const there = gap <= SAME * lead && reach[i] <= PATIENCE * SAME * lead && value > lead;
    return leader[i] === i && !converged && Number.isFinite(value) && !far && !there;
  });
  moving.sort((i, j) => minima[i].value - minima[j].value);
  if (moving.length + (beat ? 1 : 0) < 2) return moving;
  const few = problem.thinned(COMPARED_RUNS);
  const known = beat ? Float64Array.from(few.residuals(beat.theta)) : null;
  const kept = [];
  for (const i of moving) {
    const here = Float64Array.from(few.residuals(minima[i].theta));
    const near = SAME_END * squares(here);
    // What predicts the same as a better one is on its way to where that one goes.
    const to = kept.find((each) => squares(here, each.here) <= near);
    if (to) leader[i] = to.i;
    else if (beat && minima[i].value > beat.value && squares(here, known) <= near) leader[i] = KNOWN;
    else kept.push({ i, here });
  }
  return kept.map((each) => each.i);
}

// Sum of squares of an array, or of its difference from another.
function squares(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (b ? a[i] - b[i] : a[i]) ** 2;
  return sum;
}
