/**
 * `certs`: files with an authority, a server certificate and node certificates, for development.
 * Run again on the same directory it signs more nodes with the authority that is there.
 */
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { systemClock } from '../../lib/clock.ts';
import { errorMessage, OperatingError } from '../../lib/errors.ts';
import { badCertificates } from './bad-certificates.ts';
import {
  type CertificateRequest,
  createAuthority,
  issueCertificate,
  type KeyPairPem,
} from './development-certificates.ts';

export interface MakeCertificatesOptions {
  /** Directory, made if missing. */
  readonly out: string;
  /** DNS names and addresses of the collector; empty: localhost. */
  readonly serverName: readonly string[];
  /** Node identities. */
  readonly node: readonly string[];
  readonly days: number;
  readonly force?: boolean;
  /** Also make certificates that must be refused, in the directory `bad`. */
  readonly bad?: boolean;
}

const KEY_MODE = 0o600;
const CERTIFICATE_MODE = 0o644;
/** A node identity is a DNS name and becomes a file name. */
const NODE_ID = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** Writes the files and tells what to do next. Throws OperatingError before anything is written. */
export async function makeCertificates(
  options: MakeCertificatesOptions,
  out: (text: string) => void,
): Promise<void> {
  checkNames(options);
  const file = (name: string) => path.join(options.out, name);
  const hasAuthority = fs.existsSync(file('ca.pem')) && fs.existsSync(file('ca-key.pem'));
  const reuse = hasAuthority && options.force !== true;
  const requests = new Map(options.node.map((id) => [id, nodeRequest(id, options.days)]));
  // A later call that names only nodes leaves the server's certificate alone.
  if (!reuse || options.serverName.length > 0 || options.node.length === 0) {
    requests.set('server', serverRequest(options));
  }
  const names = [...requests.keys()].concat(reuse ? [] : ['ca']);
  if (options.force !== true) refuseToOverwrite(options.out, names);
  fs.mkdirSync(options.out, { recursive: true });
  const authority = reuse ? readAuthority(file) : await createAuthority('development authority');
  const written = reuse ? [] : writePair(options.out, 'ca', authority);
  for (const [name, request] of requests) {
    const pair = await issueCertificate(authority, request);
    written.push(...writePair(options.out, name, pair));
  }
  if (options.bad === true) written.push(...(await writeBad(options, authority)));
  out(report(options, written, reuse));
}

/** Always overwritten: no one relies on a certificate that must be refused. */
async function writeBad(
  options: MakeCertificatesOptions,
  authority: KeyPairPem,
): Promise<string[]> {
  const directory = path.join(options.out, 'bad');
  fs.mkdirSync(directory, { recursive: true });
  const good = {
    node: nodeRequest(options.node[0] ?? 'gpu-001', options.days),
    server: serverRequest(options),
  };
  const pairs = await badCertificates(authority, good, systemClock.nowMs());
  return [...pairs].flatMap(([name, pair]) => writePair(directory, name, pair));
}

function checkNames(options: MakeCertificatesOptions): void {
  const wrong = options.node.find((id) => !NODE_ID.test(id) || /^(ca|server)$|-key$/.test(id));
  if (wrong !== undefined) {
    const why =
      'a node id is made of letters, digits, dots and hyphens, and is not ca, server or …-key';
    throw new OperatingError('BAD_NODE_ID', `cannot use node id "${wrong}": ${why}`);
  }
  const names = options.serverName;
  if (names.length > 0 && names.every((name) => net.isIP(name) !== 0)) {
    const why = 'agents check a DNS name; give one with --server-name as well';
    throw new OperatingError('BAD_SERVER_NAME', `cannot use only ${names.join(', ')}: ${why}`);
  }
}

function nodeRequest(id: string, days: number): CertificateRequest {
  const uris = [`spiffe://horizon/node/${id}`];
  return { commonName: id, dnsNames: [id], uris, usages: ['clientAuth'], days };
}

function serverRequest({ serverName, days }: MakeCertificatesOptions): CertificateRequest {
  const names = serverName.length > 0 ? serverName : ['localhost', '127.0.0.1', '::1'];
  const dnsNames = names.filter((name) => net.isIP(name) === 0);
  const ipAddresses = names.filter((name) => net.isIP(name) !== 0);
  return {
    commonName: dnsNames[0] ?? 'localhost',
    dnsNames,
    ipAddresses,
    usages: ['serverAuth'],
    days,
  };
}

function refuseToOverwrite(directory: string, names: readonly string[]): void {
  const present = names
    .flatMap((name) => [`${name}.pem`, `${name}-key.pem`])
    .filter((file) => fs.existsSync(path.join(directory, file)));
  if (present.length === 0) return;
  throw new OperatingError(
    'FILES_EXIST',
    `cannot write to ${directory}: ${present.join(', ')} would be overwritten; ` +
      'give --force to replace everything, the authority included',
  );
}

function readAuthority(file: (name: string) => string): KeyPairPem {
  return {
    certPem: fs.readFileSync(file('ca.pem'), 'utf8'),
    keyPem: fs.readFileSync(file('ca-key.pem'), 'utf8'),
  };
}

/** Writes NAME.pem and NAME-key.pem; their paths. */
function writePair(directory: string, name: string, pair: KeyPairPem): string[] {
  const certificate = path.join(directory, `${name}.pem`);
  const key = path.join(directory, `${name}-key.pem`);
  try {
    // Removed first, so that the mode holds and a link is not followed.
    for (const file of [certificate, key]) fs.rmSync(file, { force: true });
    fs.writeFileSync(certificate, pair.certPem, { mode: CERTIFICATE_MODE, flag: 'wx' });
    fs.writeFileSync(key, pair.keyPem, { mode: KEY_MODE, flag: 'wx' });
  } catch (error) {
    const message = `cannot write ${certificate} and its key: ${errorMessage(error)}`;
    throw new OperatingError('CERTIFICATES_UNWRITABLE', message, { cause: error });
  }
  return [certificate, key];
}

function report(options: MakeCertificatesOptions, written: string[], reused: boolean): string {
  const at = (name: string) => path.resolve(options.out, name);
  const node = options.node[0];
  const next = [
    'In the configuration of the collector:',
    '  security:',
    `    tls_cert_path: "${at('server.pem')}"`,
    `    tls_key_path: "${at('server-key.pem')}"`,
    `    tls_ca_path: "${at('ca.pem')}"`,
    '',
    node === undefined
      ? `For an agent, make a certificate: telemetry-collector certs --out ${options.out} --node ID`
      : `An agent takes ${at(`${node}.pem`)}, ${at(`${node}-key.pem`)} and ${at('ca.pem')}.`,
    `Keep ${at('ca-key.pem')} secret: anyone who has it can pose as any node.`,
  ];
  const origin = reused ? `Signed with the authority of ${at('ca.pem')}.\n` : '';
  return `${origin}Wrote ${written.join(', ')}.\n\n${next.join('\n')}\n`;
}
