import { afterAll, beforeAll, expect, test } from 'vitest';
import { exchange, ODD_REQUESTS } from '../../../trials/flood/attacks/http.ts';
import type { DaemonProcess } from '../../../trials/harness/daemon-process.ts';
import { Scenario } from '../../helpers/scenario.ts';

let scenario: Scenario;
let daemon: DaemonProcess;

beforeAll(async () => {
  scenario = await Scenario.open();
  daemon = await scenario.startDaemon();
});
afterAll(() => scenario.close());

/** What may be answered with a page; everything else is an error or nothing at all. */
const HARMLESS = ['an upgrade'];

test.each(ODD_REQUESTS)(
  '%s gets nothing out of the HTTP side and does it no harm',
  async (what, request) => {
    const answer = await exchange(scenario.deployment, request);
    const [statusLine = ''] = answer.split('\r\n');
    const expected = HARMLESS.includes(what) ? /^HTTP\/1.1 200 / : /^(HTTP\/1.1 [45]\d\d .*)?$/;
    expect(statusLine).toMatch(expected);
    expect(answer).not.toContain('root:');
    expect((await fetch(`${scenario.deployment.metricsUrl}/healthz`)).status).toBe(200);
    expect(daemon.log.filter(({ level }) => level === 'error')).toEqual([]);
  },
);
