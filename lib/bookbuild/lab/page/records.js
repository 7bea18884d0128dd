// Tables written as JSON: a record a line, a list of records, or an object of columns; nested ones get names with points.

// Returns {names, rows: cells and the number of each, as an editor counts them}.
function recordsOf(text, file) {
  const found = jsonRecords(text, file).map(({ record, number }) => {
    if (record === null || typeof record !== "object" || Array.isArray(record)) {
      refuse(`${file}: row ${number}: expected a record in JSON, found ${JSON.stringify(record).slice(0, 30)}.`);
    }
    return { cells: flat(record, "", new Map()), number };
  });
  const names = [...new Set(found.flatMap(({ cells }) => [...cells.keys()]))];
  if (!names.length) refuse(`${file}: no records; expected a JSON object a line, or a list of them.`);
  return { names, rows: found.map(({ cells, number }) => ({ cells: names.map((name) => cells.get(name) ?? ""), number })) };
}

function jsonRecords(text, file) {
  // Programs in Python write NaN and Infinity, which are no JSON: words in their place.
  const plain = text.replace(/("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b/g, (all, quoted) => quoted || `"${all}"`).trim();
  refuseTwice(plain, file);
  let whole;
  try {
    whole = JSON.parse(plain);
  } catch {
    return plain.split("\n").map((line, i) => ({ line: line.trim(), number: i + 1 })).filter(({ line }) => line)
      .map(({ line, number }) => {
        try {
          return { record: JSON.parse(line), number };
        } catch {
          return refuse(`${file}: line ${number}: not JSON; expected a record a line.`);
        }
      });
  }
  return (Array.isArray(whole) ? whole : partsOf(whole)).map((record, i) => ({ record, number: i + 1 }));
}

// The records of one object, in whichever way it holds them, as moelaws/runs/reading/records.py tells it.
function partsOf(whole) {
  if (!isObject(whole)) return [whole];
  const parts = Object.values(whole), names = Object.keys(whole);
  const lists = parts.filter((each) => Array.isArray(each) && each.some(isObject));
  if (lists.length === 1 && !isMeasured(whole)) return lists[0];
  const { columns, data } = whole;
  if (Array.isArray(columns) && columns.every((name) => typeof name === "string") && Array.isArray(data)
      && data.every((row) => Array.isArray(row) && row.length === columns.length)) {
    return data.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]])));
  }
  const keyed = parts.every(isObject);
  if (keyed && parts.length > 1) {
    const common = Object.keys(parts[0]).filter((key) => parts.every((part) => Object.hasOwn(part, key)));
    if (common.length >= 3 && common.some(measures)) return parts;
  }
  const alike = keyed && parts.every((part) => String(Object.keys(part).sort()) === String(Object.keys(parts[0]).sort()));
  const cells = alike ? parts.map(Object.values) : parts;
  if (!cells.length || cells.some((each) => !Array.isArray(each) || each.length !== cells[0].length)) return [whole];
  return cells[0].map((_, k) => Object.fromEntries(names.map((name, i) => [name, cells[i][k]])));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const measures = (name) => ["loss", "perplexity", "ppl"].some((word) => name.toLowerCase().includes(word));
const isMeasured = (record) => Object.entries(record).some(
  ([name, value]) => measures(name) || (isObject(value) && Object.keys(value).some(measures)));

function flat(record, before, cells) {
  for (const [key, value] of Object.entries(record)) {
    if (value && typeof value === "object" && !Array.isArray(value)) flat(value, `${before}${key}.`, cells);
    else cells.set((before + key).trim(), value === null ? "" : (typeof value === "object" ? JSON.stringify(value) : String(value)).trim());
  }
  return cells;
}

// A key that one record has twice: JSON.parse would take the last without a word.
function refuseTwice(text, file) {
  const open = [];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"\s*:?|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (token.endsWith(":") && open.length) {
      const key = token.slice(1, token.lastIndexOf('"'));
      if (open.at(-1).has(key)) refuse(`${file}: a record has the key '${key}' twice.`);
      open.at(-1).add(key);
    }
  }
}
