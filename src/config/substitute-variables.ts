/**
 * Replaces `${NAME}` in a configured text by a variable of the environment, and `$${` by a plain
 * `${`.
 */
import type { Environment } from './environment.ts';

export type Substitution =
  | { readonly ok: true; readonly text: string; readonly changed: boolean }
  /** `what` completes the sentence "the value …". */
  | { readonly ok: false; readonly what: string };

const REFERENCE = /\$\$\{|\$\{([^}]*)\}?/g;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Replaces every reference; the first one that cannot be replaced is reported. */
export function substituteVariables(text: string, environment: Environment): Substitution {
  let failure: string | undefined;
  const replaced = text.replace(REFERENCE, (reference: string, name: string | undefined) => {
    if (name === undefined) return '${';
    const value = environment[name];
    if (!reference.endsWith('}')) {
      failure ??= 'begins a ${ that is never closed; write $${ for a plain ${';
    } else if (!NAME.test(name)) {
      failure ??= `refers to $\{${name}}, which is no name of a variable`;
    } else if (value === undefined) {
      failure ??= `refers to the environment variable ${name}, which is not set`;
    }
    return value ?? '';
  });
  if (failure !== undefined) return { ok: false, what: failure };
  return { ok: true, text: replaced, changed: replaced !== text };
}
