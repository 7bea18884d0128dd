// Elements of the page, made of a tag, its attributes and what it holds. Text stays text: nothing is read as HTML.

function element(tag, attributes, ...held) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...held.flat().filter((each) => each !== null && each !== undefined && each !== ""));
  return made;
}

let fields = 0;

// A control with its label above it and, where there is one, a hint below that screen readers say as well.
function field(label, control, hint) {
  fields += 1;
  control.id = control.id || `lab-field-${fields}`;
  const told = hint ? element("small", { id: `${control.id}-hint`, class: "lab-hint" }, hint) : null;
  if (told) control.setAttribute("aria-describedby", told.id);
  return element("div", { class: "lab-field" }, element("label", { for: control.id }, label), control, told);
}

// options: [value, text] pairs.
function select(options, chosen, onchange) {
  const made = element("select", { onchange: () => onchange && onchange(made.value) },
    options.map(([value, text]) => element("option", { value }, text)));
  made.value = chosen;
  return made;
}

const MOST_OPTIONS = 300;

// One of the columns of a table, or what else is to be chosen in a column's place: a list to choose from, or, where it
// would be too long, a name to type, with suggestions. The control's picked() is the value of what was chosen.
function choice(table, options, chosen, onchange) {
  if (options.length <= MOST_OPTIONS) {
    const made = select(options, chosen, onchange);
    made.picked = () => made.value;
    return made;
  }
  const byText = new Map(options.map(([value, text]) => [text, value]));
  const picked = () => {
    const text = made.value.trim();
    if (text && !byText.has(text)) refuse(`${table.file}: no column '${text.slice(0, 60)}'.`);
    return text ? byText.get(text) : "";
  };
  const first = options.find(([value]) => value === chosen);
  const made = element("input", { type: "text", list: listOf(table), autocomplete: "off", spellcheck: "false",
    placeholder: options[0][0] ? "" : options[0][1], value: first && first[0] ? first[1] : "",
    onchange: () => onchange && onchange(byText.get(made.value.trim()) || "") });
  made.picked = picked;
  return made;
}

// The names of a wide table's columns, to be suggested: one list for all that ask for a column.
function listOf(table) {
  if (!document.getElementById("lab-columns") || !table.listed) {
    const old = document.getElementById("lab-columns");
    if (old) old.remove();
    document.body.append(element("datalist", { id: "lab-columns" },
      table.names.map((name) => element("option", { value: name }))));
    table.listed = true;
  }
  return "lab-columns";
}

// A slider with its name, and its value in words beside it.
function slider({ label, min, max, step, value, say, oninput }) {
  const shownValue = element("output", {}, say(value));
  const control = element("input", { type: "range", min, max, step, value, "aria-valuetext": say(value),
    oninput: () => {
      const now = Number(control.value);
      shownValue.textContent = say(now);
      control.setAttribute("aria-valuetext", say(now));
      oninput(now);
    } });
  const made = field(label, control);
  made.classList.add("lab-slider");
  made.append(shownValue);
  return { made, value: () => Number(control.value) };
}

// A table with a caption that scrolls in its own box where it is wide. rows: arrays of text; the first cell is a header.
function tableOf(caption, header, rows) {
  const table = element("table", { class: "lab-table" }, element("caption", {}, element("span", {}, caption)),
    element("thead", {}, element("tr", {}, header.map((each) => element("th", { scope: "col" }, each)))),
    element("tbody", {}, rows.map(([first, ...others]) => element("tr", {},
      element("th", { scope: "row" }, first), others.map((each) => element("td", {}, each))))));
  return element("div", { class: "lab-scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
}

const ACTIVE = "N_a";

// The head of a column, with an index below its line.
function headOf(title) {
  return title === ACTIVE ? element("span", {}, "N", element("sub", {}, "a")) : title;
}

// A count of parameters or tokens in three digits, which stay where they are zero: 816, 5.50e5, 2.00e9.
function counted(value) {
  if (!(value >= 1e4 && Number.isFinite(value))) return said(value, 3);
  return value.toExponential(2).replace("e+", "e");
}

// A number of so many significant digits, as a reader writes it: 2.34, 1.2e+10, ∞.
function said(value, digits) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size < 1e-20) return "0";
  if (size >= 1e6 || size < 1e-4) {
    const [head, power] = value.toExponential((digits || 4) - 1).split("e");
    return `${String(Number(head))}e${Number(power)}`.replace("-", "−").replace("e-", "e−");
  }
  return String(Number(value.toPrecision(digits || 4))).replace("-", "−");
}
