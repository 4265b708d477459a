import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { programVersion } from '../../../src/lib/program-version.ts';
import { runCli } from '../../helpers/run-cli.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('the command line', () => {
  const helps = [
    ['--help'],
    ['help'],
    ['-h'],
    ['check-config', '--help'],
    ['certs', '--help'],
    ['help', 'certs'],
    ['journal', '--help'],
    ['journal', 'inspect', '--help'],
  ];
  for (const words of helps) {
    it(`explains itself on "${words.join(' ')}"`, async () => {
      const { code, stdout, stderr } = await runCli(words);
      expect(stdout).toMatch(/^Usage: telemetry-collector/);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    });
  }

  it('prints the version of the package', async () => {
    for (const word of ['--version', '-V']) {
      expect(await runCli([word])).toEqual({
        code: 0,
        stdout: `${programVersion()}\n`,
        stderr: '',
      });
    }
  });

  const misuses: [words: string[], says: RegExp][] = [
    [['chek-config'], /Did you mean telemetry-collector check-config\?/],
    [['check-confg', 'file.yaml'], /Did you mean telemetry-collector check-config\?/],
    [['--verion'], /Did you mean --version\?/],
    [['certs'], /required option '-o, --out <directory>'/],
    [['certs', '--out', 'x', '--days', 'soon'], /number of days/],
    [['certs', '--out', 'x', '--nod', 'a'], /Did you mean --node\?/],
    [['check-config', 'a', 'b'], /too many arguments/],
    [['journal', 'inspekt'], /Did you mean inspect\?/],
    [['journal'], /Usage: telemetry-collector journal/],
    [['missing.yaml'], /no command or configuration file 'missing\.yaml'/],
  ];
  for (const [words, says] of misuses) {
    it(`answers misuse like "${words.join(' ')}" with what to type and exit code 2`, async () => {
      const { code, stdout, stderr } = await runCli(words, { cwd: tempDir() });
      expect(stderr).toMatch(says);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    });
  }

  it('takes at most one configuration file', async () => {
    const cwd = tempDir();
    fs.writeFileSync(path.join(cwd, 'a.yaml'), '');
    const { code, stderr } = await runCli(['a.yaml', 'b.yaml'], { cwd });
    expect(code).toBe(2);
    expect(stderr).toContain("not also 'b.yaml'");
  });

  it('takes a file that is called like a command when it is given as a path', async () => {
    const cwd = tempDir();
    fs.writeFileSync(path.join(cwd, 'certs'), 'colector_id: x\n');
    const { code, stderr } = await runCli(['./certs'], { cwd });
    expect(stderr).toContain('./certs:1: colector_id is not a known key');
    expect(code).toBe(3);
  });

  it('tells every problem of the configuration and ends with exit code 3', async () => {
    const cwd = tempDir();
    fs.writeFileSync(path.join(cwd, 'c.yaml'), 'server:\n  max_connections: 0\nfoo: 1\n');
    const { code, stdout, stderr } = await runCli(['c.yaml'], {
      cwd,
      env: { TELEMETRY_COLLECTOR_JOURNAL__MAX_BYTES: '1' },
    });
    expect(stderr).toContain('c.yaml:2: server.max_connections is 0');
    expect(stderr).toContain('c.yaml:3: foo is not a known key');
    expect(stderr).toContain('TELEMETRY_COLLECTOR_JOURNAL__MAX_BYTES: journal.max_bytes is "1"');
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });
});
