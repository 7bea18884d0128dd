// The form: a table, a law, the columns that it reads, what is held out; then a fit, with its progress.

const OWN = "a formula of your own";
const OBJECTIVES = [["huber-log", "Huber loss of ln L (default)"], ["lsq-log", "squares of ln L"], ["lsq", "squares of L"]];

function fitForm(root) {
  const status = element("p", { class: "lab-said", role: "status", "aria-live": "polite" });
  const wrong = element("p", { class: "lab-wrong", role: "alert" });
  const choices = element("div", {});
  const result = element("div", { class: "lab-result" });
  const state = { table: null, running: null };
  const tell = (sentence) => { status.textContent = sentence; };
  const fail = (error) => {
    tell("");
    wrong.textContent = error instanceof engine().LabError ? error.message : `This did not work: ${error.message}.`;
    wrong.scrollIntoView({ block: "nearest" });
  };
  const open = async (given, name) => {
    wrong.textContent = "";
    result.replaceChildren();
    try {
      state.table = readTable(await given, name);
      tell(`${name}: ${state.table.cells.length} rows, ${state.table.names.length} columns. Nothing left your computer.`);
      choices.replaceChildren(choicesOf(state, { tell, fail, wrong, result }));
    } catch (error) {
      state.table = null;
      choices.replaceChildren();
      fail(error);
    }
  };
  root.append(tableChooser(open), status, wrong, choices, result);
}

// A file by the dialog, by drag and drop, or the example.
function tableChooser(open) {
  const take = (file) => {
    if (!file) return;
    open(textOf(file), file.name);
  };
  const input = element("input", { type: "file", accept: ".csv,.tsv,.txt,.json,.jsonl,.ndjson,.gz,text/csv",
    onchange: () => take(input.files[0]),
    // The same file again, after it was mended, is a change too.
    onclick: () => { input.value = ""; } });
  const zone = element("div", { class: "lab-drop",
    ondragover: (event) => { event.preventDefault(); zone.classList.add("lab-over"); },
    ondragleave: () => zone.classList.remove("lab-over"),
    ondrop: (event) => {
      event.preventDefault();
      zone.classList.remove("lab-over");
      take(event.dataTransfer.files[0]);
    } },
    field("Your run table (CSV or JSON lines), one row a run", input,
      "Drop a file here or choose one. It is read in this page and goes nowhere."));
  const example = window.moelawsExample;
  if (example) {
    zone.append(element("button", { type: "button", class: "lab-button lab-quiet",
      onclick: () => open(example, "isoflop.csv") }, "Use this book's runs"));
  }
  return zone;
}

function choicesOf(state, say) {
  const letters = (law) => law.variables.map(({ symbol }) => symbol).join(", ");
  const laws = [...engine().LAWS.map((law) => [law.name, `${law.name}: ${targetOf(law)}(${letters(law)})`]), [OWN, OWN]];
  const columns = element("fieldset", { class: "lab-fields" });
  let chooser = null;
  const law = select(laws, firstLaw(state.table), () => show());
  const show = () => {
    chooser = law.value === OWN ? ownColumns(state.table) : publishedColumns(state.table, engine().lawNamed(law.value));
    columns.replaceChildren(element("legend", {}, "Where the law's letters are read from"), ...chooser.made);
  };
  show();
  const held = holdOut(state.table);
  const objective = select(OBJECTIVES, "huber-log");
  const weight = choice(state.table, [["", "all runs alike"], ...state.table.names.map((name) => [name, name])], "");
  const seed = element("input", { type: "number", min: "0", step: "1", value: "0" });
  const more = element("details", { class: "lab-more" }, element("summary", {}, "Held-out runs, objective, weights"),
    element("div", { class: "lab-fields" }, held.made, field("objective", objective), field("weight of each run", weight),
      field("seed of the starts", seed)));
  // How far a fit is changes too often to be read out: only its beginning and end are announced.
  const far = element("span", { class: "lab-note", hidden: true });
  const bar = element("progress", { max: "1", value: "0", "aria-label": "progress of the fit", hidden: true });
  const button = element("button", { type: "submit", class: "lab-button" }, "Fit");
  const stop = element("button", { type: "button", class: "lab-button lab-quiet", hidden: true,
    onclick: () => state.running && state.running.cancel() }, "Stop");
  const form = element("form", { class: "lab-form", onsubmit: (event) => {
    event.preventDefault();
    run();
  } }, field("Law", law), columns, more, element("div", { class: "lab-actions" }, button, stop, bar, far));
  const run = async () => {
    say.wrong.textContent = "";
    const working = (yes) => {
      for (const each of [stop, bar, far]) each.hidden = !yes;
      button.disabled = yes;
    };
    try {
      const job = jobOf(state.table, chooser, { held, objective, weight, seed });
      say.tell(`Fitting ${job.job.target.length} runs.`);
      far.textContent = "";
      working(true);
      state.running = ask("fit", job.job, ({ stage, done, total }) => {
        bar.value = total ? done / total : 0;
        const at = stage === "starts" ? "Descending from many starts" : "Looking for the ends of the intervals";
        far.textContent = `${at}: ${done} of ${total}.`;
      });
      const answer = await state.running.promise;
      showResult(say.result, answer, job);
      say.tell(`Fitted ${answer.record.n_runs} runs in ${said(answer.record.seconds, 2)} s: ${answer.record.status}.`);
    } catch (error) {
      say.fail(error);
    } finally {
      working(false);
    }
  };
  return form;
}

