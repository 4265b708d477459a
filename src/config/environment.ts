/**
 * The only door to the environment of the process.
 */

/** Names and values; handed to whoever needs them, so that tests can bring their own. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The environment this process was started with. */
export function processEnvironment(): Environment {
  return process.env;
}
