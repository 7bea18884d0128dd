// Units that cells carry, as in 1.3B and 6.25%, and numbers that cannot be meant in the unit in which they stand.

const SCALED = /^([+]?[0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z]+|%)(?:\s+(?:tokens?|params?|parameters?|flops?))?$/i;
const FACTORS = [["1", "as it is"], ["1e3", "× thousand"], ["1e6", "× million"], ["1e9", "× billion"],
  ["1e12", "× trillion"]];
const SURE = "1 ";
const MARKED = [SURE, "as it is, looked at"];

// A cell as a number, NaN where it is none; one of a count or a share may have its unit in it.
function numberIn(cell, quantity) {
  const plain = numberOf(cell);
  if (!Number.isNaN(plain) || !IN_UNITS.test(quantity)) return plain;
  const found = SCALED.exec(cell);
  if (!found) return NaN;
  const word = found[2].toLowerCase();
  if (OWN_WORDS.includes(word)) return Number(found[1]);
  return Object.hasOwn(UNITS, word) ? Number(found[1]) * UNITS[word] : NaN;
}

// The numbers of a column that counts in a unit; one that its cells carry goes only with none.
function scaledNumbers(table, name, quantity, factor) {
  return cellsOf(table, name).map((cell) => (factor === 1 ? numberIn(cell, quantity) : numberOf(cell) * factor));
}

// The numbers of any column, in its own unit.
function ownNumbers(table, name) {
  const quantity = Object.entries(matchedColumns(table)).find(([, found]) => found.name === name);
  return quantity && !quantity[1].unit ? scaledNumbers(table, name, quantity[0], 1) : numbersOf(table, name);
}

// The numbers of a quantity's column, and null where the table has none.
function numbersFor(table, quantity) {
  const found = matchedColumns(table)[quantity];
  if (!found) return null;
  const values = scaledNumbers(table, found.name, quantity, found.factor);
  return values.some((each) => !Number.isNaN(each)) ? values : null;
}

// The factors to choose from, with one that a name tells.
function factorsWith(factor) {
  const usual = FACTORS.map(([value, words]) => [String(Number(value)), words]);
  const known = usual.some(([value]) => value === String(factor));
  return [...usual, ...(known ? [] : [[String(factor), `× ${said(factor, 3)}`]]), MARKED];
}

const PARAMETERS = ["total_params", "active_params", "non_embedding_params"];

// Refuse numbers that cannot be meant as they stand: parameters in millions, tokens in billions. known: what is read,
// {quantity: {values, shown, cells, sure, letter}}; of what the fit does not read, a sentence is returned.
function askUnits(table, rows, known) {
  const open = (name) => known[name] && !known[name].sure;
  const doubts = [];
  const ask = (name, i, what) => {
    const { shown, letter } = known[name];
    const where = `${table.file}: row ${table.numbers[i]}, column '${shown}': ${what}; in which unit is it?`;
    if (letter) refuse(`${where} Choose the unit of ${letter}, or '${MARKED[1]}' if it is right.`);
    doubts.push(`${where} The fit does not read it.`);
    delete known[name];
  };
  const first = (bad) => rows.find(bad);
  const check = (name, bad, words) => {
    const at = open(name) ? first((i) => bad(known[name].values[i], i)) : undefined;
    if (at !== undefined) ask(name, at, words(at));
  };
  const value = (name, i) => said(known[name].values[i], 6);
  for (const name of PARAMETERS) {
    check(name, (each) => each < DOUBTED.parameters, (i) => `${value(name, i)} parameters are too few for a model`);
  }
  if (!known.tokens || Object.keys(known).length === 1) return doubts;
  check("tokens", (each) => each < DOUBTED.tokens, (i) => `${value("tokens", i)} tokens are too few for a run`);
  const size = known.active_params ? "active_params" : known.total_params ? "total_params" : "";
  if (!size || !known.tokens) return doubts;
  const [least, most] = DOUBTED.ratio;
  check("tokens", (each, i) => each / known[size].values[i] < least,
    (i) => `${value("tokens", i)} tokens are too few for ${value(size, i)} parameters`);
  check(size, (each, i) => known.tokens.values[i] / each > most,
    (i) => `${value(size, i)} parameters are too few for ${value("tokens", i)} tokens`);
  const active = activeOf(table, known);
  const expected = active && known.tokens ? (i) => 6 * active[i] * known.tokens.values[i] : null;
  if (expected) {
    check("train_flops", (each, i) => Math.abs(Math.log(each / expected(i))) > Math.log(DOUBTED.flops),
      (i) => `${value("train_flops", i)} FLOPs, but 6 N D is ${said(expected(i), 6)}`);
  }
  return doubts;
}