// The first law whose columns the table has; a routed one before a dense one, as the book is about them.
function firstLaw(table) {
  const has = (quantity) => Boolean(guess(table, quantity));
  if (has("total_params") && has("tokens") && (has("sparsity") || (has("n_experts") && has("top_k")))) return "abnar2025";
  if (!has("tokens") && has("n_experts")) return "clark2022";
  return "hoffmann2022";
}

function publishedColumns(table, law) {
  const note = element("p", { class: "lab-note" }, `${law.formula}. ${law.source}; ${law.conventions}.`);
  const letters = law.variables.map((variable) => ({ variable,
    chooser: columnChooser(table, `${variable.symbol}: ${variable.meaning}`, variable.columns) }));
  const target = columnChooser(table, law.target === "loss" ? "L: the loss" : law.target, [law.target]);
  return { made: [note, ...letters.map((each) => each.chooser.made), target.made], target, letters: () => letters,
    law: () => ({ name: law.name }), targetName: law.target };
}

// A formula: every name in it is a parameter to fit, or is read from a column.
function ownColumns(table) {
  const letters = element("div", {});
  const problem = element("p", { class: "lab-wrong" });
  const usual = { N: "total_params", D: "tokens", S: "sparsity", C: "train_flops", G: "granularity", K: "top_k" };
  let names = [];
  const read = () => {
    problem.textContent = "";
    try {
      names = engine().namesOf(engine().parse(formula.value, {})).map((name) => {
        const likely = table.places.has(name) ? name : usual[name] ? guess(table, usual[name]) : "";
        const columns = table.names.map((each) => [each, `column ${each}`]);
        const control = choice(table, [["", "a parameter to fit"], ...columns], likely);
        return { name, control };
      });
    } catch (error) {
      names = [];
      problem.textContent = error.message;
    }
    letters.replaceChildren(...names.map(({ name, control }) => field(name, control)));
  };
  const formula = element("input", { type: "text", value: "E + A/N^alpha + B/(D*(1-S))^beta", spellcheck: "false",
    onchange: read });
  read();
  const target = columnChooser(table, "L: the loss", ["loss"]);
  const variables = () => names.map(({ name, control }) => [name, control.picked()]).filter(([, column]) => column)
    .map(([name, column]) => ({
      variable: { symbol: name, columns: [column], meaning: column },
      chooser: { read: () => ({ values: numbersOf(table, column), name: column, shown: column, source: column, derived: {},
        maps: [], parts: [], sure: true }) },
    }));
  const formulaField = field("formula", formula, "numbers, names, + - * / ^, brackets, exp ln log2 log10 sqrt");
  return { made: [formulaField, problem, letters, target.made], target, letters: variables, targetName: "loss",
    law: () => ({ formula: formula.value, variables: variables().map((each) => each.variable) }) };
}

