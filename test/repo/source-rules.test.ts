import { describe, expect, it } from 'vitest';
import { PROGRAM_FOLDERS, sourceFiles, textFiles } from './rules/repo-files.ts';
import {
  bannedCode,
  machinePaths,
  missingHeader,
  undocumentedExports,
} from './rules/source-rules.ts';

describe('the source', () => {
  it('has nothing that is banned', () => {
    expect(sourceFiles(...PROGRAM_FOLDERS, 'test').flatMap(bannedCode)).toEqual([]);
  });

  it('begins every file with what it is for', () => {
    expect(sourceFiles(...PROGRAM_FOLDERS).flatMap(missingHeader)).toEqual([]);
  });

  it('documents what it exports', () => {
    expect(sourceFiles('src').flatMap(undocumentedExports)).toEqual([]);
  });

  it('does not know the machine it was written on', () => {
    expect(textFiles().flatMap(machinePaths)).toEqual([]);
  });
});

describe('the rules of the source', () => {
  const bad: [why: string, text: string, path?: string][] = [
    ['a clock', 'const now = Date.now();'],
    ['another clock', 'performance.now()'],
    ['a date of today', 'new Date()'],
    ['a timer', 'setTimeout(f, 5)'],
    ['a timer of Node', "import { setTimeout } from 'node:timers/promises';"],
    ['the environment', 'process.env.HOME'],
    ['a signal handler', "process.on('SIGTERM', f)"],
    ['an exit', 'process.exit(1)'],
    ['an exit code', 'process.exitCode = 1'],
    ['console', 'console.log(1)'],
    ['a default export', 'export default f;'],
    ['a barrel', "export * from './a.ts';"],
    ['another barrel', "export { a } from './a.ts';"],
    ['any', 'function f(a: any) {}'],
    ['any in a cast', 'a as any'],
    ['any in a generic type', 'Record<string, any>'],
    ['state of a module', 'let a = 1;'],
    ['exported state of a module', 'export let a = 1;'],
    ['an order to look away', `// @ts-${'ignore'}`],
    ['an order to the linter', `// biome-${'ignore'} lint: because`],
    ['a test that is left out', 'describe.skip()', 'test/a.test.ts'],
    ['a program', "import { runCli } from '../helpers/run-cli.ts';", 'test/cli/a.test.ts'],
  ];
  for (const [why, text, path = 'src/room/a.ts'] of bad) {
    it(`notice ${why}`, () => {
      expect(bannedCode({ path, text })).toHaveLength(1);
    });
  }

  const good: [why: string, text: string, path?: string][] = [
    ['a clock in its place', 'Date.now()', 'src/lib/clock.ts'],
    ['the environment in its place', 'process.env', 'src/config/environment.ts'],
    ['a signal handler in its place', "process.on('SIGTERM', f)", 'src/collector/main.ts'],
    ['a comment', '/** Date.now() and any: console.log. */'],
    ['a string', "const a = 'new Date(), console.log()';"],
    ['a date of a time', 'new Date(nowMs)'],
    ['a method of the same name', 'socket.setTimeout(5)'],
    ['a local variable', 'function f() {\n  let a = 1;\n}'],
    ['a program in its place', "packageFile('dist/src/agent/main.js')", 'test/system/a.test.ts'],
    ['any as a name', 'Promise.any(a); const any = 1;'],
  ];
  for (const [why, text, path = 'src/room/a.ts'] of good) {
    it(`leave ${why} alone`, () => {
      expect(bannedCode({ path, text })).toEqual([]);
    });
  }

  it('notice a missing header and a missing docstring', () => {
    const path = 'src/a.ts';
    expect(missingHeader({ path, text: 'export const a = 1;\n' })).toHaveLength(1);
    expect(missingHeader({ path, text: '#!/usr/bin/env node\n/**\n * A.\n */\n' })).toEqual([]);
    expect(undocumentedExports({ path, text: 'export function f() {}\n' })).toHaveLength(1);
    expect(undocumentedExports({ path, text: '/** F. */\nexport function f() {}\n' })).toEqual([]);
    expect(undocumentedExports({ path, text: 'export class A {}\n' })).toEqual([]);
  });

  it('notice a path of this machine', () => {
    const text = `see ${['', 'work', 'x'].join('/')} for more`;
    expect(machinePaths({ path: 'docs/a.md', text })).toHaveLength(1);
    expect(machinePaths({ path: 'docs/a.md', text: 'a network/work/flow' })).toEqual([]);
  });
});
