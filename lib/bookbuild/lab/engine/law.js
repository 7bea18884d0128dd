// Laws: the published ones, as moelaws.laws has them (LAWS is written into this script when the book is built), and
// the reader's own from a formula alone.

const MOST_PARAMETERS = 40;

function lawNamed(name) {
  const found = LAWS.find((law) => law.name === name);
  if (!found) throw new LabError(`No law ${shown(name)}; there are ${LAWS.map((law) => law.name).join(", ")}.`);
  return withTree(found);
}

function withTree(law) {
  return law.tree ? law : Object.assign({}, law, { tree: parse(law.formula, law.definitions) });
}

// A name that is no variable is a parameter: a positive amplitude where the formula depends linearly on it, an exponent
// of either sign elsewhere. The same guess as moelaws.law_from_formula.
function lawFromFormula(formula, variables) {
  const tree = parse(formula, {});
  const letters = variables.map((each) => each.symbol);
  const used = namesOf(tree);
  for (const letter of letters) {
    if (!used.includes(letter)) throw new LabError(`The variable ${shown(letter)} does not occur in the formula.`);
  }
  const linear = amplitudesOf(tree, letters);
  const parameters = used.filter((name) => !letters.includes(name)).map((name) => linear.has(name)
    ? { name, positive: true, start: [1e-2, 1e3], bounds: [1e-100, 1e100], meaning: "" }
    : { name, positive: false, start: [0.05, 1.0], bounds: [-10, 10], meaning: "" });
  if (!parameters.length) throw new LabError("The formula has no parameter to fit: every name in it is a variable.");
  if (parameters.length > MOST_PARAMETERS) {
    throw new LabError(`The formula has ${parameters.length} parameters; expected at most ${MOST_PARAMETERS}.`);
  }
  return {
    name: "formula", formula, definitions: {}, variables, parameters, published: [], target: "loss",
    source: "your own", conventions: "", tree, own: true,
  };
}

// Parameters on which a formula depends linearly and jointly: factors of its terms, each occurring once.
function amplitudesOf(tree, variables) {
  const counts = {};
  walkTree(tree, (node) => {
    if (node.kind === "name") counts[node.id] = (counts[node.id] || 0) + 1;
  });
  const factors = (node) => {
    if (node.kind === "name") return variables.includes(node.id) ? [] : [node.id];
    if (node.kind !== "binary") return [];
    if (node.sign === "+" || node.sign === "-") return [...factors(node.left), ...factors(node.right)];
    if (node.sign === "/") return factors(node.left);
    if (node.sign === "*") {
      const left = factors(node.left);
      return left.length ? left : factors(node.right);
    }
    return [];
  };
  return new Set(factors(tree).filter((name) => counts[name] === 1));
}

// The parameter that stands alone as a term, a law's irreducible loss; null without one.
function floorOf(law) {
  const alone = (node) => {
    if (node.kind === "name") return [node.id];
    return node.kind === "binary" && node.sign === "+" ? [...alone(node.left), ...alone(node.right)] : [];
  };
  const names = law.parameters.map((each) => each.name);
  const found = alone(law.tree).filter((name) => names.includes(name));
  return found.length === 1 ? found[0] : null;
}

// The law's value for parameters by name and columns by letter, [rows].
function predict(law, params, data) {
  const first = Object.values(data)[0];
  const program = assemble(withTree(law), data, [], [], params, false);
  const value = new Expander(program, first.length).valuesAt([]);
  return Float64Array.from({ length: first.length }, (_, i) => value[value.length === 1 ? 0 : i]);
}
