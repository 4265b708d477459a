/**
 * A place in the stream, as text that clients keep and hand back: `<source>:<seq>` for each source,
 * joined by commas. Clients must not look into it.
 */

/** Everything up to the seq of each source is behind it. */
export type Position = ReadonlyMap<string, number>;

const SOURCES_MAX = 100;
const TEXT_MAX = 8192;
const PART = /^([\w.-]{1,64}\/[\w-]{1,64}):(\d{1,16})$/;

/** The position as text. */
export function formatPosition(position: Position): string {
  return [...position].map(([source, seq]) => `${source}:${seq}`).join(',');
}

/** The position that `text` is; undefined where it is none. */
export function parsePosition(text: string): Position | undefined {
  if (text.length > TEXT_MAX) return undefined;
  const parts = text.split(',');
  if (parts.length > SOURCES_MAX) return undefined;
  const position = new Map<string, number>();
  for (const part of parts) {
    const [, source, digits] = PART.exec(part) ?? [];
    const seq = Number(digits);
    if (source === undefined || !Number.isSafeInteger(seq) || position.has(source))
      return undefined;
    position.set(source, seq);
  }
  return position;
}
