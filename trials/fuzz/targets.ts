/**
 * Every parser that bytes from outside can reach.
 */
import type { TargetMaker } from './fuzz-target.ts';
import { batchTarget } from './targets/batches.ts';
import { pemTarget, sanTarget } from './targets/certificates.ts';
import { collectorMessageTarget } from './targets/collector-messages.ts';
import { configTarget } from './targets/config.ts';
import { datagramTarget } from './targets/datagrams.ts';
import { dcgmCsvTarget } from './targets/dcgm-csv.ts';
import { frameTarget } from './targets/frames.ts';
import { hostFileTarget, nvidiaSmiTarget, prometheusTarget } from './targets/host-texts.ts';
import { influxAnswerTarget } from './targets/influx-answers.ts';
import { journalRecordTarget } from './targets/journal-records.ts';
import { moduleCallsTarget, moduleInputTarget } from './targets/module.ts';
import { packetHeaderTarget } from './targets/packet-headers.ts';
import { seriesTableTarget } from './targets/series-tables.ts';
import { spoolFileTarget } from './targets/spool-files.ts';
import { streamTarget } from './targets/streams.ts';

/** In the order of the data: network first, files after it. */
export const TARGETS: readonly TargetMaker[] = [
  { name: 'packet-headers', make: packetHeaderTarget },
  { name: 'module-input', make: moduleInputTarget },
  { name: 'module-calls', make: moduleCallsTarget },
  { name: 'datagrams', make: datagramTarget },
  { name: 'streams', make: streamTarget },
  { name: 'frames', make: frameTarget },
  { name: 'batches', make: batchTarget },
  { name: 'series-tables', make: seriesTableTarget },
  { name: 'collector-messages', make: collectorMessageTarget },
  { name: 'certificate-names', make: sanTarget },
  { name: 'influx-answers', make: influxAnswerTarget },
  { name: 'pem-files', make: pemTarget },
  { name: 'config-yaml', make: configTarget },
  { name: 'journal-records', make: journalRecordTarget },
  { name: 'spool-files', make: spoolFileTarget },
  { name: 'dcgm-csv', make: dcgmCsvTarget },
  { name: 'nvidia-smi', make: nvidiaSmiTarget },
  { name: 'prometheus-text', make: prometheusTarget },
  { name: 'host-files', make: hostFileTarget },
];
