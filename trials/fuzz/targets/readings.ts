/**
 * What must hold of the readings of any source, whatever it read.
 */
import type { Reading } from '../../../src/client/reading.ts';
import { must } from '../fuzz-target.ts';

/** Throws where a reading is not sound; `bound` is how many there may be. */
export function checkReadings(readings: readonly Reading[], bound: number): void {
  must(readings.length <= bound, 'there are no more readings than the input can hold');
  for (const { value, name, labels, timestampMs } of readings) {
    must(Number.isFinite(value), 'a value is a number');
    must(Number.isFinite(timestampMs), 'a time is a number');
    must(name !== '', 'a reading has a name');
    const isSound = (label: unknown) => typeof label === 'string' && label !== '';
    must(Object.values(labels).every(isSound), 'labels are texts and not empty');
  }
}
