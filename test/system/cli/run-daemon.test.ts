import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  createAuthority,
  issueCertificate,
} from '../../../src/collector/cli/development-certificates.ts';
import { packageFile } from '../../../src/lib/package-root.ts';
import { runCli } from '../../helpers/run-cli.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const CONFIG = `
server: { listen_addr: "127.0.0.1:0" }
security: { tls_cert_path: server.pem, tls_key_path: key.pem, tls_ca_path: ca.pem }
parquet: { output_dir: data }
journal: { min_free_bytes: 0 }
observability: { metrics_port: 0, metrics_addr: 127.0.0.1 }
`;

async function workplace(): Promise<string> {
  const cwd = tempDir();
  const authority = await createAuthority('authority');
  const names = { commonName: 'localhost', dnsNames: ['localhost'] };
  const { certPem, keyPem } = await issueCertificate(authority, names);
  const files = { 'c.yaml': CONFIG, 'ca.pem': authority.certPem };
  for (const [name, text] of Object.entries({
    ...files,
    'server.pem': certPem,
    'key.pem': keyPem,
  })) {
    fs.writeFileSync(path.join(cwd, name), text);
  }
  return cwd;
}

interface Daemon {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
}

/** The built daemon, ready. */
async function startDaemon(): Promise<Daemon> {
  const child = spawn(process.execPath, [packageFile('dist/src/collector/main.js'), 'c.yaml'], {
    cwd: await workplace(),
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  for await (const line of readline.createInterface(child.stdout!)) {
    if (JSON.parse(line).msg === 'ready') break;
  }
  child.stdout!.resume();
  return { child, exited };
}

describe('the daemon as a command', () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`stops cleanly on ${signal}`, async () => {
      const { child, exited } = await startDaemon();
      child.kill(signal);
      expect(await exited).toBe(0);
    });
  }

  it('ends at once on a second signal, with the code of that signal', async () => {
    const { child, exited } = await startDaemon();
    // Both wait together, whoever sleeps meanwhile; which is the second is the system's choice.
    child.kill('SIGSTOP');
    child.kill('SIGINT');
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    expect([130, 143]).toContain(await exited);
  });

  it('ends with exit code 1 and says why when it cannot start', async () => {
    const cwd = await workplace();
    fs.rmSync(path.join(cwd, 'key.pem'));
    const { code, stdout } = await runCli(['c.yaml'], { cwd });
    expect(code).toBe(1);
    const last = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
    expect(last).toMatchObject({ level: 'fatal', msg: 'the daemon ends because of an error' });
    expect(last.err.message).toContain('key.pem');
  });

  it('shows what the journal of a stopped daemon holds', async () => {
    const cwd = await workplace();
    const missing = await runCli(['journal', 'inspect', 'c.yaml'], { cwd });
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/^telemetry-collector: cannot /);
    const child = spawn(process.execPath, [packageFile('dist/src/collector/main.js'), 'c.yaml'], {
      cwd,
    });
    for await (const line of readline.createInterface(child.stdout)) {
      if (JSON.parse(line).msg === 'ready') break;
    }
    child.stdout.resume();
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('exit', resolve));
    const json = await runCli(['journal', 'inspect', 'c.yaml', '--json'], { cwd });
    expect(json.stderr).toBe('');
    const report = JSON.parse(json.stdout);
    expect(report).toMatchObject({ acceptedSamples: 0, writers: { parquet: {} } });
    const text = await runCli(['journal', 'inspect', 'c.yaml'], { cwd });
    expect(text.stdout).toMatch(/^head seq +\d+$/m);
  });
});
