// The text of a file that the reader gives: unpacked where it is gzip, decoded, or a sentence on what it is instead.
// FORMATS: what files of other kinds begin with; COMPRESSED: the same of those that are packed.

const LARGEST_FILE = 20e6;
const BOMS = [["\xef\xbb\xbf", "utf-8"], ["\xff\xfe", "utf-16le"], ["\xfe\xff", "utf-16be"]];

async function textOf(file) {
  const tooLarge = (size) => refuse(`${file.name}: ${said(size / 1e6, 3)} MB; the page takes at most`
    + ` ${LARGEST_FILE / 1e6} MB, and moelaws fit takes more.`);
  if (file.size > LARGEST_FILE) tooLarge(file.size);
  let bytes = new Uint8Array(await file.arrayBuffer());
  const packed = kindOf(bytes, COMPRESSED);
  const promised = Object.entries(PACKED_NAMES).find(([suffix]) => file.name.toLowerCase().endsWith(suffix));
  if (promised && !packed) refuse(`${file.name}: not a ${promised[1]} file, although its name says so.`);
  if (packed === "gzip") bytes = await unpacked(bytes, file.name, tooLarge);
  else if (packed) {
    if (packed === "zip" && new TextDecoder("latin1").decode(bytes).includes("[Content_Types].xml")) {
      refuse(`${file.name}: an Excel workbook or other office document; save the sheet as CSV.`);
    }
    refuse(`${file.name}: packed as ${packed}; the page reads CSV and JSON, as they are or as gzip; moelaws fit reads ${packed}.`);
  }
  const other = kindOf(bytes, FORMATS);
  if (other) refuse(`${file.name}: ${other}; expected CSV or JSON lines.`);
  if (kindOf(bytes, { PAR1: "Parquet" })) {
    refuse(`${file.name}: a Parquet table; the page reads CSV and JSON, and moelaws fit reads Parquet.`);
  }
  return decoded(bytes, file.name);
}

function kindOf(bytes, kinds) {
  const head = String.fromCharCode(...bytes.subarray(0, 32));
  const found = Object.entries(kinds).find(([start]) => head.startsWith(start));
  return found ? found[1] : "";
}

async function unpacked(bytes, name, tooLarge) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).getReader();
  const parts = [];
  let size = 0;
  try {
    for (let part = await reader.read(); !part.done && size <= LARGEST_FILE; part = await reader.read()) {
      parts.push(part.value);
      size += part.value.length;
    }
  } catch {
    refuse(`${name}: damaged, or cut short: not readable as gzip.`);
  }
  if (size > LARGEST_FILE) tooLarge(size);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function decoded(bytes, name) {
  const head = bytes.subarray(0, 2000);
  const zeros = (first) => head.filter((byte, i) => i % 2 === first && byte === 0).length;
  // Without its mark, UTF-16 of plain letters has a zero in every second place.
  const many = 0.4 * Math.floor(head.length / 2);
  const [odd, even] = [zeros(1), zeros(0)];
  const unmarked = odd > many && !even ? "utf-16le" : even > many && !odd ? "utf-16be" : "utf-8";
  const encoding = kindOf(bytes, Object.fromEntries(BOMS)) || unmarked;
  let text = "";
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    refuse(`${name}: not ${encoding.slice(0, 6).toUpperCase().replace(/-$/, "")} text; save the table as CSV in UTF-8.`);
  }
  if (text.includes("\0")) refuse(`${name}: not text; expected a CSV table.`);
  return text;
}
