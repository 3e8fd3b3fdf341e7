// Which fields are worth a facet or a colour, and filters made of what was chosen.

const MOST_FACETS = 6;

function scalar(stats) { return Object.keys(stats.types).every((type) => type !== "dict" && type !== "object"); }
function listed(stats) { return "list" in stats.types; }
function numeric(stats) { const types = Object.keys(stats.types).filter((type) => type !== "null" && type !== "NoneType"); return types.length > 0 && types.every((type) => type === "int" || type === "float"); }
const DATE = /^\d{4}-\d{2}/;
function dated(stats) { return typeof stats.min === "string" && DATE.test(stats.min) && DATE.test(stats.max) && stats.max < "2200"; }

// Sentences repeat now and then, but nobody chooses by them.
function wordy(stats) { return [stats.min, stats.max].some((value) => typeof value === "string" && value.length > 40); }

// 0 for the best to choose by; 9 for what nobody could choose by.
function rank(field, records) {
  if (!scalar(field) || field.distinct < 2) return 9;
  const ranges = numeric(field) || dated(field);
  if (wordy(field)) return 9;
  if (field.distinct <= 12) return 0;
  if (field.distinct <= 60 && field.distinct <= records * 0.5 && !ranges && !listed(field)) return 1;
  if (ranges) return 2;
  if (field.distinct > Math.max(2, records * 0.5) && !listed(field)) return 9;
  return listed(field) ? 3 : field.distinct <= 1000 ? 4 : 9;
}

function ranked(stats, most) {
  const found = Object.entries(stats.fields || {}).map(([name, field]) => [name, rank(field, stats.records)]);
  return found.filter(([, place]) => place < most).sort((a, b) => a[1] - b[1]).map(([name]) => name);
}

export function facetFields(stats) { return ranked(stats, 9).slice(0, MOST_FACETS); }

// A field of three to eight values colours a map best.
export function colourFields(stats) {
  const good = (name) => stats.fields[name].distinct >= 3 && stats.fields[name].distinct <= 8 && !listed(stats.fields[name]);
  const first = ranked(stats, 9);
  const rest = Object.entries(stats.fields || {}).filter(([name, field]) => scalar(field) && field.distinct > 1 && !first.includes(name)).map(([name]) => name);
  return [...first.filter(good), ...first.filter((name) => !good(name)), ...rest];
}

export function isList(stats, name) { return listed(stats.fields[name] || { types: {} }); }

// {field: {values: [...]} or {low, high, date}} to a where-expression.
export function whereOf(chosen, raw, stats) {
  const parts = [];
  for (const [name, choice] of Object.entries(chosen)) {
    const field = name.startsWith("and") || name.startsWith("or") || name.startsWith("not") ? `.${name}` : name;
    if (choice.values?.length) {
      if (isList(stats, name)) parts.push({ or: choice.values.map((value) => ({ [field]: { contains: value } })) });
      else parts.push({ [field]: { in: choice.values } });
    } else if (choice.low !== undefined) {
      // All that begins like the last date of the range is within it.
      parts.push({ [field]: choice.date ? { gte: choice.low, lte: `${choice.high}~` } : { gte: choice.low, lt: choice.high } });
    }
  }
  if (raw) parts.push(raw);
  if (!parts.length) return undefined;
  return parts.length === 1 ? parts[0] : { and: parts };
}
