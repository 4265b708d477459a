/**
 * The hostile QUIC client of this folder, as a process: aioquic, which makes packets that no stack
 * of ours would send.
 */
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { packageFile } from '../../../src/lib/package-root.ts';
import type { QuicAddress, QuicCredentials } from '../../../src/transport/quic-endpoint.ts';
import type { AttackFigures } from '../attack.ts';

/** The process has this long to end by itself. */
const GRACE_MS = 20_000;

export interface HostileTask {
  /** A name of attacks.py. */
  readonly attack: string;
  readonly remote: QuicAddress;
  readonly serverName: string;
  readonly credentials: QuicCredentials;
  readonly seconds: number;
}

/**
 * An interpreter with aioquic: HOSTILE_PYTHON, or python3. Undefined, with a line on standard
 * error, where there is none; in CI, which installs it, that is an error.
 */
export function hostilePython(): string | undefined {
  const python = process.env.HOSTILE_PYTHON ?? 'python3';
  try {
    execFileSync(python, ['-c', 'import aioquic'], { stdio: 'ignore' });
    return python;
  } catch {
    const message = `${python} has no aioquic: pip install aioquic==1.7.2, or set HOSTILE_PYTHON`;
    if (process.env.CI === 'true') throw new Error(message);
    process.stderr.write(`not attacked: ${message}\n`);
    return undefined;
  }
}

/** Attacks, and tells what was sent and how connections ended (`closed_` and the code). */
export async function runHostilePeer(python: string, task: HostileTask): Promise<AttackFigures> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'hostile-peer-'));
  try {
    const pem = (name: string, text: string) => {
      const file = path.join(dir, name);
      fs.writeFileSync(file, text, { mode: 0o600 });
      return file;
    };
    const { attack, remote, serverName, credentials, seconds } = task;
    const cert = pem('cert.pem', credentials.certPem);
    const key = pem('key.pem', credentials.keyPem);
    const words = { attack, ...remote, serverName, cert, key, seconds };
    return JSON.parse(await runPython(python, JSON.stringify(words), seconds)) as AttackFigures;
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

function runPython(python: string, input: string, seconds: number): Promise<string> {
  const program = packageFile('trials/flood/hostile-quic/attacks.py');
  const timeout = seconds * 1000 + GRACE_MS;
  return new Promise((resolve, reject) => {
    // Without a cache beside the sources.
    const child = execFile(python, ['-B', program], { timeout }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(error);
    });
    child.stdin?.end(input);
  });
}
