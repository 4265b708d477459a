/** No input grows past this, so that slow is a property of the parser and not of the size. */
export const INPUT_BYTES_MAX = 64 * 1024;
const EDITS_MAX = 6;
const INTERESTING_BYTES = [0, 1, 0x20, 0x22, 0x2c, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xfe, 0xff];
const INTERESTING_LENGTHS = [
  ...[0, 1, 127, 128, 255, 256, 1350, 16_383, 16_384, 65_535, 65_536, 2 ** 20, 2 ** 20 + 1],
  ...[2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1],
];
const VARINTS = ['00', '7f', '8001', 'ff7f', 'ffffffff0f', 'ffffffff7f', 'ffffffffffffffff7f'].map(
  (hex) => Buffer.from(hex, 'hex'),
);
const LONG_VARINTS = [
  Buffer.from('ffffffffffffffffff01', 'hex'),
  Buffer.from('80808080808080808000', 'hex'),
  Buffer.alloc(11, 0xff),
  Buffer.alloc(40, 0x80),
];
/** Texts that trip up programs, whatever they parse. */
export const TRICKY_TEXTS = [
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'null', 'undefined'],
  ...['NaN', 'Infinity', '-Infinity', '-0', '1e999', '0x10', '1_000', '9007199254740993'],
  ...['18446744073709551616', '\u0000', '\u00a0', '\u2028', '\u202e', '\ufeff', '\ufffd', '\uffff'],
  ...['é', 'e\u0301', 'İ', 'ß', '🙂', '👩‍👩‍👧', '%00', '../', '\r\n', '\n', '\t', '"', "'", '\\'],
].map((text) => Buffer.from(text));
/** Bytes that are no UTF-8: cut short, overlong, half of a surrogate pair, past the last plane. */
const BAD_UTF8 = ['c3', 'e282', 'c080', 'eda080', 'f4908080', 'ff', 'fe'].map((hex) =>
  Buffer.from(hex, 'hex'),
);
/** One input: mostly a damaged seed, now and then a whole one or nothing but noise. */
export function mutate(random, stock) {
  const seed = random.pick(stock.seeds);
  const draw = random.next();
  if (draw < 0.02) return Buffer.from(seed);
  if (draw < 0.04) return noise(random, below(random, 600));
  let input = Buffer.from(seed);
  for (let edits = 1 + below(random, EDITS_MAX); edits > 0; edits -= 1) {
    input = edit(random, input, stock).subarray(0, INPUT_BYTES_MAX);
  }
  return input;
}
const EDITS = [
  // A bit flipped, a byte changed.
  (random, input) => changeByte(random, input, (byte) => byte ^ (1 << below(random, 8))),
  (random, input) => changeByte(random, input, () => below(random, 256)),
  (random, input) => changeByte(random, input, () => random.pick(INTERESTING_BYTES)),
  // Cut off, cut out, doubled, repeated.
  (random, input) => input.subarray(0, below(random, input.length + 1)),
  (random, input) => replace(input, ...range(random, input), NOTHING),
  (random, input) => {
    const [start, end] = range(random, input);
    return replace(input, end, end, input.subarray(start, end));
  },
  (random, input) => {
    const [start, end] = range(random, input);
    return replace(input, end, end, repeated(random, input.subarray(start, end)));
  },
  // Spliced with another seed.
  (random, input, { seeds }) => {
    const other = random.pick(seeds);
    const [start, end] = range(random, other);
    return replace(input, ...range(random, input), other.subarray(start, end));
  },
  // Numbers that say how long something is.
  (random, input) => overwriteNumber(random, input),
  (random, input) => insert(random, input, random.pick(VARINTS)),
  (random, input) => insert(random, input, random.pick(LONG_VARINTS)),
  // Words of the format, and words that trip up programs.
  (random, input, { tokens }) => insertOneOf(random, input, tokens),
  (random, input, { tokens }) => insertOneOf(random, input, tokens),
  (random, input) => insertOneOf(random, input, TRICKY_TEXTS),
  (random, input) => insertOneOf(random, input, BAD_UTF8),
  // Nesting.
  (random, input, { tokens }) => {
    const pieces = tokens.length > 0 ? tokens : TRICKY_TEXTS;
    return insert(random, input, repeated(random, random.pick(pieces)));
  },
];
const NOTHING = Buffer.alloc(0);
function edit(random, input, stock) {
  return random.pick(EDITS)(random, input, stock);
}
function changeByte(random, input, change) {
  if (input.length === 0) return input;
  const at = below(random, input.length);
  input[at] = change(input[at] ?? 0);
  return input;
}
function overwriteNumber(random, input) {
  const bytes = random.pick([1, 2, 4]);
  if (input.length < bytes) return input;
  const number = random.pick(INTERESTING_LENGTHS) % 2 ** (8 * bytes);
  const at = below(random, input.length - bytes + 1);
  if (random.next() < 0.5) input.writeUIntBE(number, at, bytes);
  else input.writeUIntLE(number, at, bytes);
  return input;
}
function insertOneOf(random, input, pieces) {
  return pieces.length === 0 ? input : insert(random, input, random.pick(pieces));
}
function insert(random, input, piece) {
  const at = below(random, input.length + 1);
  return replace(input, at, at, piece);
}
/** Mostly a few times, now and then until the input is as long as it may be. */
function repeated(random, piece) {
  if (piece.length === 0) return piece;
  const times = random.next() < 0.02 ? INPUT_BYTES_MAX / piece.length : below(random, 40);
  const bytes = Math.min(INPUT_BYTES_MAX, Math.ceil(times * piece.length));
  return bytes === 0 ? NOTHING : Buffer.alloc(bytes, piece);
}
function replace(input, start, end, piece) {
  return Buffer.concat([input.subarray(0, start), piece, input.subarray(end)]);
}
/** A stretch of the input, usually short. */
function range(random, input) {
  const start = below(random, input.length + 1);
  const length = Math.floor(random.exponential(input.length / 8 + 1));
  return [start, Math.min(input.length, start + length)];
}
function noise(random, bytes) {
  return Buffer.from(Array.from({ length: bytes }, () => below(random, 256)));
}
function below(random, bound) {
  return Math.floor(random.next() * bound);
}
//# sourceMappingURL=mutate.js.map
