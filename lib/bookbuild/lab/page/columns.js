// Which column of the reader's table a quantity is read from: guessed by its name, chosen by the reader, or worked out
// from others.

const COUNTED = /_params$|tokens$|_flops$/;

// One variable's row of the form: where it is read from, in which unit, and what it is worked out from.
// quantities: the book's columns that the variable may be. Returns {made, read(): {values, name, derived, source}}.
function columnChooser(table, label, quantities) {
  const given = derivedRules(table);
  const rules = quantities.flatMap((each) => [...new Set([given[each], ...RULES.filter((rule) => rule.column === each)])])
    .filter(Boolean);
  const logs = perplexities(table, quantities);
  const options = [["", "choose a column"], ...table.names.map((name) => [`column:${name}`, name]),
    ...logs.map((name) => [`ln:${name}`, `ln of ${name}, a perplexity`]),
    ...rules.map((rule) => [`rule:${rule.column}:${rule.words}`, `worked out: ${rule.words}`])];
  const ruleOf = (value) => rules.find((rule) => `rule:${rule.column}:${rule.words}` === value);
  const guessed = quantities.map((each) => guess(table, each)).find(Boolean);
  const possible = quantities.map((each) => given[each]).find(Boolean);
  const first = guessed ? `column:${guessed}` : possible ? `rule:${possible.column}:${possible.words}`
    : logs.length === 1 ? `ln:${logs[0]}` : "";
  const below = element("div", { class: "lab-sources" });
  const letter = label.split(":")[0];
  let sources = [];
  let factor = null;
  const show = (value) => {
    sources = [];
    factor = null;
    below.replaceChildren();
    const rule = ruleOf(value);
    if (rule) {
      sources = rule.from.map((quantity) => columnChooser(table, quantity, [quantity]));
      below.append(...sources.map((each) => each.made));
    } else if (value.startsWith("column:")) {
      const name = value.slice("column:".length);
      const usual = withoutUnit(name, quantityOf(table, quantities)).factor;
      if (!COUNTED.test(quantities[0]) && usual === 1) return;
      factor = select(factorsWith(usual), String(usual));
      below.append(field(`unit of ${letter}`, factor));
    }
  };
  const control = choice(table, options, first, show);
  show(first);
  const made = element("div", { class: "lab-column" }, field(label, control), below);
  const read = () => {
    const picked = control.picked();
    if (!picked) refuse(`Choose the column that holds ${label}.${couldBe(table, quantities)}`);
    const rule = ruleOf(picked);
    if (rule) {
      const found = sources.map((each) => each.read());
      const values = table.cells.map((_, i) => rule.rule(...found.map((each) => each.values[i])));
      const derived = Object.assign({ [rule.column]: rule.words }, ...found.map((each) => each.derived));
      const maps = found.flatMap((each) => each.maps);
      return { values, name: rule.column, derived, shown: `${rule.column} (${rule.words})`, maps, parts: found };
    }
    const source = picked.slice(picked.indexOf(":") + 1);
    if (picked.startsWith("ln:")) {
      const values = numbersOf(table, source).map((each) => (each >= 1 ? Math.log(each) : NaN));
      const shown = `ln(${source})`;
      const maps = [{ name: "loss", source: shown, times: 1, sure: false }];
      return { values, name: "loss", derived: {}, shown, source, maps, parts: [], log: true, letter };
    }
    const times = factor ? Number(factor.value) : 1;
    const name = quantityOf(table, quantities);
    const values = scaledNumbers(table, source, name, times);
    const sure = Boolean(factor) && (times !== 1 || factor.value === SURE);
    return { values, name, derived: {}, shown: source, source, maps: [{ name, source, times, sure }], parts: [], sure, letter };
  };
  return { made, read };
}

// Which of the quantities that a variable may be its column is called: the first that a column's name says, as another
// column would else be taken for it.
function quantityOf(table, quantities) {
  return quantities.find((each) => guess(table, each)) || quantities[0];
}

// Columns of perplexities, in a table that has no losses: the ones whose names say it best.
function perplexities(table, quantities) {
  if (quantities[0] !== "loss" || guess(table, "loss")) return [];
  const bare = table.names.map((name) => ({ name, base: name, factor: 1 }));
  return wordedColumns(table, bare, "perplexity").map(({ name }) => name);
}

// Names that may say it, where several do.
function couldBe(table, quantities) {
  const bare = table.names.map((name) => ({ name, ...withoutUnit(name, quantities[0]) }));
  const names = wordedColumns(table, bare, quantities[0]).map(({ name }) => `'${name}'`);
  return names.length > 1 ? ` It could be ${names.slice(0, 4).join(", ")}.` : "";
}

// Refuse a number that its column cannot hold, by row and column.
function checkNumbers(table, rows, found, anySign, hint) {
  const known = engine().COLUMNS[found.name];
  const expected = anySign ? "a finite number" : known ? known.expected : "a finite number > 0";
  for (const i of rows) {
    const value = found.values[i];
    const low = known && known.minimum !== null ? known.minimum : 0;
    const fine = Number.isFinite(value) && (anySign || (known && !known.exclusive ? value >= low : value > low))
      && !(known && known.below !== null && value >= known.below)
      && !(known && known.whole && !Number.isInteger(value));
    if (fine) continue;
    const text = found.source ? cellsOf(table, found.source)[i] : String(value);
    const cell = found.log && text ? `ln(${text})` : text;
    refuse(`${table.file}: row ${table.numbers[i]}, column '${found.shown}': found ${cell === "" ? "nothing" : `'${cell}'`},`
      + ` expected ${expected}.${hint}`);
  }
}

// What a table says of the quantities that are known by name, and what the form reads in their place:
// {quantity: {values, shown, sure, letter}}, where `sure` is a unit that was given, and `letter` what the form calls it.
function knownQuantities(table, reads) {
  const known = {};
  for (const [quantity, { name, unit }] of Object.entries(matchedColumns(table))) {
    const values = numbersFor(table, quantity);
    if (values) known[quantity] = { values, shown: name, sure: unit, letter: "" };
  }
  const leaves = (each) => [...(each.parts.length ? [] : [each]), ...each.parts.flatMap(leaves)];
  for (const each of reads.flatMap(leaves)) {
    if (each.source) known[each.name] = { values: each.values, shown: each.shown, sure: each.sure, letter: each.letter };
  }
  return known;
}
