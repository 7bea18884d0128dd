// A formula as a tree: read from text, as moelaws.formulas reads it, and never evaluated as a program.
// Nodes: {kind: "number", value}, {kind: "name", id}, {kind: "negative", part}, {kind: "call", name, part},
// {kind: "binary", sign, left, right}. All uses of a defined name share one node.

const FUNCTIONS = ["exp", "ln", "log2", "log10", "sqrt"];
const LONGEST_FORMULA = 2000;
const DEEPEST = 60;
const MOST_LEVELS = 200;
const LARGEST_POWER = 100;
const TOKEN = /\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/^()]))/y;

// What a reader did that cannot be used: one sentence, shown as it is.
class LabError extends Error {}

function shown(text) {
  const word = String(text).replace(/\s+/g, " ");
  return "'" + (word.length > 80 ? word.slice(0, 77) + "..." : word) + "'";
}

function parse(text, definitions) {
  const known = {};
  for (const [name, definition] of Object.entries(definitions || {})) known[name] = readFormula(definition, known);
  return readFormula(text, known);
}

function readFormula(text, known) {
  if (text.length > LONGEST_FORMULA) {
    throw new LabError(`The formula has ${text.length} characters; expected at most ${LONGEST_FORMULA}.`);
  }
  const tree = new FormulaReader(text, known).whole();
  checkTree(tree, text);
  return tree;
}

class FormulaReader {
  constructor(text, known) {
    this.text = text.trimEnd();
    this.known = known;
    this.depth = 0;
    this.at = 0;
    this.tokens = [];
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < this.text.length) {
      const position = TOKEN.lastIndex;
      const found = TOKEN.exec(this.text);
      if (!found) {
        const blank = this.text.slice(position).length - this.text.slice(position).trimStart().length;
        this.fail(`${shown(this.text[position + blank])} has no meaning here`, position + blank);
      }
      const kind = found[1] !== undefined ? "number" : found[2] !== undefined ? "name" : "sign";
      const word = (found[1] || found[2] || found[3]).replace("**", "^");
      this.tokens.push({ kind, word, place: TOKEN.lastIndex - (found[1] || found[2] || found[3]).length });
    }
  }

  fail(what, place) {
    throw new LabError(`Formula ${shown(this.text)}: ${what} (character ${place + 1}).`);
  }

  peek() {
    return this.tokens[this.at] || { kind: "end", word: "", place: this.text.length };
  }

  take() {
    const token = this.peek();
    this.at += 1;
    return token;
  }

  deeper(read) {
    this.depth += 1;
    if (this.depth > DEEPEST) this.fail("nested too deeply", this.peek().place);
    const node = read();
    this.depth -= 1;
    return node;
  }

  whole() {
    const node = this.sum();
    const { kind, word, place } = this.peek();
    if (kind !== "end") this.fail(`${shown(word)} was not expected`, place);
    return node;
  }

  sum() {
    return this.deeper(() => {
      let node = this.product();
      while ("+-".includes(this.peek().word || "?")) {
        const sign = this.take().word;
        node = { kind: "binary", sign, left: node, right: this.product() };
      }
      return node;
    });
  }

  product() {
    let node = this.signed();
    while ("*/".includes(this.peek().word || "?")) {
      const sign = this.take().word;
      node = { kind: "binary", sign, left: node, right: this.signed() };
    }
    return node;
  }

  signed() {
    let negative = false;
    while ("+-".includes(this.peek().word || "?")) negative = negative !== (this.take().word === "-");
    const node = this.power();
    return negative ? { kind: "negative", part: node } : node;
  }

  power() {
    const base = this.atom();
    if (this.peek().word !== "^") return base;
    return this.deeper(() => {
      this.take();
      return { kind: "binary", sign: "^", left: base, right: this.signed() };
    });
  }

  atom() {
    const { kind, word, place } = this.take();
    if (kind === "number") return { kind: "number", value: Number(word) };
    if (kind === "name" && this.peek().word === "(") {
      if (!FUNCTIONS.includes(word)) this.fail(`no function ${shown(word)}; there are ${FUNCTIONS.join(", ")}`, place);
      return { kind: "call", name: word, part: this.bracket() };
    }
    if (kind === "name") return Object.hasOwn(this.known, word) ? this.known[word] : { kind: "name", id: word };
    if (word === "(") {
      this.at -= 1;
      return this.bracket();
    }
    return this.fail(word ? `${shown(word)} was not expected` : "it ends too early", place);
  }

  bracket() {
    const opened = this.take().place;
    const node = this.sum();
    if (this.take().word !== ")") this.fail("this bracket is not closed", opened);
    return node;
  }
}

function partsOf(node) {
  return node.kind === "binary" ? [node.left, node.right] : node.part ? [node.part] : [];
}

// Every part of a tree, a shared one once for each use.
function walkTree(node, visit) {
  visit(node);
  for (const part of partsOf(node)) walkTree(part, visit);
}

function namesOf(tree) {
  const found = new Set();
  walkTree(tree, (node) => node.kind === "name" && found.add(node.id));
  return [...found];
}

// Refuse a tree that nothing should be made to compute: too deep, a constant that is no number, a power out of range.
function checkTree(tree, text) {
  const seen = new Map();
  const visit = (node) => {
    if (seen.has(node)) return seen.get(node);
    const below = partsOf(node).map(visit);
    const levels = 1 + Math.max(0, ...below.map((each) => each.levels));
    if (levels > MOST_LEVELS) {
      throw new LabError(`Formula ${shown(text)}: more than ${MOST_LEVELS} parts within parts.`);
    }
    if (node.kind === "binary" && node.sign === "^" && Math.abs(below[1].value) > LARGEST_POWER) {
      throw new LabError(`Formula ${shown(text)}: a power of ${below[1].value}; expected at most ${LARGEST_POWER}.`);
    }
    let value = null;
    if (node.kind === "number") value = node.value;
    else if (below.length && below.every((each) => each.value !== null)) {
      value = numberOf(node, below.map((each) => each.value));
    }
    if (value !== null && !Number.isFinite(value)) {
      throw new LabError(`Formula ${shown(text)}: a part without names is no finite number.`);
    }
    seen.set(node, { levels, value });
    return seen.get(node);
  };
  visit(tree);
}

// A part's value from the values of its parts.
function numberOf(node, [a, b]) {
  if (node.kind === "negative") return -a;
  if (node.kind === "call") {
    return { exp: Math.exp, ln: Math.log, log2: Math.log2, log10: Math.log10, sqrt: Math.sqrt }[node.name](a);
  }
  return { "+": a + b, "-": a - b, "*": a * b, "/": a / b, "^": a ** b }[node.sign];
}
