// A fit as its reader sees it: the verdict in a sentence, parameters with intervals, pictures, the best model at a
// budget, the file.

function showResult(root, { record, runs }, job) {
  const law = engine().LAWS.find((each) => each.name === record.law);
  const title = element("h3", { tabindex: "-1" }, law ? `${record.law}, fitted` : "Your formula, fitted");
  const own = { formula: record.formula, definitions: {}, target: "loss" };
  const formula = element("p", { class: "lab-note" }, what(law || own));
  const verdict = element("p", { class: "lab-verdict" }, element("strong", {}, record.status), `: ${record.message}. `,
    `The best of ${record.starts} starts; ${record.starts_at_optimum} of them ended there.`,
    job.left ? ` ${job.left} rows of runs that did not finish are left out.` : "");
  const pictures = element("div", { class: "lab-pictures" });
  root.replaceChildren(title, formula, verdict, ...warned(record, job.notes), parameterTable(record, law),
    qualityTable(record, job), pictures, actions(record, job));
  if (engine().canPlan(engine().LAWS.includes(law) ? law : { variables: job.job.law.variables }, record.columns)) {
    root.append(budgetForm(record, job));
  }
  drawRuns(pictures, record, runs, job);
  title.focus();
}

function warned(record, notes) {
  return [...(record.design ? [record.design] : []), ...notes].map((each) => element("p", { class: "lab-note" },
    `${capital(each).replace(/\.$/, "")}.`));
}

