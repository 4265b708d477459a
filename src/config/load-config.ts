/**
 * Reading the configuration from disk and environment. File paths inside it are relative to the
 * working directory of the daemon, not to the file.
 */
import fs from 'node:fs';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { Environment } from './environment.ts';
import {
  COLLECTOR_FORMAT,
  type ConfigFormat,
  type ConfigProblem,
  type ConfigText,
  type ReadResult,
  readConfig,
  readFormat,
} from './read-config.ts';
import type { Config } from './schema.ts';

/**
 * Far over any configuration; a file this large was given by mistake, and nonsense is slow to
 * parse.
 */
const FILE_BYTES_MAX = 128 * 1024;

/**
 * The configuration of `path`, or the defaults where it is undefined, with the overrides of
 * `environment`; frozen. Throws OperatingError CONFIG_UNREADABLE or CONFIG_INVALID, the latter with
 * every problem in its message.
 */
export function loadConfig(path: string | undefined, environment: Environment): Config {
  return loadFormat(COLLECTOR_FORMAT, path, environment);
}

/** The same of any program's configuration. */
export function loadFormat<T>(
  format: ConfigFormat<T>,
  path: string | undefined,
  environment: Environment,
): T {
  const result = readFormat(format, readFile(path), environment);
  if (result.ok) return result.config;
  const name = path ?? 'the default configuration';
  throw new OperatingError(
    'CONFIG_INVALID',
    `cannot use ${name}:\n${result.problems.map((one) => `  ${renderProblem(one)}`).join('\n')}`,
  );
}

/** Like `loadConfig`, with the problems as data. Throws OperatingError CONFIG_UNREADABLE. */
export function readConfigFile(path: string | undefined, environment: Environment): ReadResult {
  return readConfig(readFile(path), environment);
}

/** One line: where, and what is wrong. */
export function renderProblem(problem: ConfigProblem): string {
  return `${problem.where}: ${problem.message}`;
}

function readFile(path: string | undefined): ConfigText | undefined {
  return path === undefined ? undefined : { name: path, text: readText(path) };
}

function readText(path: string): string {
  try {
    const { size } = fs.statSync(path);
    if (size > FILE_BYTES_MAX) throw new Error(`it has ${size} bytes, more than ${FILE_BYTES_MAX}`);
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw new OperatingError(
      'CONFIG_UNREADABLE',
      `cannot read configuration ${path}: ${errorMessage(error)}`,
      { cause: error },
    );
  }
}
