// A law bound to runs: residuals and exact derivatives as functions of the free parameters.
// Coordinates theta: the log of a positive parameter, any other as it is. The sum of Huber losses (or squares) of
// ln L_hat - ln L is what a fit minimises; always a sum, as in moelaws.fitting.

const FARTHEST = 1e100;
const OBJECTIVES = ["huber-log", "lsq-log", "lsq"];

class Problem {
  constructor(parts) {
    Object.assign(this, parts);
    this.runs = this.observed.length;
    this.count = this.free.length;
    this.program = assemble(this.law, this.data, this.free, this.positive, this.held, this.onLog);
    this.expander = new Expander(this.program, this.runs);
    this.residual = new Float64Array(this.runs);
    this.pull = new Float64Array(this.runs);
    this.cap = new Float64Array(this.runs);
    this.meanWeight = this.weights.reduce((a, b) => a + b, 0) / this.runs;
  }

  get robust() {
    return this.objective === "huber-log";
  }

  get onLog() {
    return this.objective !== "lsq";
  }

  // The same law and runs under another Huber threshold.
  withDelta(delta) {
    const other = Object.create(Problem.prototype, Object.getOwnPropertyDescriptors(this));
    other.delta = delta;
    return other;
  }

  // The problem of some runs, by index.
  only(runs) {
    const pick = (values) => Float64Array.from(runs, (i) => values[i]);
    const data = Object.fromEntries(Object.entries(this.data).map(([letter, values]) => [letter, pick(values)]));
    return new Problem({ ...this.parts(), data, observed: pick(this.observed), weights: pick(this.weights) });
  }

  parts() {
    const { law, data, free, positive, held, lower, upper, observed, weights, objective, delta } = this;
    return { law, data, free, positive, held, lower, upper, observed, weights, objective, delta };
  }

  // At most so many runs, spread evenly over the losses.
  thinned(most) {
    if (this.runs <= most) return this;
    this.thin = this.thin || {};
    if (!this.thin[most]) {
      const order = Array.from(this.observed.keys()).sort((i, j) => this.observed[i] - this.observed[j]);
      this.thin[most] = this.only(Array.from({ length: most }, (_, k) => order[Math.floor((k * (this.runs - 1)) / (most - 1))]));
    }
    const { robust, delta } = this;
    return robust && this.thin[most].delta !== delta ? this.thin[most].withDelta(delta) : this.thin[most];
  }

  // Predicted less observed, [runs]; the array is used again by the next call.
  residuals(theta) {
    return this.lessObserved(this.expander.valuesAt(theta));
  }

  lessObserved(value) {
    const one = value.length === 1;
    for (let i = 0; i < this.runs; i++) this.residual[i] = value[one ? 0 : i] - this.observed[i];
    return this.residual;
  }

  // Residuals and their slopes by all coordinates, in arrays of their own.
  linearise(theta) {
    const { value, slopes, support } = this.expander.expand(theta);
    const all = Array.from({ length: this.count }, () => new Float64Array(this.runs));
    support.forEach((i, q) => all[i].set(slopes[q]));
    return { residuals: Float64Array.from(this.lessObserved(value)), slopes: all };
  }

  // The objective; infinite where the law is undefined.
  value(theta) {
    const r = this.residuals(theta);
    let total = 0;
    for (let i = 0; i < this.runs; i++) total += this.term(r[i], this.weights[i]);
    return Number.isFinite(total) ? total : Infinity;
  }

  term(residual, weight) {
    if (!this.robust) return weight * residual * residual;
    const size = Math.abs(residual);
    const inner = Math.min(size, this.delta);
    return weight * inner * (size - 0.5 * inner);
  }

  slope(residual, weight) {
    if (!this.robust) return 2 * weight * residual;
    return weight * Math.max(-this.delta, Math.min(this.delta, residual));
  }

