// Which runs ended well, by the words of a column for it.

// True for a word that says so, false for one that says they did not, null for one that may mean either.
function endedWell(cell) {
  const { endedWell: good, didNot } = engine().STATUS;
  const word = cell.toLowerCase().replace(/[.!]+$/, "");
  if (word === "" || good.includes(word)) return true;
  const bad = didNot.includes(word.replace(/[ -]/g, "_")) || didNot.includes(word.split(/[\s:;,(+/-]/)[0]);
  return bad ? false : null;
}

// One truth value a row; all true without a column that says so. A run without a loss has not finished, whatever it is
// called.
function finishedRows(table, losses) {
  const found = matchedColumns(table).status;
  if (!found) return table.cells.map(() => true);
  return cellsOf(table, found.name).map((cell, i) => {
    const verdict = endedWell(cell);
    if (verdict !== null || !Number.isFinite(losses[i])) return verdict === true;
    return refuse(`${table.file}: row ${table.numbers[i]}, column '${found.name}': found '${cell}', which may or may not`
      + " mean finished (as finished, done and completed do); keep the rows you mean, or rename the column.");
  });
}

// A column that says of some runs, under a name that is not asked, that they did not finish; or none.
function unreadStatus(table) {
  if (matchedColumns(table).status) return "";
  return table.names.find((name) => STATUS_NAMES.includes(name.trim().toLowerCase())
    && cellsOf(table, name).some((cell) => cell && endedWell(cell) === false)) || "";
}
