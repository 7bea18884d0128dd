// A table file as rows of text: Vega's own reader cuts a CSV into cells, this looks it over and says what is wrong, where.

const LARGEST_FILE = 20e6;
const MOST_ROWS = 20000;
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function refuse(sentence) {
  throw new (engine().LabError)(sentence);
}

// Returns {file, names, cells: rows of text, numbers: the row of each in the file, as an editor counts them}.
async function readTable(text, file) {
  const body = text.replace(/^\ufeff/, "");
  if (!body.trim()) refuse(`${file}: the file is empty; a header with column names was expected.`);
  if (body.startsWith("PAR1")) refuse(`${file}: a Parquet table; the page reads CSV, and moelaws fit reads Parquet.`);
  if (body.includes("\0")) refuse(`${file}: not text; expected a CSV table in UTF-8.`);
  if (/^\s*</.test(body)) refuse(`${file}: a page of HTML or XML, not a table; download the file itself.`);
  if (body.includes("\ufffd")) refuse(`${file}: not UTF-8 text; save the table as CSV in UTF-8.`);
  if (/^\s*[[{]/.test(body)) {
    const { names, rows } = recordsOf(body, file);
    checkShape(file, names, rows, ",");
    return { file, names, cells: rows.map((each) => each.cells), numbers: rows.map((each) => each.number) };
  }
  if ((body.match(/"/g) || []).length % 2) refuse(`${file}: not a CSV table: a quote is not closed.`);
  // Lines of nothing, and of comments, above the header.
  const skipped = body.match(/^(?:(?:[ \t]*|#[^\r\n]*)(?:\r\n|\n|\r))*/)[0];
  const rest = body.slice(skipped.length);
  const separator = separatorOf(rest);
  const rows = await cellsOf(rest, separator);
  const width = rows[0].reduce((most, cell, i) => (cell ? i + 1 : most), 0);
  const names = rows[0].slice(0, width).map((name, i) => name || `Unnamed: ${i}`);
  const before = skipped.split(/\r\n|\n|\r/).length - 1;
  const kept = rows.map((cells, i) => ({ cells, number: before + i + 1 })).slice(1).filter(({ cells }) => cells.some(Boolean));
  checkShape(file, names, kept, separator);
  const cells = withPoints(kept.map((each) => each.cells.slice(0, width)));
  return { file, names, cells, numbers: kept.map((each) => each.number) };
}

function separatorOf(text) {
  const head = text.slice(0, text.search(/\r|\n|$/)).replace(/"[^"]*"/g, "");
  return [",", "\t", ";", "|"].map((each) => [head.split(each).length, each]).sort((a, b) => b[0] - a[0])[0][1];
}

async function cellsOf(text, separator) {
  const head = text.slice(0, text.search(/\r|\n|$/));
  // One more column than the header can have: what lands there does not belong to the table.
  const header = Array.from({ length: head.split(separator).length + 1 }, (_, i) => String(i));
  const spec = {
    $schema: "https://vega.github.io/schema/vega/v6.json",
    data: [{ name: "table", values: text, format: { type: "dsv", delimiter: separator, header } }],
  };
  await loadVega();
  const { view } = await window.vegaEmbed(document.createElement("div"), spec, { actions: false, renderer: "svg" });
  const rows = view.data("table").map((row) => header.map((name) => String(row[name] ?? "").trim()));
  view.finalize();
  return rows;
}

function checkShape(file, names, rows, separator) {
  if (!rows.length) refuse(`${file}: the table has a header but no rows.`);
  if (rows.length > MOST_ROWS) {
    refuse(`${file}: ${rows.length} rows; the page takes at most ${MOST_ROWS}, and moelaws fit takes more.`);
  }
  names.forEach((name, i) => {
    const first = names.indexOf(name);
    if (first < i) refuse(`${file}: columns ${first + 1} and ${i + 1} are both called '${name}'; rename or remove one.`);
  });
  const seen = new Map();
  for (const { cells, number } of rows) {
    if (cells.slice(names.length).some(Boolean)) {
      refuse(`${file}: row ${number} has more cells than the header, which has ${names.length}: not a CSV table`
        + `${separator === "," ? "; decimal commas need another separator" : ""}.`);
    }
    const all = JSON.stringify(cells);
    if (seen.has(all)) refuse(`${file}: row ${number} repeats row ${seen.get(all)} in every column.`);
    seen.set(all, number);
  }
}

// The numbers of a column, NaN where a cell holds none.
function numbersOf(table, name) {
  const at = table.names.indexOf(name);
  return table.cells.map((row) => (NUMBER.test(row[at]) ? Number(row[at]) : NaN));
}

// Which rows are of runs that ended well, by the words of a column called status; all without one.
function finishedRows(table, losses) {
  const at = table.names.findIndex((name) => name.toLowerCase() === "status");
  if (at < 0) return table.cells.map(() => true);
  const { endedWell, didNot } = engine().STATUS;
  return table.cells.map((row, i) => {
    const word = row[at].toLowerCase().replace(/[.!]+$/, "");
    if (word === "" || endedWell.includes(word)) return true;
    if (didNot.includes(word.replace(/[ -]/g, "_")) || didNot.includes(word.split(/[\s:;,(+/-]/)[0])) return false;
    if (!Number.isFinite(losses[i])) return false;
    return refuse(`Row ${table.numbers[i]}, column '${table.names[at]}': found '${row[at]}', which may or may not mean`
      + " finished; keep the rows you mean and rename the column.");
  });
}
