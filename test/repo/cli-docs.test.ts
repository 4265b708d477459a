import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CHECK_KINDS } from '../../src/collector/cli/checks/check.ts';
import { EXIT_CODES, exitCode } from '../../src/collector/cli/exit-codes.ts';
import { createProgram } from '../../src/collector/cli/program.ts';
import { createGatewayProgram } from '../../src/gateway/cli/gateway-program.ts';
import { packageFile } from '../../src/lib/package-root.ts';

const page = fs.readFileSync(packageFile('docs/cli.md'), 'utf8');

describe('docs/cli.md', () => {
  it('has the table of exit codes', () => {
    const rows = [...page.matchAll(/^\| (\d+) \| (\w+) \| (.*) \|$/gm)];
    expect(rows.map(([, code, name, meaning]) => ({ name, code: Number(code), meaning }))).toEqual(
      EXIT_CODES,
    );
  });

  it('has every command and every option', () => {
    const host = {
      out: () => {},
      err: () => {},
      environment: {},
      watchSignals: () => {},
    };
    const gateway = { ...host, run: async () => {} };
    const pending = [createProgram(host, () => {}), createGatewayProgram(gateway)];
    const words: string[] = [];
    for (const command of pending) {
      pending.push(...command.commands);
      words.push(command.name(), ...command.options.map((option) => option.long ?? ''));
    }
    expect(words.length).toBeGreaterThan(10);
    expect(words.filter((word) => !page.includes(word))).toEqual([]);
  });

  it('explains every check, in the order of the exit codes', () => {
    for (const kind of CHECK_KINDS) expect(page).toContain(`| \`${kind}\` |`);
    const codes = CHECK_KINDS.map(exitCode);
    expect(codes).toEqual(codes.toSorted((a, b) => a - b));
  });
});
