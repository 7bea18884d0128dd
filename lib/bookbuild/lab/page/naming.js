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

// The column that most likely holds a quantity: of its own name, of a name that people give to it, of the letter that
// papers do, then by its words; empty where none does, or where several might.
function guess(table, quantity) {
  if (table.names.includes(quantity)) return quantity;
  const bare = table.names.map((name) => ({ name, ...withoutUnit(name, quantity) }));
  const wanted = NAMES[quantity] || [];
  const listed = bare.map(({ name, base, unit }) => {
    if ((LETTERS[quantity] || []).includes(base.trim())) return { name, rank: wanted.length };
    const at = wanted.indexOf(keyOf(base));
    if (at >= 0) return { name, rank: at };
    return { name, rank: unit && (COUNTED_NAMES[quantity] || []).includes(keyOf(base)) ? wanted.length + 1 : Infinity };
  });
  const least = Math.min(...listed.map((each) => each.rank));
  if (Number.isFinite(least)) return listed.find((each) => each.rank === least).name;
  const worded = bare.map(({ name, base }) => ({ name, rank: rankOfWords(base, quantity) })).filter((each) => each.rank);
  const score = ({ rank }) => rank[0] * 2 + rank[1];
  const best = worded.filter((each) => score(each) === Math.min(...worded.map(score)));
  return best.length === 1 ? best[0].name : "";
}
