import { expect, test } from 'vitest';
import {
  canonicalGpuUuid,
  canonicalLabelKey,
  identifyLabels,
} from '../../src/domain/gpu-identity.ts';
import type { Labels } from '../../src/domain/telemetry.ts';

function sorted(labels: Record<string, string>): Labels {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}

test.each([
  ['UUID', 'gpu_uuid'],
  ['uuid', 'gpu_uuid'],
  ['modelName', 'gpu_model'],
  ['exported_pod', 'pod'],
  ['GPU_I_ID', 'gpu_instance_id'],
  ['hpc_job', 'job'],
  ['Hostname', 'Hostname'],
])('the label %s is %s', (spelling, key) => {
  expect(canonicalLabelKey(spelling)).toBe(key);
});

test('a GPU UUID without its prefix gets it back, a MIG UUID stays as it is', () => {
  const bare = '5fd4f087-86f3-7a43-b711-4771313afc50';
  expect(canonicalGpuUuid(bare)).toBe(`GPU-${bare}`);
  expect(canonicalGpuUuid(`GPU-${bare}`)).toBe(`GPU-${bare}`);
  expect(canonicalGpuUuid(`MIG-${bare}`)).toBe(`MIG-${bare}`);
});

test('labels split into identities and the rest, and nothing is lost', () => {
  const found = identifyLabels(
    sorted({ UUID: 'GPU-1', gpu: '3', pod: 'p', Hostname: 'h', z: '1' }),
  );
  expect(found.identities).toEqual({ gpu_uuid: 'GPU-1', gpu_index: '3', pod: 'p' });
  expect(found.rest).toEqual([
    ['Hostname', 'h'],
    ['z', '1'],
  ]);
  expect(found.isGpu).toBe(true);
});

test('of two spellings of one identity the first names it and the other stays', () => {
  const found = identifyLabels(sorted({ exported_pod: 'a', pod: 'b' }));
  expect(found.identities).toEqual({ pod: 'a' });
  expect(found.rest).toEqual([['pod', 'b']]);
  expect(found.isGpu).toBe(false);
});
