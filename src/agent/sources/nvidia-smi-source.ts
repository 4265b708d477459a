/**
 * Asks nvidia-smi: one process that stays and prints its table at each interval, or where that does
 * not work one process per collection. Never two at once: a hanging driver must not collect hanging
 * processes.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage, OperatingError } from '../../lib/errors.ts';
import type { Reading, Source, SourceReport } from '../../client/reading.ts';
import { type NvidiaSmiTable, nvidiaSmiReadings, parseNvidiaSmiCsv } from './nvidia-smi-csv.ts';
import {
  chooseFields,
  DEFAULT_FIELDS,
  type FieldChoice,
  parseFieldHelp,
} from './nvidia-smi-fields.ts';
import { migDeviceReadings } from './nvidia-smi-mig.ts';
import { NvidiaSmiStream } from './nvidia-smi-stream.ts';
import { type Command, runCommand } from './run-command.ts';
import { SkipTally } from './skip-tally.ts';

export interface NvidiaSmiSourceOptions {
  /** The program; default: `nvidia-smi` on the PATH. */
  readonly command?: string;
  /** Per call. nvidia-smi without persistence mode can take seconds. */
  readonly timeoutMs?: number;
  /** Fields to ask for besides the identities; 'all' = everything the driver lists. */
  readonly fields?: readonly string[] | 'all';
  /** How often it is asked, for one process that stays; absent: a process for each collection. */
  readonly residentPeriodMs?: number;
}

const DEFAULT_TIMEOUT_MS = 20_000;
/** How long a killed process may take to go before another one is started. */
const EXIT_GRACE_MS = 1000;
/** Between two tables of one that is slower than the interval. */
const SLOW_PERIOD_MS = 1000;
/** Tables that lie this many intervals apart are slow. */
const SLOW_SHARE = 1.5;
/** A GPU prints about 4 kB of fields; the field list is 40 kB. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/**
 * A source that runs nvidia-smi. Its collect() rejects with NVIDIA_SMI_NOT_FOUND,
 * NVIDIA_SMI_TIMEOUT, NVIDIA_SMI_BUSY, NVIDIA_SMI_DRIVER, NVIDIA_SMI_FAILED or NVIDIA_SMI_OUTPUT.
 */
export function openNvidiaSmiSource(options: NvidiaSmiSourceOptions, clock: Clock): Source {
  return new NvidiaSmiSource(options, clock);
}

interface TimedRows {
  readonly table: NvidiaSmiTable;
  readonly timestampMs: number;
}

class NvidiaSmiSource implements Source {
  readonly name = 'nvidia-smi';
  readonly #options: NvidiaSmiSourceOptions;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #command: Command | undefined;
  /** What this driver knows, asked once and again after a failure: drivers change under agents. */
  #choice: FieldChoice | undefined;
  #stream: NvidiaSmiStream | undefined;
  /** The process that stays does not work here: it never printed a table, and single calls do. */
  #isStreamUseless = false;
  #isSlow = false;
  /** The fields that the driver lacks were reported. */
  #unknownReported = false;

