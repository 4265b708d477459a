import fs from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import type { TransportChoice } from '../../../src/client/transport-choice.ts';
import { parseFamilies } from '../../../trials/torture/options.ts';
import { renderStory } from '../../../trials/torture/report.ts';
import { runTorture } from '../../../trials/torture/torture.ts';

const SECONDS = 30;
/** Only ends a harness that hangs: a daemon that does is found, and told of, by its deadlines. */
const HANG_MS = 600_000;

/** Names the seed and tells the story where a promise was broken. */
async function keepsItsPromises(
  seed: number,
  faults: string,
  transport: TransportChoice = 'auto',
): Promise<void> {
  const families = parseFamilies(faults);
  const options = {
    seed,
    transport,
    seconds: SECONDS,
    kills: undefined,
    only: '',
    load: 1,
    json: false,
    keep: false,
  };
  const result = await runTorture({ ...options, families }, { print: () => {} });
  onTestFinished(() => fs.rmSync(result.dir, { recursive: true, force: true }));
  const story = result.findings.length === 0 ? '' : renderStory({ ...options, families }, result);
  expect(story).toBe('');
  expect(result.verdict.warehouse.rows).toBeGreaterThan(0);
}

test(
  'seed 1: kills, signals and power cuts break no promise over TLS',
  () => keepsItsPromises(1, 'kill,signal,power', 'tls'),
  HANG_MS,
);

test(
  'seed 2: kills with bad networks, agents and sinks break no promise',
  () => keepsItsPromises(2, 'kill,sink,network,agent'),
  HANG_MS,
);

test(
  'seed 3: everything at once breaks no promise',
  () =>
    keepsItsPromises(3, 'kill,signal,power,sink,disk,network,agent,clock,tables,hours,clock-days'),
  HANG_MS,
);

test(
  'seed 4: panics of the QUIC stack cost connections and no promise',
  () => keepsItsPromises(4, 'panic'),
  HANG_MS,
);
