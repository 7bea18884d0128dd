// A program's value around some coordinates, to second order, for one start and all runs.
// Slopes go forward. A sum over runs of second derivatives goes backward: every step that bends adds
// weight x slope x slope, and passes its weight on to what it was made from (the chain rule, twice).
// Arrays are made once for a program and used again by every evaluation.

class Expander {
  constructor(program, runs) {
    this.program = program;
    this.runs = runs;
    this.values = program.steps.map((each) => new Float64Array(each.kind === "linear" && each.support.length === 0
      ? each.offset.length : runs));
    this.factors = program.steps.map((each) => ["exp", "linear", "sum", "weigh", "product"].includes(each.kind)
      ? null : new Float64Array(runs));
    // Slopes by the coordinates of each step's support; a sum or a product of one that has them shares no array.
    this.blocks = program.steps.map((each) => each.kind === "linear" ? each.slopes.map((slope) => this.full(slope))
      : each.support.map(() => new Float64Array(runs)));
    this.waiting = program.steps.map((each) => each.bends ? new Float64Array(runs) : null);
    this.waits = new Array(program.steps.length).fill(false);
    this.weight = new Float64Array(runs);
    for (const each of program.steps) {
      if (each.kind === "linear" && each.support.length === 0) this.values[each.number].set(each.offset);
    }
  }

  full(array) {
    return array.length === this.runs ? array : new Float64Array(this.runs).fill(array[0]);
  }

  // The formula's value alone, [runs], or [1] where it is the same for all.
  valuesAt(theta) {
    for (const each of this.program.steps) this.evaluate(each, theta, false);
    return this.values[this.program.root.number];
  }

  // Value and slopes: {value [runs or 1], slopes: one array [runs] for each coordinate of the root's support}.
  expand(theta) {
    for (const each of this.program.steps) this.evaluate(each, theta, true);
    const root = this.program.root;
    return { value: this.values[root.number], slopes: this.blocks[root.number], support: root.support };
  }

  evaluate(step, theta, slopes) {
    const value = this.values[step.number];
    const n = this.runs;
    if (step.kind === "linear") {
      if (step.support.length) linearValue(step, this.blocks[step.number], theta, value);
      return;
    }
    const inner = this.values[step.inputs[0].number];
    const one = inner.length === 1;
    const factor = this.factors[step.number];
    switch (step.kind) {
      case "sum":
        value.fill(0);
        step.inputs.forEach((each, k) => addTo(value, this.values[each.number], step.signs[k]));
        break;
      case "product": {
        const other = this.values[step.inputs[1].number];
        for (let i = 0; i < n; i++) value[i] = inner[one ? 0 : i] * other[other.length === 1 ? 0 : i];
        break;
      }
      case "weigh": {
        const same = step.weights.length === 1;
        for (let i = 0; i < n; i++) value[i] = inner[i] * step.weights[same ? 0 : i];
        break;
      }
      case "exp":
        for (let i = 0; i < n; i++) value[i] = Math.exp(inner[i]);
        break;
      case "log":
        for (let i = 0; i < n; i++) {
          value[i] = Math.log(inner[i]);
          factor[i] = 1 / inner[i];
        }
        break;
      case "reciprocal":
        for (let i = 0; i < n; i++) {
          value[i] = 1 / inner[i];
          factor[i] = -value[i] * value[i];
        }
        break;
      default:
        for (let i = 0; i < n; i++) {
          value[i] = inner[i] ** step.whole;
          factor[i] = step.whole * inner[i] ** (step.whole - 1);
        }
    }
    if (slopes) this.differentiate(step, step.kind === "exp" ? value : factor);
  }

  differentiate(step, factor) {
    const block = this.blocks[step.number];
    const n = this.runs;
    if (factor) {
      const inner = this.blocks[step.inputs[0].number];
      for (let q = 0; q < block.length; q++) {
        const from = inner[q];
        const to = block[q];
        for (let i = 0; i < n; i++) to[i] = from[i] * factor[i];
      }
      return;
    }
    for (const each of block) each.fill(0);
    step.inputs.forEach((each, k) => {
      const inner = this.blocks[each.number];
      each.support.forEach((coordinate, q) => {
        const to = block[step.support.indexOf(coordinate)];
        if (step.kind === "sum") addTo(to, inner[q], step.signs[k]);
        else addProduct(to, inner[q], step.kind === "weigh" ? step.weights : this.values[step.inputs[1 - k].number]);
      });
    });
  }

  // Add the sum over runs of pull x second derivatives to a matrix of P x P; after ``expand``.
  bend(pull, matrix) {
    const { steps, root } = this.program;
    this.give(root, pull, 1);
    for (let k = steps.length - 1; k >= 0; k--) {
      if (this.waits[k]) {
        this.waits[k] = false;
        this.bendStep(steps[k], this.waiting[k], matrix);
      }
    }
  }

