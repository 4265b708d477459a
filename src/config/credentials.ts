/**
 * Secrets that systemd hands over as files (LoadCredential=, SetCredential=): each counts as a
 * variable of its name, so that a token needs to stand neither in the configuration nor in the
 * environment, which other processes of the user can read.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { Environment } from './environment.ts';

const CREDENTIAL_BYTES_MAX = 64 * 1024;

/**
 * `environment` and the files of its CREDENTIALS_DIRECTORY; a variable wins over a file. Throws
 * OperatingError CREDENTIALS_UNREADABLE.
 */
export function withCredentials(environment: Environment): Environment {
  const directory = environment.CREDENTIALS_DIRECTORY;
  if (directory === undefined || directory === '') return environment;
  try {
    const names = fs.readdirSync(directory).filter((name) => environment[name] === undefined);
    const files = names.filter((name) => isCredential(path.join(directory, name)));
    const credentials = files.map((name) => [name, readCredential(path.join(directory, name))]);
    return { ...Object.fromEntries(credentials), ...environment };
  } catch (error) {
    throw new OperatingError(
      'CREDENTIALS_UNREADABLE',
      `cannot read the credentials in ${directory}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}

function isCredential(file: string): boolean {
  const status = fs.statSync(file);
  return status.isFile() && status.size <= CREDENTIAL_BYTES_MAX;
}

/** Editors end files in a newline, which is no part of a secret. */
function readCredential(file: string): string {
  return fs.readFileSync(file, 'utf8').replace(/\r?\n$/, '');
}
