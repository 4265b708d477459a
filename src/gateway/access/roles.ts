/**
 * What a caller may do: its role, and the part of the fleet it sees.
 */

/** From the least to the most; each may do what those before it may. */
export const ROLES = ['reader', 'writer', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Whether `role` includes everything that `needed` may do. */
export function includesRole(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed);
}

/**
 * The part of the fleet that a caller sees. A list that is given must name the value; a series or
 * event without the value (a GPU that nobody uses has no namespace) is then hidden. `{}` sees all.
 */
export interface Scope {
  /** Values of the label `namespace`. */
  readonly namespaces?: readonly string[] | undefined;
  /** Names of nodes. */
  readonly nodes?: readonly string[] | undefined;
}

/** Whether a scope leaves nothing out. */
export function isUnscoped(scope: Scope): boolean {
  return scope.namespaces === undefined && scope.nodes === undefined;
}

/** Whether a caller with `scope` may see what belongs to `node` and `namespace` ('' = none). */
export function sees(scope: Scope, node: string, namespace: string): boolean {
  if (scope.nodes !== undefined && !scope.nodes.includes(node)) return false;
  return scope.namespaces === undefined || scope.namespaces.includes(namespace);
}

/**
 * A text that is the same for equal scopes only: for caches and cursors that must not be shared.
 */
export function scopeKey({ namespaces, nodes }: Scope): string {
  const sorted = (list: readonly string[] | undefined) =>
    list === undefined ? null : [...list].sort();
  return JSON.stringify([sorted(namespaces), sorted(nodes)]);
}
