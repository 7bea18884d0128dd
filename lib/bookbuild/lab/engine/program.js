// A formula bound to runs, as a few steps over arrays: linear forms of the coordinates, sums, products, exponentials.
// Products and powers of positive quantities become exponentials of sums of logs, in which nothing overflows.
// The same way as moelaws.formulas: parts that hold no parameter are worked out once, for all evaluations.

const LOG_BASE = { ln: 1, log2: Math.LN2, log10: Math.LN10 };

// law: with its tree. data: letter -> values, [runs]. free: names of the coordinates; logs: which of them are logs.
// held: parameter -> value of those that are no coordinates. onLog: whether the log of the formula is wanted.
function assemble(law, data, free, logs, held, onLog) {
  const evaluation = new Evaluation(free, logs);
  const tree = folded(law.tree, data, held, new Map());
  const root = onLog ? evaluation.log(tree) : evaluation.value(tree);
  const steps = [];
  const found = new Map();
  const place = (step) => {
    if (!found.has(step)) {
      step.inputs.forEach(place);
      found.set(step, steps.length);
      step.number = steps.length;
      steps.push(step);
    }
  };
  place(root);
  return { steps, root, coordinates: free.length };
}

// The tree with every part that holds no free parameter replaced by its values.
function folded(node, data, held, memo) {
  if (memo.has(node)) return memo.get(node);
  let made = node;
  if (node.kind === "number") made = { kind: "values", values: Float64Array.of(node.value) };
  else if (node.kind === "name") {
    if (Object.hasOwn(data, node.id)) made = { kind: "values", values: Float64Array.from(data[node.id]) };
    else if (Object.hasOwn(held, node.id)) made = { kind: "values", values: Float64Array.of(held[node.id]) };
  } else {
    const parts = partsOf(node).map((part) => folded(part, data, held, memo));
    if (parts.every((part) => part.kind === "values")) {
      const [a, b] = parts.map((part) => part.values);
      const values = joined(a, b || a, (x, y) => numberOf(node, [x, y]));
      made = { kind: "values", values };
    } else if (node.kind === "binary") made = { ...node, left: parts[0], right: parts[1] };
    else made = { ...node, part: parts[0] };
  }
  memo.set(node, made);
  return made;
}

// A function of two arrays of one length or of length one, element by element.
function joined(a, b, both) {
  const n = Math.max(a.length, b.length);
  const made = new Float64Array(n);
  for (let i = 0; i < n; i++) made[i] = both(a.length === 1 ? a[0] : a[i], b.length === 1 ? b[0] : b[i]);
  return made;
}

// One pass over a folded tree; parts that the tree shares are done once.
class Evaluation {
  constructor(free, logs) {
    this.place = new Map(free.map((name, i) => [name, i]));
    this.logs = logs;
    this.values = new Map();
    this.ofLogs = new Map();
    this.signs = new Map();
  }

  kept(memo, node, make) {
    if (!memo.has(node)) memo.set(node, make());
    return memo.get(node);
  }

  value(node) {
    return this.kept(this.values, node, () => this.makeValue(node));
  }

  log(node) {
    return this.kept(this.ofLogs, node, () => this.makeLog(node));
  }

  positive(node) {
    return this.kept(this.signs, node, () => {
      if (node.kind === "values") return node.values.every((value) => value > 0);
      if (node.kind === "name") return this.isLog(node);
      if (node.kind === "call") return node.name === "exp" || node.name === "sqrt";
      if (node.kind !== "binary" || node.sign === "-") return false;
      return this.positive(node.left) && (node.sign === "^" || this.positive(node.right));
    });
  }

  isLog(node) {
    if (!this.place.has(node.id)) throw new LabError(`${shown(node.id)} is neither a parameter nor a variable.`);
    return this.logs[this.place.get(node.id)];
  }

  makeValue(node) {
    if (node.kind === "values") return constantStep(node.values);
    if (node.kind === "name" && !this.isLog(node)) return coordinateStep(this.place.get(node.id));
    if (node.kind === "negative") return timesStep(this.value(node.part), Float64Array.of(-1));
    if (node.kind === "binary") {
      const { sign, left, right } = node;
      if (sign === "+" || sign === "-") return addStep(this.value(left), this.value(right), sign === "+" ? 1 : -1);
      const positive = this.positive(left) && (sign === "^" || this.positive(right));
      if (!positive && sign === "^") return this.power(left, right);
      if (!positive) {
        const other = this.value(right);
        return multiplyStep(this.value(left), sign === "*" ? other : reciprocalStep(other));
      }
    }
    if (node.kind === "call" && LOG_BASE[node.name]) {
      return timesStep(this.log(node.part), Float64Array.of(1 / LOG_BASE[node.name]));
    }
    return expStep(this.log(node));
  }

