// Which column holds a quantity, by its name: the rules of moelaws.importing, with its lists, which are written in when
// the book is built. NAMES: names without case and signs; LETTERS: of papers; COUNTED_NAMES: words that say it beside a
// unit; WORDINGS: what the words must be; PLACES: parts before a point; UNITS: factors by their word.

const IN_UNITS = /_params$|tokens$|_flops$|^budget$|^sparsity$|^activation_ratio$/;
const WORDS = /[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+/g;
const OF_FLOPS = /flops?$|days?$/;
const LONGEST_NAME = 12;

const keyOf = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, "");

function wordsOf(name) {
  const plain = name.replaceAll("MoE", "Moe").replace(/FLOPS?/gi, (found) => found.toLowerCase());
  return (plain.match(WORDS) || []).map((word) => word.toLowerCase());
}

// A name without its unit, and the factor that the unit is; 1 and no unit where it has none.
function withoutUnit(name, quantity) {
  const bare = { base: name, factor: 1, unit: false };
  if (!IN_UNITS.test(quantity)) return bare;
  const ofFlops = quantity === "train_flops" || quantity === "budget";
  const flops = ofFlops && flopsIn(name);
  if (flops) return flops;
  const shapes = [/^([^]*?)[\s_]*[([]\s*(?:in\s+)?([^()[\]]+?)\s*[)\]]\s*$/,
    /^(.*?[^\s_])(?:[\s_]+(?:in[\s_]+)?)([A-Za-z]+|%|1?[eE][0-9]{1,2})$/];
  for (const [i, shape] of shapes.entries()) {
    const found = shape.exec(name);
    if (!found) continue;
    const whole = found[2].toLowerCase().replace(/[\s_/-]/g, "");
    const word = whole.replace(/(?:of)?(?:tokens?|params?|parameters?)$|(?<=[0-9])flops?$/, "") || whole;
    const power = /^(?:x|×|\*)?\s*(?:1?e\+?|10\^|10\*\*)(\d{1,2})$/i.exec(word);
    if (power) return { base: found[1], factor: Number(`1e${power[1]}`), unit: true };
    if (Object.hasOwn(UNITS, word) && (ofFlops || !OF_FLOPS.test(word))) return { base: found[1], factor: UNITS[word], unit: true };
    if (["flop", "flops", "tokens", "token", "params", "parameters", "ratio", "total", "count", "n", "#"].includes(word)) {
      return i === 0 ? { ...bare, base: found[1] } : bare;
    }
  }
  return bare;
}

// Giga-, tera- and petaflops by themselves are more often a second's; with `train` or `total` they are a run's.
function flopsIn(name) {
  const said = name.replace(/[-/]|(?<=[Ff])lop\/?s?(?=-)/g, "").toLowerCase().match(/[a-z0-9]+/g) || [];
  for (const [i, word] of said.entries()) {
    const factor = UNITS[word];
    if (!(factor >= 1e9) || !OF_FLOPS.test(word)) continue;
    const rest = said.filter((_, j) => j !== i);
    if (factor >= 1e18 || rest.some((each) => ["train", "training", "total"].includes(each))) {
      return { base: [...rest, "flops"].join(" "), factor, unit: true };
    }
  }
  return null;
}

// How well a name's words say a quantity, less is better; null where they do not.
function rankOfWords(name, quantity) {
  const wording = WORDINGS[quantity];
  if (!wording) return null;
  const said = wordsOf(name);
  if (said.length <= LONGEST_NAME) {
    for (const [line, groups] of wording.of.entries()) {
      for (const rest of without(said, groups)) {
        const others = rest.some((word) => !wording.beside.includes(word));
        if (!others || (wording.but && !rest.some((word) => wording.but.includes(word)))) {
          return [line, Number(others), rest.length];
        }
      }
    }
  }
  const part = /^([^./]+)[./]([^]+)$/.exec(name);
  return part && PLACES.includes(part[1].trim().toLowerCase()) ? rankOfWords(part[2], quantity) : null;
}

// What is left of some words when one of each group is taken, in every way that there is.
function without(said, groups) {
  if (!groups.length) return [said];
  return said.flatMap((word, i) => groups[0].includes(word)
    ? without(said.filter((_, j) => j !== i), groups.slice(1)) : []);
}

