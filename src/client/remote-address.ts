/**
 * Where the collector is now. A DNS name is looked up again at each try, so that a collector that
 * moved is found without restarting its agents; the tries take turns over its addresses.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicAddress } from '../transport/quic-endpoint.ts';

/** All IP addresses of a host name; rejects where there is none. */
export type HostLookup = (host: string) => Promise<readonly string[]>;

export const systemLookup: HostLookup = async (host) => {
  const answers = await lookup(host, { all: true, verbatim: true });
  return answers.map((answer) => answer.address);
};

export interface ResolveOptions {
  readonly remote: QuicAddress;
  /** How many tries there were before; picks among several addresses. */
  readonly tries: number;
  readonly timeoutMs: number;
  /** Which addresses the socket can reach; default: all. */
  readonly family?: 4 | 6;
}

/** The address to try now. Rejects with UNKNOWN_HOST. */
export async function resolveRemote(
  clock: Clock,
  lookupHost: HostLookup,
  options: ResolveOptions,
): Promise<QuicAddress> {
  const { host, port } = options.remote;
  if (isIP(host) !== 0) return options.remote;
  const all = await lookUpInTime(clock, lookupHost, host, options.timeoutMs);
  const usable = all.filter((address) => (options.family ?? isIP(address)) === isIP(address));
  const address = usable[options.tries % Math.max(1, usable.length)];
  if (address === undefined) {
    const family = options.family === undefined ? '' : ` of IPv${options.family}`;
    throw new OperatingError('UNKNOWN_HOST', `cannot find ${host}: it has no address${family}`);
  }
  return { host: address, port };
}

function lookUpInTime(
  clock: Clock,
  lookupHost: HostLookup,
  host: string,
  timeoutMs: number,
): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => {
      cancel();
      reject(new OperatingError('UNKNOWN_HOST', `cannot find ${host}: ${why}`, { cause }));
    };
    const cancel = clock.after(timeoutMs, () => fail(`no DNS answer within ${timeoutMs} ms`));
    lookupHost(host).then(
      (addresses) => {
        cancel();
        resolve(addresses);
      },
      (error: unknown) => fail(errorMessage(error), error),
    );
  });
}
