/**
 * Units as agents spell them, and the base unit of each: Hz, W, J, B, B/s, s, C, ratio, count. A
 * value is only converted where its unit is known; a unit is never guessed from a value.
 */

interface Conversion {
  readonly base: string;
  readonly factor: number;
}

const CONVERSIONS: ReadonlyMap<string, Conversion> = new Map<string, Conversion>([
  ...unitsOf('Hz', { Hz: 1, kHz: 1e3, MHz: 1e6, GHz: 1e9 }),
  ...unitsOf('W', { mW: 1e-3, W: 1, kW: 1e3 }),
  ...unitsOf('J', { uJ: 1e-6, mJ: 1e-3, J: 1, kJ: 1e3, Wh: 3600, kWh: 3.6e6 }),
  ...unitsOf('B', { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }),
  ...unitsOf('B/s', { 'B/s': 1, 'kB/s': 1e3, 'MB/s': 1e6, 'GB/s': 1e9, 'MiB/s': 2 ** 20 }),
  ...unitsOf('s', { ns: 1e-9, us: 1e-6, ms: 1e-3, s: 1 }),
  ...unitsOf('C', { C: 1 }),
  ...unitsOf('V', { mV: 1e-3, V: 1 }),
  ...unitsOf('ratio', { '%': 1e-2, ratio: 1 }),
  ...unitsOf('count', { count: 1, rows: 1, pages: 1 }),
]);

/** The base unit of `unit`; the unit itself where it has none, such as `code` or ``. */
export function baseUnit(unit: string): string {
  return CONVERSIONS.get(unit)?.base ?? unit;
}

/** What a value in `from` is multiplied by to be one in `to`; undefined where that is nonsense. */
export function conversionFactor(from: string, to: string): number | undefined {
  if (from === to) return 1;
  const source = CONVERSIONS.get(from);
  const target = CONVERSIONS.get(to);
  if (source === undefined || target === undefined || source.base !== target.base) return undefined;
  return source.factor / target.factor;
}

function unitsOf(base: string, factors: Record<string, number>): [string, Conversion][] {
  return Object.entries(factors).map(([unit, factor]) => [unit, { base, factor }]);
}
