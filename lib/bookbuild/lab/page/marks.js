// What points and commas in numbers stand for, by the rules of moelaws.runs: a decimal mark, or groups of thousands.

const WHOLE = /^[+-]?\d+(?:[eE][+-]?\d+)?$/;
const POINT = /^[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const DECIMAL_COMMA = /^[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][+-]?\d+)?$/;
const POINTED = /^[+-]?[1-9]\d{0,2}(?:\.\d{3})+$/;
const GROUPED = /^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$/;

// Rows of text with the numbers as programs write them. Where a column can be read both ways the others of the file decide;
// and a file has one decimal mark: commas are left alone where other columns have points.
function withPoints(rows) {
  const columns = rows[0].map((_, i) => rows.map((row) => row[i]).filter((cell) => !NOTHING.includes(cell.toLowerCase())));
  let found = columns.map(commasOf);
  if (found.includes("decimal") && columns.some((cells, i) => !found[i] && hasPoints(cells))) {
    found = found.map((each) => (each === "decimal" ? null : each));
  }
  const sure = [...new Set(found.filter((each) => each && each !== "either"))];
  const meanings = found.map((each, i) => {
    if (each === "either") return sure.length === 1 ? sure[0] : null;
    if (!each && sure.join() === "decimal" && groupsByPoints(columns[i])) return "decimal";
    return each;
  });
  return rows.map((row) => row.map((cell, i) => (meanings[i] ? withoutCommas(cell, meanings[i]) : cell)));
}

function commasOf(cells) {
  if (!cells.some((cell) => cell.includes(","))) return null;
  const odd = cells.filter((cell) => !WHOLE.test(cell));
  const decimal = odd.every((cell) => DECIMAL_COMMA.test(cell));
  const grouped = odd.every((cell) => GROUPED.test(cell) || POINT.test(cell));
  return decimal && grouped ? "either" : decimal ? "decimal" : grouped ? "thousands" : null;
}

function hasPoints(cells) {
  return cells.some((cell) => POINT.test(cell) && !POINTED.test(cell))
    && cells.every((cell) => POINT.test(cell) || WHOLE.test(cell));
}

function groupsByPoints(cells) {
  return cells.some((cell) => POINTED.test(cell)) && cells.every((cell) => POINTED.test(cell) || WHOLE.test(cell));
}

function withoutCommas(cell, meaning) {
  if (POINT.test(cell) && !POINTED.test(cell)) return cell;
  return meaning === "decimal" ? cell.replace(/\./g, "").replace(/,/g, ".") : cell.replace(/,/g, "");
}
