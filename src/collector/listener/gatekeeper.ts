/**
 * Who may be connected: the collector's own credentials with the authorities it trusts, their
 * revocation lists, and the denylist. All are files that may change while the daemon runs. After a
 * change, the owner of this object checks all connected peers again.
 */
import type { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import type { SecurityConfig } from '../../config/schema.ts';
import type { PeerIdentity } from '../../domain/telemetry.ts';
import type { Clock } from '../../lib/clock.ts';
import type { OperatingError } from '../../lib/errors.ts';
import type { QuicCredentials } from '../../transport/quic-endpoint.ts';
import type { CloseWord } from './close-codes.ts';
import type { RevocationLists } from './crl-file.ts';
import { Denylist } from './denylist.ts';
import type { ListenerMetrics } from './listener-metrics.ts';
import { Revocations } from './revocations.ts';
import { type CertificateFacts, TlsCredentials } from './tls-credentials.ts';
import { Trust } from './trust.ts';

export interface GatekeeperDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ListenerMetrics;
  /** Throws where the TLS stack would not take the credentials. */
  readonly tryOut: (credentials: QuicCredentials) => void;
  /** A peer that is connected may no longer be allowed to. */
  readonly onChange: () => void;
}

/** Why a peer may not connect. */
export interface Refusal {
  readonly word: CloseWord;
  readonly reason: string;
}

export class Gatekeeper {
  readonly #deps: GatekeeperDeps;
  readonly #trust = new Trust();
  readonly #credentials: TlsCredentials;
  readonly #denylist: Denylist;
  readonly #revocations: Revocations;
  #caPem = '';

  private constructor(deps: GatekeeperDeps, security: SecurityConfig) {
    this.#deps = deps;
    this.#credentials = this.#loadCredentials(security);
    this.#denylist = this.#loadDenylist(security.denylist_path);
    this.#revocations = this.#createRevocations(security.crl_path);
  }

  /** Reads all files. Rejects with OperatingError, naming the key and the file. */
  static async open(deps: GatekeeperDeps, security: SecurityConfig): Promise<Gatekeeper> {
    const gatekeeper = new Gatekeeper(deps, security);
    await gatekeeper.#revocations.load();
    return gatekeeper;
  }

  get credentials(): QuicCredentials {
    return this.#credentials.current;
  }

  /** Why the peer with this identity and these certificates (DER) may not be connected, if so. */
  refusal(identity: PeerIdentity, chain: readonly Uint8Array[]): Refusal | undefined {
    if (this.#denylist.has(identity)) {
      return { word: 'certificate_denied', reason: 'certificate denied' };
    }
    switch (this.#trust.judge(chain, this.#deps.clock.nowMs())) {
      case 'revoked':
        return { word: 'certificate_revoked', reason: 'certificate revoked by its authority' };
      case 'untrusted':
        return {
          word: 'certificate_untrusted',
          reason: 'authority of the certificate not trusted',
        };
      case 'trusted':
        return undefined;
    }
  }

  /** Reloads by itself when a file changes, until `close`. */
  watch(): void {
    this.#credentials.watch();
    this.#denylist.watch();
    this.#revocations.watch();
  }

  /**
   * Reads all files again; they are in use once the returned function is called. Rejects with
   * OperatingError where one of them cannot be used.
   */
  async prepareReload(): Promise<() => void> {
    const credentials = this.#credentials.prepareReload();
    const takeDenylist = this.#denylist.prepareReload();
    const takeRevocations = await this.#revocations.prepareReload(credentials.authorities);
    return () => {
      credentials.take();
      takeDenylist();
      takeRevocations();
    };
  }

  close(): void {
    this.#credentials.close();
    this.#denylist.close();
    this.#revocations.close();
  }

  #loadCredentials(security: SecurityConfig): TlsCredentials {
    const { logger, metrics, clock, tryOut } = this.#deps;
    const observer = {
      onLoaded: (
        certificate: CertificateFacts,
        caPem: string,
        authorities: readonly X509Certificate[],
      ) => {
        metrics.credentialsLoaded(certificate);
        const { subject, serialNumber, validToMs } = certificate;
        const validTo = new Date(validToMs).toISOString();
        logger.info({ subject, serialNumber, validTo }, 'TLS credentials loaded');
        this.#takeUpAuthorities(caPem, authorities);
      },
      onReloadFailed(error: OperatingError) {
        metrics.credentialReloadFailed();
        logger.error({ err: error }, 'TLS credentials not reloaded; the old ones stay in use');
      },
    };
    return new TlsCredentials(security, clock, observer, tryOut);
  }

  /** Most reloads renew the collector's own certificate, which changes nothing for agents. */
  #takeUpAuthorities(caPem: string, authorities: readonly X509Certificate[]): void {
    if (caPem === this.#caPem) return;
    const isFirst = this.#caPem === '';
    this.#caPem = caPem;
    this.#trust.setAuthorities(authorities);
    if (isFirst) return;
    this.#deps.onChange();
    // The lists are signed by authorities, so what they are worth may be another now.
    void this.#revocations.reload();
  }

  #loadDenylist(file: string): Denylist {
    const { logger, metrics, clock, onChange } = this.#deps;
    return new Denylist(file, clock, {
      onLoaded(entries) {
        metrics.denylistLoaded(entries);
        logger.info({ file, entries }, 'denylist loaded');
        onChange();
      },
      onReloadFailed(error: OperatingError) {
        metrics.denylistReloadFailed();
        logger.error({ err: error }, 'denylist not reloaded; the old one stays in use');
      },
    });
  }

  #createRevocations(file: string): Revocations {
    const { logger, metrics, clock, onChange } = this.#deps;
    return new Revocations(file, clock, () => this.#trust.authorities, {
      onLoaded: (lists: RevocationLists) => {
        metrics.revocationsLoaded(lists);
        logger.info({ file, certificates: lists.certificates }, 'revocation lists loaded');
        this.#trust.setRevoked(lists.revoked);
        onChange();
      },
      onReloadFailed(error: OperatingError) {
        metrics.revocationReloadFailed();
        logger.error({ err: error }, 'revocation lists not reloaded; the old ones stay in use');
      },
    });
  }
}
