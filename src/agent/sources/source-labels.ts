/**
 * Labels as the sources hand them out: identities by the names of domain/gpu-identity.ts, no empty
 * values, nothing internal to Prometheus.
 */
import { canonicalGpuUuid, canonicalLabelKey } from '../../domain/gpu-identity.ts';
import { isBlankText } from './blank-values.ts';

export type LabelPair = readonly [key: string, value: string];

/**
 * The canonical form of `pairs`. Where two keys spell one identity, the first in key order names
 * it, as in `identifyLabels`: of `pod` and `exported_pod`, the second is the workload and the first
 * the exporter. The other keeps its own spelling, or becomes `target_<key>` where that is taken; it
 * is dropped only where it says the same.
 */
export function canonicalLabels(pairs: readonly LabelPair[]): Record<string, string> {
  const labels = new Map<string, string>();
  const sorted = pairs.filter(isWorthKeeping).sort(byKey);
  for (const [spelling, text] of sorted) {
    const key = canonicalKey(spelling);
    const value = key === 'gpu_uuid' ? canonicalGpuUuid(text.trim()) : text;
    const taken = labels.get(key);
    if (taken === undefined) labels.set(key, value);
    else if (taken !== value) labels.set(spelling === key ? `target_${key}` : spelling, value);
  }
  return Object.fromEntries(labels);
}

/**
 * Our key for `spelling`: an identity's name, `hostname` or `device` in any case, else as it is.
 */
export function canonicalKey(spelling: string): string {
  const key = canonicalLabelKey(spelling);
  return /^(hostname|device)$/i.test(key) ? key.toLowerCase() : key;
}

/**
 * Keys with two underscores belong to Prometheus itself (`__name__`); an absent pod is no label.
 */
function isWorthKeeping([key, value]: LabelPair): boolean {
  return key !== '' && !key.startsWith('__') && !isBlankText(value);
}

function byKey([a]: LabelPair, [b]: LabelPair): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
