/**
 * Guessing which name was meant.
 */

/** Longer than any key, with its variable's prefix, and all the mistakes one makes in it. */
const TYPED_CHARACTERS_MAX = 100;

/** The candidate that takes the fewest typing mistakes; undefined where none is close. */
export function nearestName(typed: string, candidates: readonly string[]): string | undefined {
  // What is this long is no slip of the pen, and comparing it would take for ever.
  if (typed.length > TYPED_CHARACTERS_MAX) return undefined;
  let best: string | undefined;
  let bestDistance = Math.floor(typed.length / 3) + 2;
  for (const candidate of candidates) {
    const distance = editDistance(typed.toLowerCase(), candidate.toLowerCase());
    if (distance >= bestDistance) continue;
    best = candidate;
    bestDistance = distance;
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours that turn `from` into `to`. */
export function editDistance(from: string, to: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = from[row - 1] === to[column - 1] ? 0 : 1;
      let least = Math.min(
        previous[column]! + 1,
        current[column - 1]! + 1,
        previous[column - 1]! + replaced,
      );
      if (from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1] && column > 1) {
        least = Math.min(least, (beforePrevious[column - 2] ?? least) + 1);
      }
      current.push(least);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[to.length]!;
}
