/**
 * The example clients, built with their own tools and held to every rule of the protocol. They
 * download packages, so they run in CI, or where EXAMPLES is set.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { packageFile } from '../../src/lib/package-root.ts';
import { runCli } from '../helpers/run-cli.ts';

/** Kept between runs, outside the repository. */
const BUILD_DIR = path.join(os.tmpdir(), 'telemetry-examples');
const BUILD_TIMEOUT_MS = 600_000;
const RUN_TIMEOUT_MS = 180_000;

interface Example {
  readonly tool: string;
  /** Builds the client and returns the command that runs it. */
  build(folder: string, out: string): string[];
}

const EXAMPLES: Record<string, Example> = {
  python: {
    tool: 'python3',
    build(folder, out) {
      const python = path.join(out, 'venv', 'bin', 'python');
      if (!fs.existsSync(python)) run('python3', ['-m', 'venv', path.join(out, 'venv')], folder);
      run(python, ['-m', 'pip', 'install', '-q', '-r', 'requirements.txt'], folder);
      fs.copyFileSync(path.join(folder, 'client.py'), path.join(out, 'client.py'));
      const words = ['-I', packageFile('proto'), `--python_out=${out}`, 'telemetry.proto'];
      run(python, ['-m', 'grpc_tools.protoc', ...words], folder);
      return [python, path.join(out, 'client.py')];
    },
  },
  go: {
    tool: 'go',
    build(folder, out) {
      run('go', ['vet', './...'], folder);
      run('go', ['build', '-o', path.join(out, 'client'), '.'], folder);
      return [path.join(out, 'client')];
    },
  },
  rust: {
    tool: 'cargo',
    build(folder, out) {
      run('cargo', ['build', '--quiet', '--locked', '--target-dir', out], folder);
      return [path.join(out, 'debug', 'telemetry-client')];
    },
  },
};

test.each(Object.entries(EXAMPLES))(
  'the %s client keeps every rule',
  async (language, { tool, build }) => {
    const why = reasonNotToRun(tool);
    if (why !== undefined) {
      process.stderr.write(`not run: the ${language} example: ${why}\n`);
      return;
    }
    const out = path.join(BUILD_DIR, language);
    fs.mkdirSync(out, { recursive: true });
    const command = build(packageFile(`examples/${language}`), out);
    const result = await runCli(['conformance', '--', ...command], { timeoutMs: RUN_TIMEOUT_MS });
    expect(result.stdout).toContain('18 of 18 rules are kept');
    expect(result.code).toBe(0);
  },
  BUILD_TIMEOUT_MS + RUN_TIMEOUT_MS,
);

function reasonNotToRun(tool: string): string | undefined {
  if (process.env.CI !== 'true' && process.env.EXAMPLES === undefined) {
    return 'it downloads packages; set EXAMPLES=1 to run it';
  }
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  const isThere = folders.some((folder) => fs.existsSync(path.join(folder, tool)));
  return isThere ? undefined : `${tool} is not installed`;
}

function run(program: string, words: readonly string[], cwd: string): void {
  execFileSync(program, words, { cwd, stdio: ['ignore', 'inherit', 'inherit'] });
}