  // Value, gradient, Hessian and the diagonal of a majorising Hessian. kind: "majorant", which never overshoots;
  // "slopes", with the Huber loss's own curvature; "exact", with second derivatives of the residuals too.
  model(theta, kind) {
    const p = this.count;
    const { value: predicted, slopes, support } = this.expander.expand(theta);
    const r = this.lessObserved(predicted);
    const { pull, cap, weights, delta, robust } = this;
    let value = 0;
    for (let i = 0; i < this.runs; i++) {
      value += this.term(r[i], weights[i]);
      pull[i] = this.slope(r[i], weights[i]);
      // Curvature of the parabola that touches the term from above (the weights of IRLS).
      cap[i] = robust ? (weights[i] * delta) / Math.max(Math.abs(r[i]), delta) : 2 * weights[i];
    }
    const gradient = new Float64Array(p);
    const hessian = new Float64Array(p * p);
    const metric = new Float64Array(p);
    support.forEach((i, q) => { gradient[i] = dot(slopes[q], pull); });
    if (kind !== "majorant") {
      support.forEach((i, q) => {
        const along = slopes[q];
        let square = 0;
        for (let k = 0; k < this.runs; k++) square += along[k] * along[k] * cap[k];
        metric[i] = square;
      });
    }
    if (kind !== "majorant" && robust) for (let i = 0; i < this.runs; i++) cap[i] = Math.abs(r[i]) <= delta ? weights[i] : 0;
    addSquares(hessian, p, slopes, support, cap);
    if (kind === "majorant") for (let i = 0; i < p; i++) metric[i] = hessian[i * p + i];
    if (kind === "exact") this.expander.bend(pull, hessian);
    let finite = Number.isFinite(value);
    for (let i = 0; finite && i < p; i++) finite = Number.isFinite(gradient[i]);
    for (let i = 0; finite && i < p * p; i++) finite = Number.isFinite(hessian[i]);
    if (finite) return { value, gradient, hessian, metric };
    return { value: Infinity, gradient: gradient.fill(0), hessian: hessian.fill(0), metric: metric.fill(1) };
  }

  clipped(theta) {
    return Float64Array.from(theta, (each, i) => Math.min(Math.max(each, this.lower[i]), this.upper[i]));
  }

  // Coordinates to parameters by name, those held included, in the law's order.
  params(theta) {
    return Object.fromEntries(this.law.parameters.map(({ name }) => {
      const i = this.free.indexOf(name);
      return [name, i < 0 ? this.held[name] : this.natural(i, theta[i])];
    }));
  }

  natural(i, coordinate) {
    return this.positive[i] ? Math.exp(coordinate) : coordinate;
  }

  // An objective that is zero but for rounding.
  get exact() {
    return this.runs * 1e-26 * this.meanWeight;
  }
}

// law: with its tree. data: letter -> values. target: observed values. options: {objective, delta, weights, fixed}.
function bind(law, data, target, options) {
  const fixed = options.fixed || {};
  for (const [name, value] of Object.entries(fixed)) {
    const parameter = law.parameters.find((each) => each.name === name);
    if (!parameter) throw new LabError(`Law ${shown(law.name)} has no parameter ${shown(name)}.`);
    if (!Number.isFinite(value) || (parameter.positive && value <= 0)) {
      throw new LabError(`Fixed ${name} = ${value}: expected a ${parameter.positive ? "positive " : ""}number.`);
    }
  }
  const free = law.parameters.filter((each) => !Object.hasOwn(fixed, each.name));
  if (!free.length) throw new LabError("Every parameter is fixed; nothing is left to fit.");
  const coordinate = (parameter, value) => (parameter.positive ? Math.log(value) : value);
  const onLog = options.objective !== "lsq";
  return new Problem({
    law, data, held: fixed,
    free: free.map((each) => each.name),
    positive: free.map((each) => each.positive),
    lower: Float64Array.from(free, (each) => coordinate(each, each.bounds[0])),
    upper: Float64Array.from(free, (each) => coordinate(each, each.bounds[1])),
    observed: Float64Array.from(target, (each) => (onLog ? Math.log(each) : each)),
    weights: options.weights ? Float64Array.from(options.weights) : new Float64Array(target.length).fill(1),
    objective: options.objective || "huber-log",
    delta: options.delta || 1e-3,
  });
}