// What the engine is asked: numbers of finished runs, checked, those to fit and those held out.
function jobOf(table, chooser, { held, objective, weight, seed }) {
  const law = chooser.law();
  const target = chooser.target.read();
  const letters = chooser.letters().map(({ variable, chooser: each }) => ({ symbol: variable.symbol, found: each.read() }));
  if (!letters.length) refuse("The formula reads no column: choose one for at least one of its names.");
  const done = finishedRows(table, target.values);
  const rows = table.cells.map((_, i) => i).filter((i) => done[i]);
  if (!rows.length) refuse(`${table.file}: no finished runs to fit.`);
  const own = Boolean(law.formula);
  const unread = unreadStatus(table);
  const hint = unread ? ` The column '${unread}' says which runs did not finish: rename it to status.` : "";
  checkNumbers(table, rows, { ...target, name: chooser.targetName }, own && objective.value === "lsq", hint);
  const known = knownQuantities(table, [target, ...letters.map(({ found }) => found)]);
  refuseMoreChosen(table, rows, known);
  letters.forEach(({ found }) => checkNumbers(table, rows, found, false, hint));
  const notes = own ? [] : [...askUnits(table, rows, known), ...disagreements(table, rows, known)];
  if (unread) notes.push(`Runs that did not finish, as the column '${unread}' says, count like others: rename it to status if not`);
  const hold = held.read();
  const kept = rows.filter((i) => !hold || !hold.out[i]);
  const out = rows.filter((i) => hold && hold.out[i]);
  if (hold && !out.length) refuse(`Held-out runs '${hold.words}': no finished run meets it.`);
  if (!kept.length) refuse(`Held-out runs '${hold.words}': every run meets it, none is left to fit.`);
  const pick = (values, which) => which.map((i) => values[i]);
  const dataOf = (which) => Object.fromEntries(letters.map(({ symbol, found }) => [symbol, pick(found.values, which)]));
  for (const { symbol, found } of letters) {
    const values = pick(found.values, kept);
    if (values.length > 1 && values.every((each) => each === values[0])) {
      refuse(`${table.file}: column '${found.shown}' is ${said(values[0])} in all ${values.length} runs;`
        + ` the law needs it to vary (${symbol}).`);
    }
  }
  const weighed = weight.picked();
  const weights = weighed ? { values: numbersOf(table, weighed), shown: weighed } : null;
  if (weights) checkWeights(table, kept, weights);
  const seeds = table.places.has("seed") ? cellsOf(table, "seed") : null;
  const whole = Number(seed.value);
  if (!Number.isInteger(whole) || whole < 0) refuse(`Seed: expected a whole number >= 0, found '${seed.value}'.`);
  const job = {
    law, data: dataOf(kept), target: pick(target.values, kept), rows: pick(table.numbers, kept), objective: objective.value,
    weights: weights && pick(weights.values, kept), seed: whole,
    seeds: seeds && kept.every((i) => seeds[i] !== "") ? pick(seeds, kept) : null,
    columns: Object.fromEntries(letters.map(({ symbol, found }) => [symbol, found.name])),
    derived: Object.assign({}, ...letters.map(({ found }) => found.derived)),
    ranges: rangesOf(letters, flopsOf(table, known), kept),
    holdout: hold ? { data: dataOf(out), target: pick(target.values, out) } : null,
  };
  return { job, table, letters, target, hold, weight: weighed, notes, left: table.cells.length - rows.length };
}

function checkWeights(table, rows, weights) {
  for (const i of rows) {
    if (!(weights.values[i] >= 0)) {
      refuse(`${table.file}: row ${table.numbers[i]}, column '${weights.shown}': found`
        + ` '${cellsOf(table, weights.shown)[i]}', expected a weight >= 0.`);
    }
  }
  if (!rows.some((i) => weights.values[i] > 0)) refuse(`${table.file}: every run has weight 0 in column '${weights.shown}'.`);
}

function rangesOf(letters, flops, rows) {
  const found = letters.map(({ found: each }) => [each.name, rows.map((i) => each.values[i])]);
  if (flops && !found.some(([name]) => name === "train_flops")) found.push(["train_flops", rows.map((i) => flops[i])]);
  return Object.fromEntries(found.map(([name, values]) => [name, values.filter(Number.isFinite)])
    .filter(([, values]) => values.length).map(([name, values]) => [name, [Math.min(...values), Math.max(...values)]]));
}
