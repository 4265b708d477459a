/**
 * URLs may hold a user and a password, and people do write them.
 */

/** The text with `(hidden)` in place of all before the host of each URL in it. */
export function hidePasswords(text: string): string {
  // Up to the last @ before the path, because a password may hold an @ that is not encoded.
  return text.replace(/\/\/[^/?#\s]*@/g, '//(hidden)@');
}
