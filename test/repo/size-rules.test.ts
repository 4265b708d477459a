import { describe, expect, it } from 'vitest';
import { PROGRAM_FOLDERS, sourceFiles } from './rules/repo-files.ts';
import { longFunctions, tooLong } from './rules/size-rules.ts';

const file = (text: string) => ({ path: 'src/x.ts', text });
const body = (lines: number) => '  a();\n'.repeat(lines);

describe('sizes', () => {
  it('files have at most 500 lines and lines at most 100 columns', () => {
    const files = sourceFiles(...PROGRAM_FOLDERS, 'test');
    expect(files.flatMap(tooLong)).toEqual([]);
  });

  it('functions have at most 70 lines', () => {
    expect(sourceFiles(...PROGRAM_FOLDERS).flatMap(longFunctions)).toEqual([]);
  });
});

describe('the rules of sizes', () => {
  it('notice long files and long lines', () => {
    expect(tooLong(file('a\n'.repeat(500)))).toEqual([]);
    expect(tooLong(file('a\n'.repeat(501)))).toEqual(['src/x.ts has 501 lines']);
    expect(tooLong(file(`\n// ${'x'.repeat(98)}\n`))).toEqual(['src/x.ts:2 has 101 columns']);
    expect(tooLong(file(`${'x'.repeat(101)};\n`))).toEqual(['src/x.ts:1 has 102 columns']);
    expect(tooLong(file(`f('${'x'.repeat(101)}');\n`))).toEqual([]);
  });

  it('notice long functions of every kind', () => {
    const heads = [
      'function f() {',
      'export async function f(a: { b: number }): Promise<{ c: number }> {',
      'const f = () => {',
      'run(async (a, b) => {',
      'class A {\n  f(): void {',
      'class A {\n  get f() {',
    ];
    for (const head of heads) {
      const close = head.startsWith('class') ? '}}' : '}';
      expect(longFunctions(file(`${head}\n${body(68)}${close}`)), head).toEqual([]);
      expect(longFunctions(file(`${head}\n${body(69)}${close}`)), head).toHaveLength(1);
    }
  });

  it('do not take classes, types and tables for functions', () => {
    for (const head of ['export class A {', 'interface A {', 'const a = {', 'f({', 'import {']) {
      expect(longFunctions(file(`${head}\n${body(100)}}`)), head).toEqual([]);
    }
  });
});
