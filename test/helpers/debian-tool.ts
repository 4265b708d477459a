/**
 * Programs that scenarios judge by and that come from Debian. Where one is missing and may be
 * installed (root, apt), it is; otherwise the scenario is skipped with the reason, which is an
 * error in CI.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';

const APT_TIMEOUT_MS = 300_000;

/**
 * Path of `program`, installing Debian's `package` if need be; undefined where that is not
 * possible.
 */
export function debianTool(program: string, debianPackage: string): string | undefined {
  const file = `/usr/bin/${program}`;
  if (fs.existsSync(file)) return file;
  const why = installPackage(debianPackage);
  if (fs.existsSync(file)) return file;
  const message = `${program} is missing and ${debianPackage} could not be installed: ${why}`;
  if (process.env.CI === 'true') throw new Error(message);
  process.stderr.write(`skipping: ${message}\n`);
  return undefined;
}

function installPackage(debianPackage: string): string {
  if (process.getuid?.() !== 0) return 'not root';
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: 'pipe' as const,
    timeout: APT_TIMEOUT_MS,
  };
  try {
    execFileSync('apt-get', ['update', '-qq'], options);
    execFileSync('apt-get', ['install', '-y', '-qq', debianPackage], options);
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
