/**
 * The only door to the environment of the process.
 */
import fs from 'node:fs';
import path from 'node:path';

/** Names and values; passed as a value, so that tests can use their own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A credential is a token, not a file: whatever is larger was put there by mistake. */
const CREDENTIAL_BYTES_MAX = 64 * 1024;

/** The environment this process was started with, and the credentials that systemd handed over. */
export function processEnvironment(): Environment {
  return withCredentials(process.env);
}

/**
 * Adds the files of `$CREDENTIALS_DIRECTORY` (systemd's LoadCredential=) as variables of the same
 * name, so that `${INFLUXDB_TOKEN}` finds its token in either place. A variable that is set wins.
 */
export function withCredentials(environment: Environment): Environment {
  const dir = environment.CREDENTIALS_DIRECTORY;
  if (dir === undefined || !fs.existsSync(dir)) return environment;
  const credentials: Record<string, string> = {};
  for (const name of fs.readdirSync(dir)) {
    const file = path.join(dir, name);
    const stats = fs.statSync(file);
    if (!stats.isFile() || stats.size > CREDENTIAL_BYTES_MAX) continue;
    credentials[name] = fs.readFileSync(file, 'utf8').trimEnd();
  }
  return { ...credentials, ...environment };
}