  constructor(options: NvidiaSmiSourceOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  async collect(): Promise<SourceReport> {
    const skipped = new SkipTally();
    try {
      this.#choice ??= await this.#askFields();
      this.#reportUnknown(this.#choice, skipped);
      const { fields } = this.#choice;
      const streamed = await this.#fromStream(fields, skipped);
      const { table, timestampMs } = streamed ?? (await this.#query(fields, skipped));
      if (streamed === undefined && this.#stream?.tables === 0) this.#isStreamUseless = true;
      const readings = nvidiaSmiReadings(table, timestampMs, skipped);
      const devices = hasMig(table) ? await this.#listMigDevices(timestampMs, skipped) : [];
      return { readings: [...readings, ...devices], skipped: skipped.list(), done: false };
    } catch (error) {
      this.#choice = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#stream?.close();
    await this.#stream?.isGone(EXIT_GRACE_MS);
    await this.#command?.result;
  }

  async #askFields(): Promise<FieldChoice> {
    const known = parseFieldHelp((await this.#run(['--help-query-gpu'])).stdout);
    if (!known.has('uuid') || !known.has('index')) {
      throw failed('NVIDIA_SMI_OUTPUT', 'its list of fields names neither uuid nor index');
    }
    return chooseFields(known, this.#options.fields ?? DEFAULT_FIELDS);
  }

  /** Once per list: which of the wanted fields this driver lacks does not change by the minute. */
  #reportUnknown(choice: FieldChoice, skipped: SkipTally): void {
    if (this.#unknownReported) return;
    this.#unknownReported = true;
    for (const field of choice.unknown) skipped.add(field, 'unknown to this driver');
  }

  /** The next table of the process that stays; undefined where a single call must do. */
  async #fromStream(fields: readonly string[], skipped: SkipTally): Promise<TimedRows | undefined> {
    const { residentPeriodMs, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    if (residentPeriodMs === undefined || this.#isStreamUseless) return undefined;
    const periodMs = this.#isSlow ? Math.min(SLOW_PERIOD_MS, residentPeriodMs) : residentPeriodMs;
    const stream = await this.#openStream(fields, periodMs);
    const timed = await stream.next(periodMs + timeoutMs);
    if (timed === undefined && stream.ended === undefined) {
      stream.close();
      // One that prints nothing may only do so to a terminal: then single calls are the way.
      this.#isStreamUseless = stream.tables === 0;
      throw failed('NVIDIA_SMI_TIMEOUT', `no table within ${periodMs + timeoutMs} ms`);
    }
    const table = timed && parseNvidiaSmiCsv(timed.text, skipped);
    if (timed === undefined || table === undefined || table.rows.length === 0) {
      // A single call says what is wrong, or works where this does not.
      stream.close();
      return undefined;
    }
    this.#watchPace(stream, periodMs);
    return { table, timestampMs: timed.timestampMs };
  }

  async #openStream(fields: readonly string[], periodMs: number): Promise<NvidiaSmiStream> {
    const open = this.#stream;
    if (open !== undefined && open.ended === undefined) return open;
    if (open !== undefined && !(await open.isGone(EXIT_GRACE_MS))) throw busy();
    const { command = 'nvidia-smi' } = this.#options;
    const options = { command, fields, periodMs, maxBytes: MAX_OUTPUT_BYTES };
    this.#stream = new NvidiaSmiStream(options, this.#clock);
    return this.#stream;
  }

  /** One whose answers take longer than the interval is not left waiting between them as well. */
  #watchPace(stream: NvidiaSmiStream, periodMs: number): void {
    if (this.#isSlow || stream.gapMs < periodMs * SLOW_SHARE) return;
    this.#isSlow = true;
    stream.close();
  }

  async #query(fields: readonly string[], skipped: SkipTally): Promise<TimedRows> {
    // The driver's own stamp is local time without a zone.
    const timestampMs = this.#clock.nowMs();
    const args = [`--query-gpu=${fields.join(',')}`, '--format=csv'];
    const { code, stdout, stderr } = await this.#run(args, { anyExitCode: true });
    const table = parseNvidiaSmiCsv(stdout, skipped);
    if (table !== undefined && table.rows.length > 0) {
      // One lost GPU makes nvidia-smi fail after it printed the others; those are worth having.
      if (code !== 0)
        skipped.add('nvidia-smi', `exit code ${code}: ${firstLine(stderr || stdout)}`);
      return { table, timestampMs };
    }
    if (code !== 0) throw exitFailure(code, stdout, stderr);
    throw failed('NVIDIA_SMI_OUTPUT', `it printed no table but ${firstLine(stdout)}`);
  }

  async #listMigDevices(timestampMs: number, skipped: SkipTally): Promise<Reading[]> {
    try {
      return migDeviceReadings((await this.#run(['-L'])).stdout, timestampMs);
    } catch (error) {
      skipped.add('MIG devices', errorMessage(error));
      return [];
    }
  }

  async #run(args: readonly string[], { anyExitCode = false } = {}) {
    if (this.#command?.isRunning() === true) throw busy();
    const { command = 'nvidia-smi', timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const bounds = { timeoutMs, maxBytes: MAX_OUTPUT_BYTES, signal: this.#stop.signal };
    this.#command = runCommand(command, args, bounds, this.#clock);
    const result = await this.#command.result;
    switch (result.kind) {
      case 'exited':
        if (result.code === 0 || anyExitCode) return result;
        throw exitFailure(result.code, result.stdout, result.stderr);
      case 'not_started':
        throw startFailure(command, result.error);
      case 'killed':
        throw failed('NVIDIA_SMI_FAILED', `it was ended by ${result.signal}`);
      case 'timeout':
        throw failed('NVIDIA_SMI_TIMEOUT', `no answer within ${timeoutMs} ms`);
      case 'too_much_output':
        throw failed('NVIDIA_SMI_OUTPUT', `it printed more than ${MAX_OUTPUT_BYTES} bytes`);
      case 'stopped':
        throw failed('NVIDIA_SMI_FAILED', 'the source was closed');
    }
  }
}

function busy(): OperatingError {
  return failed('NVIDIA_SMI_BUSY', 'the last one still hangs; the driver may be stuck');
}

function hasMig({ columns, rows }: NvidiaSmiTable): boolean {
  const mode = columns.findIndex(({ field }) => field === 'mig.mode.current');
  return mode >= 0 && rows.some((row) => row[mode] === 'Enabled');
}

function startFailure(command: string, error: unknown): OperatingError {
  return errorCode(error) === 'ENOENT'
    ? failed('NVIDIA_SMI_NOT_FOUND', `there is no ${command}; is the driver installed?`, error)
    : failed('NVIDIA_SMI_FAILED', errorMessage(error), error);
}

/** nvidia-smi says what is wrong on stdout as often as on stderr. */
const DRIVER_TROUBLE =
  /version mismatch|couldn't communicate with|failed to initialize NVML|no devices were found/i;

function exitFailure(code: number, stdout: string, stderr: string): OperatingError {
  const said = `${stdout}\n${stderr}`.trim();
  const trouble = said.split('\n').find((line) => DRIVER_TROUBLE.test(line));
  if (trouble !== undefined) return failed('NVIDIA_SMI_DRIVER', firstLine(trouble));
  return failed('NVIDIA_SMI_FAILED', `exit code ${code}: ${firstLine(said)}`);
}

function firstLine(text: string): string {
  return JSON.stringify((text.trim().split('\n')[0] ?? '').slice(0, 300));
}

function failed(code: string, why: string, cause?: unknown): OperatingError {
  return new OperatingError(code, `cannot ask nvidia-smi: ${why}`, { cause });
}
