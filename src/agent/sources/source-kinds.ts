/**
 * The places that an agent can read from, by name.
 */

export const SOURCE_KINDS = ['simulate', 'csv', 'nvidia-smi', 'prometheus', 'host'] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];
