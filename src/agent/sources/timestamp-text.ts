/**
 * Times as exported files write them. Strict where `Date.parse` guesses: it reads a time without
 * a zone as local time, so the same file would mean something else on each machine.
 */

const DATE_TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))? ?([Zz]|UTC|[+-]\d\d:?\d\d)?)$/;
const UNIX_SECONDS = /^\d{9,10}(?:\.\d{1,9})?$/;
const UNIX_MILLISECONDS = /^\d{12,13}$/;

/**
 * The Unix time in ms that `text` names, or undefined. Understands RFC 3339, `YYYY-MM-DD HH:MM:SS`
 * with or without a fraction (no zone = UTC), and Unix time in seconds or milliseconds.
 */
export function parseTimestamp(text: string): number | undefined {
  const trimmed = text.trim();
  const match = DATE_TIME.exec(trimmed);
  if (match !== null) return fromParts(match);
  if (UNIX_SECONDS.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  if (UNIX_MILLISECONDS.test(trimmed)) return Number(trimmed);
  return undefined;
}

function fromParts(match: RegExpExecArray): number | undefined {
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1, 7)
    .map(Number);
  // A leap second is the last one that Unix time has.
  const seconds = Math.min(second, 59);
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, seconds));
  // Date.UTC turns the 30th of February into the 2nd of March, a 13th month into the next year,
  // and the years before 100 into the 1900s.
  const isReal =
    date.getUTCFullYear() === year &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    second <= 60;
  if (!isReal) return undefined;
  const milliseconds = Math.floor(Number(`0.${match[7] ?? '0'}`) * 1000 + 1e-6);
  return date.getTime() + milliseconds - zoneOffsetMs(match[8] ?? 'Z');
}

function zoneOffsetMs(zone: string): number {
  const match = /^([+-])(\d\d):?(\d\d)$/.exec(zone);
  if (match === null) return 0;
  const minutes = Number(match[2]) * 60 + Number(match[3]);
  return (match[1] === '-' ? -minutes : minutes) * 60_000;
}
