/**
 * Source text with its comments, strings and regular expressions blanked out, so that rules can
 * look at code with plain patterns. Positions and lines stay what they are. Knows as much of the
 * language as that takes, and no more: a template's `${…}` is code again, a slash after a value
 * divides.
 */

export interface SourceFile {
  /** Relative to the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export interface MaskedSource {
  /** Code alone: no comments, and nothing between quotes. */
  readonly code: string;
  /** Code and strings: no comments. */
  readonly codeAndStrings: string;
}

type Region = 'code' | 'comment' | 'string';

/** Blanks out what is not code. */
export function maskSource(text: string): MaskedSource {
  const regions = markRegions(text);
  const blank = (keep: (region: Region) => boolean) => {
    let result = '';
    for (let index = 0; index < text.length; index++) {
      const char = text[index]!;
      result += char === '\n' || keep(regions[index]!) ? char : ' ';
    }
    return result;
  };
  return {
    code: blank((region) => region === 'code'),
    codeAndStrings: blank((region) => region !== 'comment'),
  };
}

const VALUE_END = /[\w$)\]}]/;
const WORD_BEFORE_REGEX = /(^|[^\w$.])(return|typeof|case|in|of|void|delete|throw|await|yield)\s*$/;

function markRegions(text: string): Region[] {
  const regions: Region[] = new Array<Region>(text.length).fill('code');
  /** Depth of braces at which each open template goes on. */
  const templates: number[] = [];
  let depth = 0;
  let index = 0;
  const mark = (end: number, region: Region) => {
    regions.fill(region, index, Math.min(end, text.length));
    index = end;
  };
  while (index < text.length) {
    const char = text[index]!;
    const pair = text.slice(index, index + 2);
    if (pair === '//') mark(endOf(text, '\n', index), 'comment');
    else if (pair === '/*') mark(endOf(text, '*/', index + 2) + 2, 'comment');
    else if (char === "'" || char === '"') mark(stringEnd(text, index, char), 'string');
    else if (char === '/' && startsRegex(text, index)) mark(regexEnd(text, index), 'string');
    else if (char === '`' || (char === '}' && templates.at(-1) === depth)) {
      if (char === '}') templates.pop();
      const end = templateEnd(text, index + 1);
      if (text[end - 1] === '{') templates.push(depth);
      mark(end, 'string');
    } else {
      if (char === '{') depth++;
      else if (char === '}') depth--;
      index++;
    }
  }
  return regions;
}

function endOf(text: string, mark: string, from: number): number {
  const found = text.indexOf(mark, from);
  return found < 0 ? text.length : found;
}

function stringEnd(text: string, start: number, quote: string): number {
  let index = start + 1;
  while (index < text.length && text[index] !== quote && text[index] !== '\n') {
    index += text[index] === '\\' ? 2 : 1;
  }
  return index + 1;
}

/** Behind the closing backtick, or behind the opening of an embedded expression. */
function templateEnd(text: string, start: number): number {
  let index = start;
  while (index < text.length) {
    if (text[index] === '`') return index + 1;
    if (text[index] === '$' && text[index + 1] === '{') return index + 2;
    index += text[index] === '\\' ? 2 : 1;
  }
  return text.length;
}

function startsRegex(text: string, index: number): boolean {
  const before = text.slice(Math.max(0, index - 40), index).trimEnd();
  return !VALUE_END.test(before.at(-1) ?? ';') || WORD_BEFORE_REGEX.test(before);
}

function regexEnd(text: string, start: number): number {
  let inClass = false;
  let index = start + 1;
  for (; index < text.length && text[index] !== '\n'; index++) {
    const char = text[index];
    if (char === '\\') index++;
    else if (char === '[') inClass = true;
    else if (char === ']') inClass = false;
    else if (char === '/' && !inClass) return index + 1;
  }
  return index;
}

/** Line of a position, counted from 1. */
export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}
