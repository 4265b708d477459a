/**
 * Opens the places that an agent can read from.
 */
import type { Logger } from 'pino';
import type { Clock } from '../../lib/clock.ts';
import { OperatingError } from '../../lib/errors.ts';
import type { Source } from '../../client/reading.ts';
import { type CsvSourceOptions, openCsvSource } from './csv-source.ts';
import { type HostSourceOptions, openHostSource } from './host-source.ts';
import { type NvidiaSmiSourceOptions, openNvidiaSmiSource } from './nvidia-smi-source.ts';
import { openPrometheusSource, type PrometheusSourceOptions } from './prometheus-source.ts';
import type { SimulateOptions } from './simulate-columns.ts';
import { openSimulateSource } from './simulate-source.ts';
import type { SourceKind } from './source-kinds.ts';

/** One section for each kind; only the chosen kind's section is read. */
export interface SourceOptions {
  /** Needed by `simulate`. */
  readonly simulate?: SimulateOptions;
  /** Needed by `csv`. */
  readonly csv?: CsvSourceOptions;
  readonly nvidiaSmi?: NvidiaSmiSourceOptions;
  /** Needed by `prometheus`. */
  readonly prometheus?: PrometheusSourceOptions;
  readonly host?: HostSourceOptions;
}

export interface SourceDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Opens a source; the caller closes it. Rejects with an OperatingError: SOURCE_OPTIONS, or what
 * keeps a file from being read. A program or an endpoint that is not there yet is told by
 * `collect`.
 */
export async function openSource(
  kind: SourceKind,
  options: SourceOptions,
  { clock, logger }: SourceDeps,
): Promise<Source> {
  logger.debug({ source: kind }, 'opening the source');
  switch (kind) {
    case 'simulate':
      return openSimulateSource(needed(kind, 'nodeId', options.simulate), clock);
    case 'csv':
      return openCsvSource(needed(kind, 'path', options.csv), clock);
    case 'nvidia-smi':
      return openNvidiaSmiSource(options.nvidiaSmi ?? {}, clock);
    case 'prometheus':
      return openPrometheusSource(needed(kind, 'url', options.prometheus), clock);
    case 'host':
      return openHostSource(options.host ?? {}, clock);
  }
}

function needed<Section>(kind: SourceKind, field: string, section: Section | undefined): Section {
  if (section !== undefined) return section;
  throw new OperatingError('SOURCE_OPTIONS', `cannot open the ${kind} source: it needs a ${field}`);
}
