/**
 * All attacks, strangers first.
 */
import type { Attack } from './attack.ts';
import { cardinalityLimit, costlyTables, rateLimit } from './attacks/batches.ts';
import {
  allSlots,
  expansion,
  hugeSequence,
  longTexts,
  scatteredHours,
  units,
  unusedSymbols,
} from './attacks/budgets.ts';
import { HOSTILE_QUIC } from './attacks/hostile-quic.ts';
import {
  httpConnections,
  httpOddRequests,
  httpSlowClients,
  httpUnreadPages,
} from './attacks/http.ts';
import { heavyLines } from './attacks/lines.ts';
import {
  connectionChurn,
  foreignCertificates,
  halfOpenHandshakes,
  spoofedInitials,
} from './attacks/strangers.ts';
import {
  dribbledFrame,
  giantLength,
  idleConnections,
  manyStreams,
  slowStreams,
  unreadAcks,
} from './attacks/streams.ts';
import { HOSTILE_TCP } from './attacks/tcp.ts';
import { alternatingRows, alternatingTables, tinyTables } from './attacks/tables.ts';

export const ATTACKS: readonly Attack[] = [
  ...[spoofedInitials, halfOpenHandshakes, foreignCertificates, connectionChurn],
  ...HOSTILE_QUIC,
  ...HOSTILE_TCP,
  ...[slowStreams, dribbledFrame, giantLength, unreadAcks, manyStreams, idleConnections],
  ...[cardinalityLimit, costlyTables, rateLimit],
  ...[alternatingTables, alternatingRows, tinyTables, heavyLines],
  ...[expansion, scatteredHours, unusedSymbols, units, longTexts, allSlots, hugeSequence],
  ...[httpSlowClients, httpConnections, httpOddRequests, httpUnreadPages],
];

/** The attack of that name. Throws where there is none. */
export function attackNamed(name: string): Attack {
  const attack = ATTACKS.find((one) => one.name === name);
  if (attack !== undefined) return attack;
  const names = ATTACKS.map((one) => one.name).join(', ');
  throw new Error(`no attack is called ${name}; there are: ${names}`);
}
