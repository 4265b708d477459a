/** The alerts that ship with the collector: promtool takes them, and they speak of what exists. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { packageFile } from '../../src/lib/package-root.ts';
import { debianTool } from '../helpers/debian-tool.ts';

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const rulesFile = packageFile('deploy/prometheus-alerts.yaml');
const testsFile = packageFile('deploy/prometheus-alerts.test.yaml');
const rules = parse(fs.readFileSync(rulesFile, 'utf8')) as { groups: { rules: Alert[] }[] };
const alerts = rules.groups.flatMap((group) => group.rules);

/** What promtool says; throws with it where it is not content. */
function promtool(program: string, ...words: string[]): string {
  const cwd = path.dirname(rulesFile);
  try {
    return execFileSync(program, words, { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${stdout}${stderr}`);
  }
}

describe('the alerts', () => {
  it('are rules that Prometheus takes', (context) => {
    const program = debianTool('promtool', 'prometheus');
    if (program === undefined) return context.skip('promtool is not installed');
    expect(promtool(program, 'check', 'rules', rulesFile)).toContain(
      `${alerts.length} rules found`,
    );
  });

  it('fire when they should and not before', (context) => {
    const program = debianTool('promtool', 'prometheus');
    if (program === undefined) return context.skip('promtool is not installed');
    expect(promtool(program, 'test', 'rules', testsFile)).toContain('SUCCESS');
  });

  it('are all tested, both ways', () => {
    const tests = fs.readFileSync(testsFile, 'utf8');
    for (const { alert } of alerts) {
      const outcomes = tests.split(`alertname: ${alert}\n`).slice(1);
      const isQuiet = (text: string) => text.trimStart().startsWith('exp_alerts: []');
      expect([alert, outcomes.some(isQuiet), outcomes.some((text) => !isQuiet(text))]).toEqual([
        alert,
        true,
        true,
      ]);
    }
  });

  it('ask only for metrics that the programs have', () => {
    const page = fs.readFileSync(packageFile('docs/metrics.md'), 'utf8');
    const known = new Set([...page.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]));
    for (const { alert, expr } of alerts) {
      const names = expr.match(/\b(telemetry_(?:collector|gateway)|process|nodejs)_\w+/g) ?? [];
      expect(names.length, alert).toBeGreaterThan(0);
      expect(
        names.filter((name) => !known.has(name)),
        alert,
      ).toEqual([]);
    }
  });

  it('have a heading each in the runbook', () => {
    const page = fs.readFileSync(packageFile('docs/runbook.md'), 'utf8');
    const headings = [...page.matchAll(/^## (.*)$/gm)].map((match) => match[1]);
    for (const { alert, annotations, labels } of alerts) {
      expect(headings).toContain(alert);
      expect(annotations.runbook).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
      expect(['page', 'ticket']).toContain(labels.severity);
    }
  });
});