// The columns of a table for the quantities that they hold, a column for one of them: {quantity: {name, factor, unit}}. A
// quantity's own name comes first, then names that people give to it, the letters of papers, and what the words say.
function matchedColumns(table) {
  table.matched = table.matched || matchColumns(table);
  return table.matched;
}

// The column that most likely holds a quantity; empty where none does, or where several might.
const guess = (table, quantity) => (matchedColumns(table)[quantity] || { name: "" }).name;

function matchColumns(table) {
  const found = {};
  const used = new Set();
  const bases = [new Map(), new Map(), new Map()]; // a name without a unit, for what has none, counts, and FLOPs
  const bareFor = (quantity) => {
    const kind = !IN_UNITS.test(quantity) ? 0 : quantity === "train_flops" || quantity === "budget" ? 2 : 1;
    for (const name of bases[kind].size ? [] : table.names) {
      const bare = withoutUnit(name, quantity);
      bases[kind].set(name, { name, ...bare, key: keyOf(bare.base) });
    }
    return [...bases[kind].values()].filter(({ name }) => !used.has(name));
  };
  const take = (quantity, column) => {
    if (!column) return;
    found[quantity] = { name: column.name, factor: column.factor, unit: column.unit };
    used.add(column.name);
  };
  const filled = (name) => cellsOf(table, name).some(Boolean);
  for (const quantity of Object.keys(NAMES)) {
    if (table.places.has(quantity)) take(quantity, { name: quantity, factor: 1, unit: false });
    else take(quantity, listedColumn(bareFor(quantity), quantity, filled));
  }
  moveActiveExperts(table, found);
  for (const quantity of Object.keys(NAMES).filter((each) => !found[each])) {
    const columns = wordedColumns(table, bareFor(quantity), quantity);
    if (columns.length === 1) take(quantity, columns[0]);
  }
  return found;
}

function listedColumn(bare, quantity, filled) {
  const wanted = NAMES[quantity] || [];
  const rankOf = ({ base, key, unit }) => {
    if ((LETTERS[quantity] || []).includes(base.trim())) return wanted.length;
    const at = wanted.indexOf(key);
    if (at >= 0) return at;
    return unit && (COUNTED_NAMES[quantity] || []).includes(key) ? wanted.length + 1 : Infinity;
  };
  let best = null;
  for (const column of bare) {
    const rank = rankOf(column);
    if (rank < (best ? best.rank : Infinity) && filled(column.name)) best = { ...column, rank };
  }
  return best;
}

// The columns whose names say it best by their words; one of several that hold the same numbers.
function wordedColumns(table, bare, quantity) {
  const score = ({ rank }) => rank[0] * 2 + rank[1];
  const worded = bare.map((column) => ({ ...column, rank: rankOfWords(column.base, quantity) }))
    .filter(({ rank, name }) => rank && mayBe(cellsOf(table, name), quantity));
  const least = Math.min(...worded.map(score));
  const best = worded.filter((each) => score(each) === least);
  const numbers = new Set(best.map(({ name, factor }) => numbersOf(table, name).map((each) => each * factor).join()));
  return numbers.size === 1 ? best.slice(0, 1) : best;
}

const HAND_COUNTED = ["n_experts", "top_k", "shared_experts"];
const MOST_EXPERTS = 1e6;

// Whether a column holds something, and what is counted by hand holds no millions.
function mayBe(cells, quantity) {
  if (!HAND_COUNTED.includes(quantity)) return cells.some(Boolean);
  const numbers = cells.map(numberOf).filter(Number.isFinite);
  return numbers.length > 0 && numbers.every((each) => each <= MOST_EXPERTS);
}

// `n_active` is a size, but beside a number of experts, and never above it, it is how many of them work.
function moveActiveExperts(table, found) {
  const active = found.active_params;
  if (!active || found.top_k || !found.n_experts || keyOf(active.name) !== "nactive") return;
  const experts = numbersOf(table, found.n_experts.name);
  if (numbersOf(table, active.name).every((each, i) => each <= experts[i] && Number.isInteger(each))) {
    found.top_k = active;
    delete found.active_params;
  }
}
