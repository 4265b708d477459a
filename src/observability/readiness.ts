/**
 * Whether the daemon can do its job right now, and if not, why. Each part of the daemon contributes
 * one named check; the answer is computed for every request, so it is never stale.
 */

export type CheckResult = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface ReadinessReport {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, CheckResult>>;
}

export class Readiness {
  readonly #checks = new Map<string, () => CheckResult>();

  /** Adds a check; it must be cheap, synchronous and must not throw. */
  add(name: string, check: () => CheckResult): void {
    this.#checks.set(name, check);
  }

  report(): ReadinessReport {
    const checks: Record<string, CheckResult> = {};
    let ready = true;
    for (const [name, check] of this.#checks) {
      const result = check();
      checks[name] = result;
      if (!result.ok) ready = false;
    }
    return { ready, checks };
  }
}
