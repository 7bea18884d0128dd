// Damped Newton steps from one start: Levenberg-Marquardt far out, exact second derivatives near the end.

// options: {steps, tolerance, hessian, brake, held (one coordinate that stays)}.
// Returns {theta, value, converged}: a start has converged when the next step promises less than the tolerance's share.
function minimise(problem, start, options) {
  const { steps = 100, tolerance = 1e-10, hessian = "majorant", brake = 4, held = -1 } = options || {};
  let at = problem.clipped(start);
  let model = problem.model(at, hessian);
  let damping = 1e-2;
  let done = false;
  for (let number = 0; number < steps && !done; number++) {
    const pinned = Array.from(at, (each, i) => i === held || (each <= problem.lower[i] && model.gradient[i] > 0)
      || (each >= problem.upper[i] && model.gradient[i] < 0));
    const { move, promise } = newtonStep(model, damping, pinned);
    const trial = problem.clipped(at.map((each, i) => each + move[i]));
    const next = problem.model(trial, hessian);
    const gain = model.value - next.value;
    const little = tolerance * model.value;
    const better = gain > 0;
    done = (Math.abs(promise) <= little && gain <= little) || !Number.isFinite(model.value);
    const helped = better && gain > 0.25 * promise;
    damping *= helped ? (gain > 0.75 * promise ? 0.1 : 1) : brake;
    damping = Math.min(Math.max(damping, 1e-12), 1e15);
    done = done || damping >= 1e14;
    if (better) {
      at = trial;
      model = next;
    }
  }
  return { theta: at, value: model.value, converged: done && Number.isFinite(model.value) };
}

// The step, and how much the model says it gains. Parameters differ by orders of magnitude in effect: the step is worked
// out in units in which the majorant's diagonal is one.
function newtonStep({ gradient, hessian, metric }, damping, pinned) {
  const p = gradient.length;
  const most = metric.reduce((a, b) => Math.max(a, b), 0);
  const unit = metric.map((each) => 1 / Math.sqrt(Math.max(each, 1e-30 * most + 1e-300)));
  const pull = gradient.map((each, i) => (pinned[i] ? 0 : each * unit[i]));
  const shifted = new Float64Array(p * p);
  for (let i = 0; i < p; i++) {
    for (let j = 0; j < p; j++) {
      if (!pinned[i] && !pinned[j]) shifted[i * p + j] = hessian[i * p + j] * unit[i] * unit[j];
    }
    shifted[i * p + i] += damping + (pinned[i] ? 1 : 0);
  }
  const move = solve(shifted, pull).map((each) => -each);
  let promise = 0;
  for (let i = 0; i < p; i++) promise += 0.5 * (damping * move[i] - pull[i]) * move[i];
  return { move: move.map((each, i) => each * unit[i]), promise };
}

const FIRST_DELTA = 0.03;

// A quick descent; a Huber objective gets a wide threshold, so that far runs keep their pull.
function firstDescent(problem, start, steps, held) {
  const wide = problem.robust ? problem.withDelta(Math.max(problem.delta, FIRST_DELTA)) : problem;
  return minimise(wide, start, { steps: steps || 60, tolerance: 1e-7, held });
}

function bestOf(minima) {
  return minima.reduce((a, b) => (b.value < a.value ? b : a));
}
