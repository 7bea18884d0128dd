// A table file as rows of text, looked over: what is wrong is said, and where.

const MOST_ROWS = 20000;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function refuse(sentence) {
  throw new (engine().LabError)(sentence);
}

// Returns {file, names, cells: rows of text, numbers: the row of each in the file, as an editor counts them}.
function readTable(text, file) {
  const body = text.replace(/^\ufeff/, "");
  const start = body.trimStart();
  if (!start) refuse(`${file}: the file is empty; a header with column names was expected.`);
  if (start.startsWith("<")) refuse(`${file}: a page of HTML or XML, not a table; download the file itself.`);
  if (/^\s*[[{]/.test(body) || /\.(json|jsonl|ndjson)(\.gz)?$/i.test(file)) {
    const { names, rows } = recordsOf(body, file);
    const records = rows.filter(({ cells }) => cells.some(Boolean));
    return checkedTable(file, names, records);
  }
  if (/^\|.*\|[ \t]*\r?\n[ \t]*\|[-:| \t]+\|/.test(start)) {
    refuse(`${file}: a table in Markdown; save it as CSV, with commas and without the line of dashes.`);
  }
  // Spreadsheets say in a first line what separates cells.
  const asked = /^\s*sep=(.)[ \t]*(?=[\r\n])/i.exec(body);
  const separator = asked ? asked[1] : separatorOf(body, file);
  const records = recordsOfCsv(body, separator, file);
  const [header, ...below] = belowComments(asked ? records.slice(1) : records);
  if (!header) refuse(`${file}: the file is empty; a header with column names was expected.`);
  const rows = below.map((row) => ({ number: row.number, cells: fittedCells(row, header.cells.length, separator, file) }));
  // A separator at the end of the header alone makes a column of nothing.
  const keep = header.cells.map((name, i) => i).filter((i) => header.cells[i] || rows.some(({ cells }) => cells[i]));
  const names = keep.map((i, place) => header.cells[i] || `Unnamed: ${place}`);
  const kept = keep.length === header.cells.length ? rows
    : rows.map(({ number, cells }) => ({ number, cells: keep.map((i) => cells[i]) }));
  const table = checkedTable(file, names, kept, `row ${header.number}: `);
  return { ...table, cells: withPoints(table.cells) };
}

function checkedTable(file, names, rows, where = "") {
  if (!rows.length) refuse(`${file}: the table has a header but no rows.`);
  if (rows.length > MOST_ROWS) {
    refuse(`${file}: ${rows.length} rows; the page takes at most ${MOST_ROWS}, and moelaws fit takes more.`);
  }
  const places = new Map();
  names.forEach((name, i) => {
    if (places.has(name)) {
      refuse(`${file}: ${where}columns ${places.get(name) + 1} and ${i + 1} are both called '${name}'; rename or remove one.`);
    }
    places.set(name, i);
  });
  const seen = new Map();
  const run = places.get("run_id");
  for (const { cells, number } of rows) {
    const all = cells.join("\0");
    if (seen.has(all)) refuse(`${file}: row ${number} repeats row ${seen.get(all)} in every column.`);
    seen.set(all, number);
  }
  const runs = new Set();
  for (const { cells, number } of run === undefined ? [] : rows) {
    if (runs.has(cells[run])) refuse(`${file}: row ${number}, column 'run_id': '${cells[run]}' occurs twice.`);
    if (cells[run]) runs.add(cells[run]);
  }
  return { file, names, places, cells: rows.map((each) => each.cells), numbers: rows.map((each) => each.number) };
}

// The cells of a column.
function cellsOf(table, name) {
  const at = table.places.get(name);
  return table.cells.map((row) => row[at]);
}

// The numbers of a column, NaN where a cell holds none.
function numbersOf(table, name) {
  return cellsOf(table, name).map(numberOf);
}

function numberOf(cell) {
  return NUMBER.test(cell) ? Number(cell) : NaN;
}