  give(step, weight, sign) {
    if (!step.bends) return;
    const here = this.waiting[step.number];
    if (!this.waits[step.number]) here.fill(0);
    this.waits[step.number] = true;
    addTo(here, weight, sign);
  }

  bendStep(step, weight, matrix) {
    const n = this.runs;
    const inner = step.inputs[0];
    const at = this.values[inner.number];
    const value = this.values[step.number];
    const passed = this.weight;
    switch (step.kind) {
      case "sum":
        step.inputs.forEach((each, k) => this.give(each, weight, step.signs[k]));
        break;
      case "weigh":
        for (let i = 0; i < n; i++) passed[i] = weight[i] * step.weights[step.weights.length === 1 ? 0 : i];
        this.give(inner, passed, 1);
        break;
      case "product":
        this.cross(weight, inner, step.inputs[1], matrix);
        step.inputs.forEach((each, k) => {
          const other = this.values[step.inputs[1 - k].number];
          for (let i = 0; i < n; i++) passed[i] = weight[i] * other[other.length === 1 ? 0 : i];
          this.give(each, passed, 1);
        });
        break;
      case "exp":
        for (let i = 0; i < n; i++) passed[i] = weight[i] * value[i];
        this.square(passed, inner, matrix);
        this.give(inner, passed, 1);
        break;
      case "log":
        for (let i = 0; i < n; i++) passed[i] = -weight[i];
        this.square(passed, step, matrix);
        for (let i = 0; i < n; i++) passed[i] = weight[i] / at[i];
        this.give(inner, passed, 1);
        break;
      case "reciprocal":
        for (let i = 0; i < n; i++) passed[i] = 2 * weight[i] * value[i] * value[i] * value[i];
        this.square(passed, inner, matrix);
        for (let i = 0; i < n; i++) passed[i] = -weight[i] * value[i] * value[i];
        this.give(inner, passed, 1);
        break;
      default:
        for (let i = 0; i < n; i++) passed[i] = weight[i] * step.whole * (step.whole - 1) * at[i] ** (step.whole - 2);
        this.square(passed, inner, matrix);
        for (let i = 0; i < n; i++) passed[i] = weight[i] * step.whole * at[i] ** (step.whole - 1);
        this.give(inner, passed, 1);
    }
  }

  square(weight, step, matrix) {
    addSquares(matrix, this.program.coordinates, this.blocks[step.number], step.support, weight);
  }

  cross(weight, a, b, matrix) {
    const p = this.program.coordinates;
    const here = new Float64Array(this.runs);
    a.support.forEach((i, k) => {
      const left = this.blocks[a.number][k];
      for (let r = 0; r < this.runs; r++) here[r] = weight[r] * left[r];
      b.support.forEach((j, l) => {
        const sum = dot(here, this.blocks[b.number][l]);
        matrix[i * p + j] += sum;
        matrix[j * p + i] += sum;
      });
    });
  }
}

function linearValue(step, slopes, theta, value) {
  const n = value.length;
  if (step.offset.length === 1) value.fill(step.offset[0]);
  else value.set(step.offset);
  for (let q = 0; q < slopes.length; q++) {
    const slope = slopes[q];
    const at = theta[step.support[q]];
    for (let i = 0; i < n; i++) value[i] += at * slope[i];
  }
}

function addTo(total, values, sign) {
  const one = values.length === 1;
  for (let i = 0; i < total.length; i++) total[i] += sign * values[one ? 0 : i];
}

function addProduct(total, values, weights) {
  const one = weights.length === 1;
  for (let i = 0; i < total.length; i++) total[i] += values[i] * weights[one ? 0 : i];
}

// Add the sum over runs of weight x slope x slope to a symmetric matrix of P x P.
let weighed = new Float64Array(0);

function addSquares(matrix, p, slopes, support, weight) {
  const n = weight.length;
  if (weighed.length !== n) weighed = new Float64Array(n);
  for (let a = 0; a < slopes.length; a++) {
    const left = slopes[a];
    for (let r = 0; r < n; r++) weighed[r] = weight[r] * left[r];
    for (let b = 0; b <= a; b++) {
      const sum = dot(weighed, slopes[b]);
      matrix[support[a] * p + support[b]] += sum;
      if (a !== b) matrix[support[b] * p + support[a]] += sum;
    }
  }
}

// The sum of products, in four sums at once: one would wait for each addition before the next.
function dot(a, b) {
  const n = a.length;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; i++) s0 += a[i] * b[i];
  return s0 + s1 + (s2 + s3);
}