  makeLog(node) {
    if (node.kind === "name" && this.isLog(node)) return coordinateStep(this.place.get(node.id));
    if (node.kind === "binary" && this.positive(node.left)) {
      const { sign, left, right } = node;
      if (sign === "^") return multiplyStep(this.value(right), this.log(left));
      if ((sign === "*" || sign === "/") && this.positive(right)) {
        return addStep(this.log(left), this.log(right), sign === "*" ? 1 : -1);
      }
    }
    if (node.kind === "call" && node.name === "exp") return this.value(node.part);
    if (node.kind === "call" && node.name === "sqrt") return timesStep(this.log(node.part), Float64Array.of(0.5));
    return logStep(this.value(node));
  }

  power(left, right) {
    const exponent = this.value(right);
    const whole = isConstant(exponent) && exponent.offset.length === 1 ? exponent.offset[0] : NaN;
    if (Number.isInteger(whole)) return powerStep(this.value(left), whole);
    // The log of a number of unknown sign: right where it is positive, no number elsewhere.
    return expStep(multiplyStep(exponent, this.log(left)));
  }
}

// Steps: {kind, inputs, support (coordinates), slopes and offset (of a linear form), signs (of a sum), weights, whole}.
function step(kind, inputs, rest) {
  const support = [...new Set(inputs.flatMap((each) => each.support))];
  return Object.assign({ kind, inputs, support, bends: true, number: -1 }, rest);
}

function linearStep(support, slopes, offset) {
  return { kind: "linear", inputs: [], support, slopes, offset, bends: false, number: -1 };
}

function constantStep(values) {
  return linearStep([], [], values);
}

function coordinateStep(i) {
  return linearStep([i], [Float64Array.of(1)], Float64Array.of(0));
}

function isConstant(a) {
  return a.kind === "linear" && !a.support.length;
}

function isOne(weights) {
  return weights.length === 1 && weights[0] === 1;
}

const productOf = (x, y) => x * y;

function timesStep(a, weights) {
  if (isOne(weights)) return a;
  if (a.kind === "linear") {
    return linearStep(a.support, a.slopes.map((each) => joined(each, weights, productOf)),
      joined(a.offset, weights, productOf));
  }
  if (a.kind === "weigh") return timesStep(a.inputs[0], joined(a.weights, weights, productOf));
  if (a.kind === "product" && a.inputs[0].kind === "linear") {
    return step("product", [timesStep(a.inputs[0], weights), a.inputs[1]]);
  }
  return step("weigh", [a], { weights });
}

function termsOf(a, sign) {
  return a.kind === "sum" ? a.inputs.map((each, k) => [each, sign * a.signs[k]]) : [[a, sign]];
}

// Of the terms of a sum, all linear forms make one.
function addStep(a, b, sign) {
  const terms = [...termsOf(a, 1), ...termsOf(b, sign)];
  const forms = terms.filter(([each]) => each.kind === "linear").map(([each, s]) => timesStep(each, Float64Array.of(s)));
  const others = terms.filter(([each]) => each.kind !== "linear");
  if (forms.length) {
    const form = linearSum(forms);
    if (!others.length) return form;
    if (form.support.length || form.offset.some((each) => each !== 0)) others.unshift([form, 1]);
  }
  if (others.length === 1 && others[0][1] > 0) return others[0][0];
  return step("sum", others.map(([each]) => each), { signs: others.map(([, s]) => s) });
}

function linearSum(forms) {
  const support = [...new Set(forms.flatMap((each) => each.support))];
  const sum = (x, y) => x + y;
  const slopes = support.map((i) => forms.filter((each) => each.support.includes(i))
    .map((each) => each.slopes[each.support.indexOf(i)]).reduce((x, y) => joined(x, y, sum)));
  return linearStep(support, slopes, forms.map((each) => each.offset).reduce((x, y) => joined(x, y, sum)));
}

function multiplyStep(a, b) {
  if (isConstant(a)) return timesStep(b, a.offset);
  if (isConstant(b)) return timesStep(a, b.offset);
  if (a.kind === "exp" && b.kind === "exp") return expStep(addStep(a.inputs[0], b.inputs[0], 1));
  return step("product", b.kind === "linear" ? [b, a] : [a, b]);
}

function reciprocalStep(a) {
  if (a.kind === "exp") return expStep(timesStep(a.inputs[0], Float64Array.of(-1)));
  return isConstant(a) ? constantStep(a.offset.map((each) => 1 / each)) : step("reciprocal", [a]);
}

function expStep(a) {
  return isConstant(a) ? constantStep(a.offset.map(Math.exp)) : step("exp", [a]);
}

function logStep(a) {
  if (a.kind === "exp") return a.inputs[0];
  if (a.kind === "reciprocal") return timesStep(logStep(a.inputs[0]), Float64Array.of(-1));
  if (a.kind === "product" && a.inputs.some((each) => each.kind === "exp")) {
    return addStep(logStep(a.inputs[0]), logStep(a.inputs[1]), 1);
  }
  return isConstant(a) ? constantStep(a.offset.map(Math.log)) : step("log", [a]);
}

function powerStep(a, whole) {
  if (isConstant(a) || whole === 0) return constantStep(isConstant(a) ? a.offset.map((x) => x ** whole) : Float64Array.of(1));
  return whole === 1 ? a : step("power", [a], { whole });
}
