// What the runs of a table can tell of a law, whatever their losses: said with a fit's result.
// The same question as moelaws.fitting.foresight asks.

const SUPPOSED_NOISE = 1e-3;
const LIKELY = 16;

// A sentence; empty where the runs may well pin every parameter down.
function foreseen(problem, job) {
  const few = problem.thinned(ENOUGH_RUNS);
  const near = dispersed(few, 64, new Chance(0)).map((theta) => ({ theta, value: few.value(theta) }))
    .sort((a, b) => a.value - b.value || 0).slice(0, LIKELY).map((each) => each.theta);
  const likely = [...near, ...near.map((theta) => firstDescent(few, theta, 8).theta)];
  const open = openOnes(few, likely);
  if (!open.length) return "";
  const points = codesOf(Array.from(problem.observed, (_, i) => Object.values(job.data).map((c) => c[i]).join(" "))).count;
  const counts = Object.entries(job.data).map(([letter, values]) => [new Set(values).size, letter]).sort((a, b) => a[0] - b[0]);
  let why = "";
  if (points < problem.count) why = `: they lie at ${points} design points, for ${problem.count} free parameters`;
  else if (counts[0][0] <= 4) why = `: column '${(job.columns || {})[counts[0][1]] || counts[0][1]}' has ${counts[0][0]} values`;
  return `law '${problem.law.name}': ${problem.runs} runs of this design can hardly pin down ${open.join(", ")}, even if`
    + ` their losses were known to .1 %${why}`;
}

// Parameters that stay wider than sensible at all likely coefficients.
function openOnes(problem, likely) {
  const p = problem.count;
  const width = sensibleWidth(problem);
  const noise = problem.onLog ? SUPPOSED_NOISE
    : (SUPPOSED_NOISE * sumOf(problem.observed.map(Math.abs))) / problem.runs;
  const always = problem.free.map(() => true);
  for (const theta of likely) {
    const { residuals, slopes } = problem.linearise(theta);
    if (![residuals, ...slopes].every((each) => each.every(Number.isFinite))) continue;
    const curvature = squaresOf(slopes, problem.weights.map((each) => (each > 0 ? 1 : 0)));
    const unit = unitsOf(curvature, p);
    const { values, vectors } = eigen(inUnits(curvature, unit), p);
    for (let i = 0; i < p; i++) {
      let variance = 0;
      let loose = false;
      values.forEach((value, k) => {
        if (value > OPEN * values[p - 1]) variance += vectors[k][i] ** 2 / value;
        else loose = loose || Math.abs(vectors[k][i]) > 1e-3;
      });
      const error = noise * unit[i] * Math.sqrt(variance);
      always[i] = always[i] && (loose || !(2 * 1.96 * error < width[i]));
    }
  }
  return problem.free.filter((_, i) => always[i]);
}
