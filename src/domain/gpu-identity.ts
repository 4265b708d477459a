/**
 * What a series is about, whatever vocabulary its agent speaks. DCGM exporters, nvidia-smi
 * exporters and Kubernetes spell the same identity differently (`UUID`, `uuid`, `gpu_uuid`; `pod`,
 * `exported_pod`); both writers and the agent's sources go through this one table.
 */
import type { Labels } from './telemetry.ts';

/** The identities that have a name of their own in the warehouse and in InfluxDB tags. */
export const IDENTITY_KEYS = [
  'gpu_uuid',
  'gpu_index',
  'gpu_model',
  'gpu_instance_id',
  'gpu_instance_profile',
  'pci_bus_id',
  'namespace',
  'pod',
  'container',
  'job',
] as const;
export type IdentityKey = (typeof IDENTITY_KEYS)[number];

/** Lower-case spellings seen in the field → ours. */
const SYNONYMS: ReadonlyMap<string, IdentityKey> = new Map<string, IdentityKey>([
  ...IDENTITY_KEYS.map((key): [string, IdentityKey] => [key, key]),
  ['uuid', 'gpu_uuid'],
  ['gpu', 'gpu_index'],
  ['gpu_id', 'gpu_index'],
  ['modelname', 'gpu_model'],
  ['model_name', 'gpu_model'],
  ['gpu_i_id', 'gpu_instance_id'],
  ['gpu_i_profile', 'gpu_instance_profile'],
  ['exported_namespace', 'namespace'],
  ['pod_namespace', 'namespace'],
  ['exported_pod', 'pod'],
  ['pod_name', 'pod'],
  ['exported_container', 'container'],
  ['container_name', 'container'],
  ['hpc_job', 'job'],
]);

/** Our key for a label key in any known spelling; the key itself where it names no identity. */
export function canonicalLabelKey(key: string): string {
  return SYNONYMS.get(key.toLowerCase()) ?? key;
}

const BARE_UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Some exporters strip the `GPU-` that NVIDIA's tools print; put it back so that joins work. */
export function canonicalGpuUuid(uuid: string): string {
  return BARE_UUID.test(uuid) ? `GPU-${uuid}` : uuid;
}

/** Labels split into identities (absent: no entry) and the rest, both in canonical form. */
export interface LabelIdentity {
  readonly identities: Readonly<Partial<Record<IdentityKey, string>>>;
  /** Labels that name no identity, sorted by key, as the agent spelled them. */
  readonly rest: Labels;
  /** A series with these labels is about a GPU rather than about its node. */
  readonly isGpu: boolean;
}

/**
 * Splits the labels of a series. Where two spell one identity (`pod` and `exported_pod`), the first
 * in key order names it and the other stays in `rest`, so that nothing is lost.
 */
export function identifyLabels(labels: Labels): LabelIdentity {
  const identities: Partial<Record<IdentityKey, string>> = {};
  const rest: (readonly [string, string])[] = [];
  for (const label of labels) {
    const [key, value] = label;
    const identity = SYNONYMS.get(key.toLowerCase());
    if (identity === undefined || identities[identity] !== undefined) rest.push(label);
    else identities[identity] = identity === 'gpu_uuid' ? canonicalGpuUuid(value) : value;
  }
  const isGpu = identities.gpu_uuid !== undefined || identities.gpu_index !== undefined;
  return { identities, rest, isGpu };
}
