// Runs that are held out of a fit, and scored by it: a condition on one column.

const COMPARISONS = [[">", ">"], [">=", "≥"], ["<", "<"], ["<=", "≤"], ["==", "="], ["!=", "≠"]];

function holdOut(table) {
  const column = choice(table, [["", "none: fit to all"], ...table.names.map((name) => [name, name])], "");
  const sign = select(COMPARISONS, ">=");
  const value = element("input", { type: "text", inputmode: "decimal", value: "", size: "12" });
  const largest = element("button", { type: "button", class: "lab-button lab-quiet", onclick: () => {
    if (!table.places.has(column.picked())) return;
    sign.value = ">=";
    const most = Math.max(...ownNumbers(table, column.picked()).filter(Number.isFinite));
    value.value = [String(most), most.toExponential().replace("+", "")].sort((a, b) => a.length - b.length)[0];
  } }, "its largest value");
  const made = element("div", { class: "lab-fields" }, field("hold out runs by column", column), field("where it is", sign),
    field("than", value), largest);
  const read = () => {
    const held = column.picked();
    if (!held) return null;
    const limit = Number(value.value);
    if (value.value.trim() === "" || !Number.isFinite(limit)) {
      refuse(`Held-out runs: expected a number, found '${value.value}'.`);
    }
    const meets = { ">": (x) => x > limit, ">=": (x) => x >= limit, "<": (x) => x < limit, "<=": (x) => x <= limit,
      "==": (x) => x === limit, "!=": (x) => x !== limit }[sign.value];
    return { column: held, sign: sign.value, limit, words: `${held} ${sign.value} ${value.value}`,
      out: ownNumbers(table, held).map(meets) };
  };
  return { made, read };
}
