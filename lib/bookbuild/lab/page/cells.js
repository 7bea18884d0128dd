// CSV cut into cells by the rules of moelaws.runs, which are those of Python's csv module: spaces may stand before a
// quoted cell, a quote that is not closed is an error of its row. (Vega's reader knows neither.)

const SEPARATORS = [",", "\t", ";", "|"];
const LOOKED_AT = 51;

// The records of a text, blank ones left out: {number, cells}. A record is a row, even where a quoted cell spans lines.
function recordsOfCsv(text, separator, file, most = Infinity) {
  const cellEnd = new RegExp(`[${separator.replace(/[\]\\^-]/, "\\$&")}\r\n]`, "g");
  const found = [];
  let number = 0;
  let at = 0;
  const cell = () => {
    while (separator !== "\t" && text[at] === " ") at += 1;
    if (text[at] !== '"') {
      cellEnd.lastIndex = at;
      const end = cellEnd.exec(text);
      const from = at;
      at = end ? end.index : text.length;
      return text.slice(from, at).trim();
    }
    let inner = "";
    for (at += 1; ; at += 2) {
      const end = text.indexOf('"', at);
      if (end < 0) refuse(`${file}: row ${number}: not a CSV table (a quote is not closed).`);
      inner += text.slice(at, end);
      at = end;
      if (text[at + 1] !== '"') break;
      inner += '"';
    }
    at += 1;
    if (at < text.length && ![separator, "\r", "\n"].includes(text[at])) {
      refuse(`${file}: row ${number}: not a CSV table ('${separator}' expected after '"').`);
    }
    return inner.trim();
  };
  while (at < text.length && found.length < most) {
    number += 1;
    const cells = [cell()];
    while (text[at] === separator) {
      at += 1;
      cells.push(cell());
    }
    at += text[at] === "\r" && text[at + 1] === "\n" ? 2 : 1;
    if (cells.some(Boolean)) found.push({ number, cells });
  }
  return found;
}

// Without the lines above the header that begin with # and have fewer cells than the first that does not.
function belowComments(records) {
  const first = records.findIndex(({ cells }) => !cells[0].startsWith("#"));
  if (first < 0) return records;
  const wide = records.slice(0, first).filter(({ cells }) => cells.length >= records[first].cells.length);
  return [...wide, ...records.slice(first)];
}

// The separator under which rows have as many cells as the header; the most columns if several do.
function separatorOf(text, file) {
  let best = [false, 0, ","];
  for (const separator of SEPARATORS) {
    let rows = [];
    try {
      rows = belowComments(recordsOfCsv(text, separator, file, LOOKED_AT)).map(({ cells }) => cells);
    } catch {
      continue;
    }
    const [header, ...others] = rows;
    if (!header || (separator !== "," && others.length && others.every((cells) => cells.length === 1))) continue;
    const fits = others.every((cells) => cells.length === header.length
      || (cells.length > header.length && !cells.slice(header.length).some(Boolean)));
    const equal = fits && header.length > 1;
    const width = equal || header.length > 1 ? header.length : 0;
    if (Number(equal) > Number(best[0]) || (equal === best[0] && width > best[1])) best = [equal, width, separator];
  }
  return best[2];
}

// The cells of a row, as many as the header has.
function fittedCells({ number, cells }, width, separator, file) {
  if (cells.length === width) return cells;
  if (cells.length > width && !cells.slice(width).some(Boolean)) return cells.slice(0, width);
  const hint = separator === "," && cells.length > width ? "; decimal commas need another separator" : "";
  return refuse(`${file}: row ${number} has ${cells.length} cell${cells.length > 1 ? "s" : ""} where the header has ${width}:`
    + ` not a CSV table${hint}.`);
}
