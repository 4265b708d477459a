import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSource, type SourceOptions } from '../../../src/agent/sources/open-source.ts';
import { SOURCE_KINDS } from '../../../src/agent/sources/source-kinds.ts';
import { FakeClock } from '../../helpers/fake-clock.ts';
import { createRecordingLogger } from '../../helpers/recording-logger.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

const deps = { clock: new FakeClock(1_700_000_000_000), logger: createRecordingLogger().logger };

describe('every kind of source', () => {
  test.each(SOURCE_KINDS)('%s opens, says its name and closes twice', async (kind) => {
    const file = path.join(tempDir(), 'x.csv');
    fs.writeFileSync(file, 'timestamp,metric_name,value\n');
    const options: SourceOptions = {
      simulate: { nodeId: 'n1' },
      csv: { path: file },
      prometheus: { url: 'http://localhost:9400/metrics' },
    };
    const source = await openSource(kind, options, deps);
    expect(source.name).toBe(kind);
    await source.close();
    await source.close();
  });

  test.each(['simulate', 'csv', 'prometheus'] as const)('%s says what it needs', async (kind) => {
    await expect(openSource(kind, {}, deps)).rejects.toMatchObject({ code: 'SOURCE_OPTIONS' });
  });
});
