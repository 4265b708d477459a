/**
 * How large things may get.
 */
import { lineAt, maskSource, type SourceFile } from './source-text.ts';

export const FILE_LINES_MAX = 500;
export const FUNCTION_LINES_MAX = 70;
export const LINE_COLUMNS_MAX = 100;

/** Files and lines that are too long. A string or pattern that cannot be broken does not count. */
export function tooLong({ path, text }: SourceFile): string[] {
  const lines = text.split('\n');
  const { code, codeAndStrings } = maskSource(text);
  const [bare, spoken] = [code.split('\n'), codeAndStrings.split('\n')];
  const found = lines.flatMap((line, index) => {
    const columns = [...line].length;
    const isComment = bare[index] === spoken[index];
    return columns > LINE_COLUMNS_MAX && isComment
      ? [`${path}:${index + 1} has ${columns} columns`]
      : [];
  });
  // The text ends in a newline, which starts no further line.
  const count = lines.length - 1;
  return count > FILE_LINES_MAX ? [`${path} has ${count} lines`, ...found] : found;
}

/** Functions, methods and closures that are too long. */
export function longFunctions({ path, text }: SourceFile): string[] {
  const { code } = maskSource(text);
  return blocks(code).flatMap(({ start, end }) => {
    const lines = lineAt(code, end) - lineAt(code, start) + 1;
    if (lines <= FUNCTION_LINES_MAX || !isFunctionBody(code, start)) return [];
    return [`${path}:${lineAt(code, start)} has a function of ${lines} lines`];
  });
}

/** Pairs of braces. */
function blocks(code: string): { start: number; end: number }[] {
  const open: number[] = [];
  const found: { start: number; end: number }[] = [];
  for (let index = 0; index < code.length; index++) {
    if (code[index] === '{') open.push(index);
    else if (code[index] === '}') {
      const start = open.pop();
      if (start !== undefined) found.push({ start, end: index });
    }
  }
  return found;
}

/**
 * A block is a function's (or lies in one that is as long) unless it is a class, a type, an object
 * or a module clause, which its head tells.
 */
function isFunctionBody(code: string, start: number): boolean {
  const before = code.slice(0, start).trimEnd();
  if (/([=(,[&|<?:]|\breturn|\bimport|\bexport|\bsatisfies)$/.test(before))
    return before.endsWith('=>');
  const head = /[^;{}]*$/.exec(before)?.[0] ?? '';
  return !/\b(class|interface|namespace|type)\b/.test(head);
}
