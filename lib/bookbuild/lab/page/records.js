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
  const numbered = (records) => records.map((record, i) => ({ record, number: i + 1 }));
  if (Array.isArray(whole)) return numbered(whole);
  const columns = Object.values(whole).map((each) => (each && typeof each === "object" ? Object.values(each) : null));
  if (!columns.length || columns.some((each) => !each || each.length !== columns[0].length)) return numbered([whole]);
  const names = Object.keys(whole);
  return numbered(columns[0].map((_, k) => Object.fromEntries(names.map((name, i) => [name, columns[i][k]]))));
}

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
