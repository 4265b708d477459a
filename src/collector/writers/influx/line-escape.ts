/**
 * Text → line protocol. InfluxDB and VictoriaMetrics read a backslash differently: one knows `\\`
 * as an escaped backslash in tags, the other as two backslashes. So a backslash is only written
 * where both read it alike, in front of an ordinary character; elsewhere a tag gets a slash in its
 * place.
 */

/** A measurement: `,` and space escaped; a leading `#` would make the line a comment. */
export function escapeMeasurement(text: string): string {
  return plainControls(text).replace(/^#/, '_').replace(/[, ]/g, '\\$&');
}

/** A tag key, a tag value or a field key: `,`, `=` and space escaped. */
export function escapeKey(text: string): string {
  return plainControls(text).replace(/[,= ]/g, '\\$&');
}

/** A string field with its quotes. Line breaks become the two characters `\n`, here as in tags. */
export function quoteString(text: string): string {
  const escaped = text
    .replace(/[\\"]/g, '\\$&')
    .replace(/\n/g, '\\\\n')
    .replace(/\r/g, '\\\\r')
    .replace(/\t/g, '\\\\t');
  return `"${escaped}"`;
}

function plainControls(text: string): string {
  if (!/[\\\n\r\t]/.test(text)) return text;
  return text
    .replace(/\\(?=[\\,= \n\r\t]|$)/g, '/')
    .replace(/\n/g, '\\n')
    .replace(/\r/g, '\\r')
    .replace(/\t/g, '\\t');
}
