import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { createJournalMetrics } from '../../../src/journal/lmdb/journal-metrics.ts';
import { createLedgerMetrics } from '../../../src/journal/ledger-metrics.ts';
import { entryOf, openJournal, passTo } from '../../helpers/journal-bench.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('journal metrics', () => {
  test('say what the journal and its ledger say, now and after a reopening', async () => {
    const dir = tempDir();
    for (const round of [1, 2]) {
      const registry = new Registry();
      const metrics = createJournalMetrics(registry);
      const journal = await openJournal(dir, { metrics });
      createLedgerMetrics(registry, journal);
      await journal.append(entryOf(round));
      await journal.append(entryOf(round + 10));
      await passTo(journal, 'parquet', journal.headSeq - 1, { deadLettered: 4 });
      journal.ledger.book({ received: 3, duplicate: 3 });
      const rejections = [{ reason: 'sentinel', count: 2 }] as const;
      journal.ledger.book({ received: 2, rejections });
      await journal.booked();
      const text = await registry.metrics();
      const value = (name: string) => {
        const line = text
          .split('\n')
          .find((each) => each.startsWith(`telemetry_collector_${name} `));
        return Number(line?.split(' ').at(-1));
      };
      expect(value('samples_received_total')).toBe(25 * round);
      expect(value('samples_accepted_total')).toBe(20 * round);
      expect(value('samples_duplicate_total')).toBe(3 * round);
      expect(value('samples_rejected_total{reason="sentinel"}')).toBe(2 * round);
      expect(value('samples_rejected_total{reason="identity"}')).toBe(0);
      expect(value('samples_pending{writer="influxdb"}')).toBe(20 * round);
      expect(value('samples_pending{writer="parquet"}')).toBe(10);
      expect(value('samples_dead_lettered_total{writer="parquet"}')).toBe(4 * round);
      expect(value('samples_written_total{writer="parquet"}')).toBe(20 * round - 10 - 4 * round);
      expect(value('journal_head_seq')).toBe(journal.headSeq);
      expect(value('journal_live_bytes')).toBe(journal.liveBytes);
      expect(value('journal_appends_total')).toBe(2);
      expect(value('journal_unclean_start')).toBe(0);
      expect(value('journal_failures_total{code="JOURNAL_FULL"}')).toBe(0);
      expect(value('journal_disk_free_bytes')).toBeGreaterThan(0);
      await journal.close();
    }
  });
});