function parameterTable(record, law) {
  const meaning = Object.fromEntries((law ? law.parameters : []).map((each) => [each.name, each.meaning]));
  const rows = Object.entries(record.params).map(([name, value]) => {
    const ends = record.intervals[name];
    const kinds = record.interval_ends[name] || [];
    const low = ends ? (ends[0] === null ? "no end" : said(ends[0])) : "–";
    const high = ends ? (ends[1] === null ? "no end" : said(ends[1])) : "–";
    const notes = kinds.map((kind, i) => {
      const side = i ? "above" : "below";
      return { open: `open ${side}`, bound: `at its bound ${side}`, unknown: `end ${side} not found` }[kind];
    }).filter(Boolean);
    if (record.fixed.includes(name)) notes.push("held");
    else if (!record.identified[name]) notes.push("the runs do not pin it down");
    return [name, said(value, 5), low, high, [meaning[name], notes.join(", ")].filter(Boolean).join("; ")];
  });
  const caption = `Parameters with 95 % intervals. ${capital(record.interval_method)}.`;
  return tableOf(caption, ["", "value", "low", "high", ""], rows);
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function qualityTable(record, job) {
  const row = (what, q) => [what, String(q.n), said(q.rmse_log, 3), said(q.r2, 4)];
  const rows = [row("fitted", { ...record, n: record.n_runs })];
  if (record.holdout) rows.push(row(`held out: ${job.hold.words}`, record.holdout));
  return tableOf("How well the law predicts the runs", ["runs", "number", "error of ln L (RMS)", "R²"], rows);
}

function actions(record, job) {
  const save = element("button", { type: "button", class: "lab-button", onclick: () => {
    const address = URL.createObjectURL(new Blob([`${JSON.stringify(record, null, 2)}\n`], { type: "application/json" }));
    element("a", { href: address, download: `${job.table.file.replace(/\.[^.]*$/, "")}.${record.law}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  } }, "Save as JSON");
  const note = element("p", { class: "lab-note" }, "The file is the one that moelaws fit --json writes;"
    + " moelaws.load_fit reads it. The same on the command line:");
  return element("div", {}, element("div", { class: "lab-actions" }, save), note,
    element("pre", { class: "lab-scroll", tabindex: "0" }, element("code", {}, commandOf(record, job))));
}

function quoted(word) {
  return /^[\w./=,*:+-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`;
}

function named(name) {
  return /[,=`]/.test(name) ? `\`${name.replace(/`/g, "``")}\`` : name;
}

// The command of moelaws that makes this fit.
function commandOf(record, job) {
  const parts = ["moelaws fit", quoted(job.table.file)];
  if (job.job.law.formula) {
    parts.push("--formula", quoted(record.formula), "--variables",
      quoted(Object.entries(record.columns).map(([letter, name]) => `${letter}=${named(name)}`).join(",")));
  } else parts.push("--law", record.law);
  const read = [...job.letters.flatMap(({ found }) => found.maps), ...job.target.maps];
  const maps = new Map(read.filter(({ name, source, sure }) => name !== source || sure)
    .map(({ name, source, times, sure }) => [name, `${name}=${named(source)}${sure ? `*${times}` : ""}`]));
  if (maps.size) parts.push("--map", quoted([...maps.values()].join(",")));
  if (record.objective !== "huber-log") parts.push("--objective", record.objective);
  if (job.weight) parts.push("--weights", quoted(job.weight));
  if (job.hold) parts.push("--holdout", quoted(conditionOf(job.hold, read, job.table)));
  return [...parts, "--json", "fit.json"].join(" ");
}

// The condition on held-out runs as the command has it: of a column that counts in another unit, in the book's.
function conditionOf({ column, sign, limit, words }, read, table) {
  const guessed = Object.entries(matchedColumns(table)).map(([name, { name: source, factor }]) => ({ name, source, times: factor }));
  const found = [...read, ...guessed].find(({ source }) => source === column);
  if (found && found.times !== 1) return `${found.name} ${sign} ${Number((limit * found.times).toPrecision(12))}`;
  return /^[A-Za-z_]\w*$/.test(column) ? words : `\`${column.replace(/`/g, "``")}\` ${sign} ${limit}`;
}

function drawRuns(root, record, runs, job) {
  const letters = Object.keys(job.job.data);
  const values = runs.map((run, i) => ({ ...run, percent: 100 * run.residual, row: job.job.rows[i],
    ...Object.fromEntries(letters.map((letter) => [`at_${letter}`, job.job.data[letter][i]])) }));
  const numbers = ["observed", "predicted", "residual"].map((name) => ({ field: name, format: ".4f" }));
  const tooltip = [{ field: "row", title: "row" }, ...numbers];
  const points = { type: "point", color: BLUE, filled: true, size: 30, opacity: 0.7 };
  const losses = values.flatMap((each) => [each.observed, each.predicted]);
  const ends = [Math.min(...losses), Math.max(...losses)];
  const against = element("div", { class: "lab-picture" });
  const beside = element("div", { class: "lab-picture" });
  const named = letters.map((letter) => [letter, `${letter}: ${record.columns[letter]}`]);
  const picked = select(named, letters[0], () => residuals());
  const residuals = () => {
    const at = `at_${picked.value}`;
    const onLog = record.objective !== "lsq";
    const scale = scaleOf(values.map((each) => each[at]));
    const ticks = scale.type === "log" ? powersOf(values.map((each) => each[at])) : null;
    return draw(beside, `Residuals of the runs against ${picked.value}`, {
      data: { values }, height: 220, layer: [
        { data: { values: [{ zero: 0 }] }, mark: { type: "rule", color: ORANGE },
          encoding: { y: { field: "zero", type: "quantitative" } } },
        { mark: points, encoding: {
          x: { field: at, type: "quantitative", scale,
            axis: axisOf(`${picked.value}: ${record.columns[picked.value]}`, true, ticks) },
          y: { field: onLog ? "percent" : "residual", type: "quantitative",
            axis: axisOf(onLog ? "ln L − ln L̂, %" : "L − L̂") }, tooltip } },
      ] });
  };
  root.replaceChildren(against, field("residuals against", picked), beside);
  draw(against, `Observed against predicted losses of ${values.length} runs`, {
    data: { values }, height: 260, layer: [
      { data: { values: ends.map((each) => ({ x: each, y: each })) }, mark: { type: "line", color: ORANGE, strokeWidth: 1 },
        encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } } },
      { mark: points, encoding: {
        x: { field: "predicted", type: "quantitative", scale: { zero: false }, axis: axisOf("loss that the law says") },
        y: { field: "observed", type: "quantitative", scale: { zero: false }, axis: axisOf("loss that the run has") }, tooltip } },
    ] });
  residuals();
}
