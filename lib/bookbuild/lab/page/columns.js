// Which column of the reader's table a quantity is read from: guessed by its name, chosen by the reader, or worked out
// from others by the rules of moelaws.runs.

const RULES = [
  { column: "sparsity", from: ["n_experts", "top_k"], words: "(E - K) / E", rule: (e, k) => (e - k) / e },
  { column: "n_experts", from: ["top_k", "sparsity"], words: "K / (1 - S)", rule: (k, s) => k / (1 - s) },
  { column: "tokens", from: ["train_flops", "active_params"], words: "C / (6 N_a)", rule: (c, n) => c / (6 * n) },
  { column: "train_flops", from: ["tokens", "active_params"], words: "6 N_a D", rule: (d, n) => 6 * n * d },
  { column: "active_params", from: ["train_flops", "tokens"], words: "C / (6 D)", rule: (c, d) => c / (6 * d) },
  { column: "activation_ratio", from: ["sparsity"], words: "1 - S", rule: (s) => 1 - s },
];

const FACTORS = [["1", "as it is"], ["1e3", "× thousand"], ["1e6", "× million"], ["1e9", "× billion"],
  ["1e12", "× trillion"]];
const COUNTED = /_params$|tokens$|_flops$/;

// The factor that a column's name tells, as in `tokens (B)`.
const usualFactor = (value, quantity) => withoutUnit(value.slice("column:".length), quantity).factor;

// The factors to choose from, with one that a name tells.
function factorsWith(factor) {
  const usual = FACTORS.map(([value, words]) => [String(Number(value)), words]);
  const known = usual.some(([value]) => value === String(factor));
  return known ? usual : [...usual, [String(factor), `× ${said(factor, 3)}`]];
}

// One variable's row of the form: where it is read from, in which unit, and what it is worked out from.
// quantities: the book's columns that the variable may be. Returns {made, read(): {values, name, derived, source}}.
function columnChooser(table, label, quantities, chosenBefore) {
  const rules = RULES.filter((each) => quantities.includes(each.column) && each.column === quantities[0]);
  const options = [["", "choose a column"], ...table.names.map((name) => [`column:${name}`, name]),
    ...rules.map((each) => [`rule:${each.column}`, `worked out: ${each.words}`])];
  const guessed = quantities.map((each) => guess(table, each)).find(Boolean);
  const possible = rules.find((each) => each.from.every((source) => guess(table, source)));
  const first = chosenBefore || (guessed ? `column:${guessed}` : possible ? `rule:${possible.column}` : "");
  const below = element("div", { class: "lab-sources" });
  let sources = [];
  let factor = null;
  const show = (value) => {
    sources = [];
    factor = null;
    below.replaceChildren();
    const rule = value.startsWith("rule:") && RULES.find((each) => `rule:${each.column}` === value);
    if (rule) {
      sources = rule.from.map((quantity) => columnChooser(table, quantity, [quantity]));
      below.append(...sources.map((each) => each.made));
    } else if (value && (COUNTED.test(quantities[0]) || usualFactor(value, quantities[0]) !== 1)) {
      const usual = usualFactor(value, quantities[0]);
      factor = select(factorsWith(usual), String(usual));
      below.append(field(`unit of ${label.split(":")[0]}`, factor));
    }
  };
  const control = select(options, first, show);
  show(first);
  const made = element("div", { class: "lab-column" }, field(label, control), below);
  const read = () => {
    if (!control.value) refuse(`Choose the column that holds ${label}.`);
    const rule = control.value.startsWith("rule:") && RULES.find((each) => `rule:${each.column}` === control.value);
    if (rule) {
      const found = sources.map((each) => each.read());
      const values = found[0].values.map((_, i) => rule.rule(...found.map((each) => each.values[i])));
      const derived = Object.assign({ [rule.column]: rule.words }, ...found.map((each) => each.derived));
      const maps = found.flatMap((each) => each.maps);
      return { values, name: rule.column, derived, shown: `${rule.column} (${rule.words})`, maps };
    }
    const source = control.value.slice("column:".length);
    const times = factor ? Number(factor.value) : 1;
    const name = quantities.includes(source) ? source : quantities[0];
    const values = numbersOf(table, source).map((each) => each * times);
    return { values, name, derived: {}, shown: source, source, maps: [{ name, source, times }] };
  };
  return { made, read };
}

// Refuse a number that its column cannot hold, by row and column.
function checkNumbers(table, rows, found, anySign) {
  const known = engine().COLUMNS[found.name];
  const expected = anySign ? "a finite number" : known ? known.expected : "a finite number > 0";
  for (const i of rows) {
    const value = found.values[i];
    const low = known && known.minimum !== null ? known.minimum : 0;
    const fine = Number.isFinite(value) && (anySign || (known && !known.exclusive ? value >= low : value > low))
      && !(known && known.below !== null && value >= known.below)
      && !(known && known.whole && !Number.isInteger(value));
    if (fine) continue;
    const cell = found.source ? table.cells[i][table.names.indexOf(found.source)] : String(value);
    refuse(`${table.file}: row ${table.numbers[i]}, column '${found.shown}': found ${cell === "" ? "nothing" : `'${cell}'`},`
      + ` expected ${expected}.`);
  }
}
