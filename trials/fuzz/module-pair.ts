/**
 * Two instances of quinn.wasm that speak with each other without sockets: what one has to send is
 * put into the other. For fuzzing the module's own boundary.
 */
import { randomBytes } from 'node:crypto';
import {
  createAuthority,
  issueCertificate,
} from '../../src/collector/cli/development-certificates.ts';
import { ALPN_PROTOCOL } from '../../src/domain/telemetry.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { QuicCredentials } from '../../src/transport/quic-endpoint.ts';
import { giveCredentials, useCredentials } from '../../src/transport/quinn/module-credentials.ts';
import {
  AddressBook,
  type ModuleRecord,
  RECORD,
  readRecords,
} from '../../src/transport/quinn/module-records.ts';
import { compileQuinn, FAILED, QuinnModule } from '../../src/transport/quinn/quinn-module.ts';
import { must } from './fuzz-target.ts';

const KEY_BYTES = 72;
const NAME = 'localhost';
const CLIENT_PORT = 1111;
const SERVER_PORT = 2222;
const ROUNDS_MAX = 20;
const KINDS = new Set<number>(Object.values(RECORD));

/** The module and certificates, made once; pairs are made of them. */
export class PairMaker {
  readonly #compiled = compileQuinn();
  readonly #credentials: QuicCredentials;

  private constructor(credentials: QuicCredentials) {
    this.#credentials = credentials;
  }

  static async create(): Promise<PairMaker> {
    const authority = await createAuthority('Fuzz');
    const pair = await issueCertificate(authority, { commonName: NAME, dnsNames: [NAME] });
    return new PairMaker({ ...pair, caPem: authority.certPem });
  }

  /** A server and a client, connected; connection 0 of each. */
  connected(): ModulePair {
    const pair = new ModulePair(this.#open(true), this.#open(false));
    useCredentials(pair.client, 'client', this.#credentials, ALPN_PROTOCOL);
    const octets = new AddressBook(false).octetsOf('127.0.0.1');
    pair.client.put(Buffer.from(NAME), pair.client.put(octets));
    must(pair.client.calls.connect(NAME.length, SERVER_PORT) === 0, 'a client can connect');
    must(
      pair.exchange().some(({ kind }) => kind === RECORD.connected),
      'the handshake succeeds',
    );
    return pair;
  }

  #open(isServer: boolean): QuinnModule {
    const module = new QuinnModule(this.#compiled, systemClock);
    module.calls.set_bounds(60_000, 1 << 18, 1 << 19, 16, 16, 1350);
    giveCredentials(module, 'server', this.#credentials, ALPN_PROTOCOL);
    module.put(randomBytes(KEY_BYTES));
    must(module.calls.open(isServer ? 1 : 0) !== FAILED, 'an instance opens');
    if (isServer) module.calls.set_limits(1, 0, 100, 100, 64 << 20);
    return module;
  }
}

export class ModulePair {
  readonly server: QuinnModule;
  readonly client: QuinnModule;

  constructor(server: QuinnModule, client: QuinnModule) {
    this.server = server;
    this.client = client;
  }

  /** Lets both speak until they have nothing more to say; what they told their hosts. */
  exchange(): ModuleRecord[] {
    let told: ModuleRecord[] = [];
    let forServer: Buffer[] = [];
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const ofServer = turn(this.server, forServer, CLIENT_PORT);
      const ofClient = turn(this.client, datagramsOf(ofServer), SERVER_PORT);
      forServer = datagramsOf(ofClient);
      // A turn may tell more than a call takes as arguments.
      told = told.concat(ofServer, ofClient);
      if (forServer.length === 0) break;
    }
    return told;
  }
}

/** Puts datagrams in and checks that what comes out has the form it must have. */
export function turn(module: QuinnModule, datagrams: readonly Buffer[], port: number) {
  const octets = new AddressBook(false).octetsOf('127.0.0.1');
  let length = 0;
  for (const datagram of datagrams) length = module.putDatagram(datagram, octets, port, length);
  return checkedRecords(module.run(length));
}

/** The records of an output. Throws where they are not what the host relies on. */
export function checkedRecords(output: Buffer): ModuleRecord[] {
  const records = [...readRecords(output)];
  for (const { kind, payload } of records) {
    must(KINDS.has(kind), 'a record has a known kind');
    must(kind !== RECORD.transmit || payload.length > 16, 'a datagram has an address');
  }
  return records;
}

/** What is to be sent, without the addresses. */
export function datagramsOf(records: readonly ModuleRecord[]): Buffer[] {
  return records
    .filter(({ kind }) => kind === RECORD.transmit)
    .map(({ payload }) => payload.subarray(16));
}
