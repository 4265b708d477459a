import { describe, expect, test } from 'vitest';
import { parseLabelList } from '../../../src/agent/sources/label-list.ts';
import { canonicalLabels } from '../../../src/agent/sources/source-labels.ts';

describe('a label list', () => {
  test.each([
    ['', []],
    ['a="x"', [['a', 'x']]],
    [
      'a="x",b="y",',
      [
        ['a', 'x'],
        ['b', 'y'],
      ],
    ],
    [
      ' a = "x" , b = "y" ',
      [
        ['a', 'x'],
        ['b', 'y'],
      ],
    ],
    [
      'a="x, y=\\"z\\"",b="\\\\",c="\\n"',
      [
        ['a', 'x, y="z"'],
        ['b', '\\'],
        ['c', '\n'],
      ],
    ],
    [
      'a="C:\\dir",b="{}"',
      [
        ['a', 'C:\\dir'],
        ['b', '{}'],
      ],
    ],
    [
      'a="",b="ü"',
      [
        ['a', ''],
        ['b', 'ü'],
      ],
    ],
    ['"quoted key"="x"', [['quoted key', 'x']]],
  ])('%j is read', (text, labels) => {
    expect(parseLabelList(text)).toMatchObject({ labels, end: text.length });
  });

  test('ends at the closing brace', () => {
    const text = 'x{a="}",b="1"} 5';
    const list = parseLabelList(text, 2);
    expect(typeof list === 'string' ? list : text.slice(list.end)).toBe('} 5');
  });

  test.each(['a=x', 'a="x', 'a', '="x"', 'a="x" b="y"', 'a="1",a="2"', ',', '1a="x"'])(
    '%j is refused',
    (text) => {
      expect(typeof parseLabelList(text)).toBe('string');
    },
  );
});

describe('canonical labels', () => {
  test('have the names of the identities and no empty values', () => {
    expect(
      canonicalLabels([
        ['UUID', '5fd4f087-86f3-7a43-b711-4771313afc50'],
        ['gpu', '3'],
        ['modelName', 'NVIDIA H100'],
        ['GPU_I_ID', '7'],
        ['GPU_I_PROFILE', '1g.10gb'],
        ['Hostname', 'n1'],
        ['device', 'nvidia3'],
        ['DCGM_FI_DRIVER_VERSION', '550'],
        ['__name__', 'x'],
        ['pod', ''],
        ['namespace', ' '],
        ['container', '<<<NULL>>>'],
        ['constructor', 'kept'],
      ]),
    ).toEqual({
      gpu_uuid: 'GPU-5fd4f087-86f3-7a43-b711-4771313afc50',
      gpu_index: '3',
      gpu_model: 'NVIDIA H100',
      gpu_instance_id: '7',
      gpu_instance_profile: '1g.10gb',
      hostname: 'n1',
      device: 'nvidia3',
      DCGM_FI_DRIVER_VERSION: '550',
      constructor: 'kept',
    });
  });

  test('take the workload’s pod, not the exporter’s, and keep both', () => {
    const labels = canonicalLabels([
      ['pod', 'dcgm-exporter-x'],
      ['exported_pod', 'train-0'],
      ['hpc_job', '4711'],
      ['job', 'dgx'],
    ]);
    expect(labels).toEqual({
      pod: 'train-0',
      target_pod: 'dcgm-exporter-x',
      job: '4711',
      target_job: 'dgx',
    });
  });

  test('say one identity once where two spellings agree', () => {
    expect(
      canonicalLabels([
        ['UUID', 'GPU-1'],
        ['uuid', 'GPU-1'],
      ]),
    ).toEqual({ gpu_uuid: 'GPU-1' });
    expect(
      canonicalLabels([
        ['UUID', 'GPU-1'],
        ['uuid', 'GPU-2'],
      ]),
    ).toEqual({
      gpu_uuid: 'GPU-1',
      uuid: 'GPU-2',
    });
  });
});
