import { describe, expect, it } from 'vitest';
import { BackpressureGate } from '../../../src/collector/admission/backpressure-gate.ts';

function gateWithLog(limits = { maxBatches: 4, maxBytes: 1000 }) {
  const gate = new BackpressureGate(limits);
  const changes: boolean[] = [];
  gate.onOverload((isOverloaded) => changes.push(!isOverloaded));
  return { gate, changes };
}

describe('BackpressureGate', () => {
  it('shuts at the maximum of batches and opens at half of it, not before', () => {
    const { gate, changes } = gateWithLog();
    for (let batch = 0; batch < 3; batch += 1) gate.enter(1);
    expect(gate.isOpen()).toBe(true);
    gate.enter(1);
    expect(gate.isOpen()).toBe(false);
    expect(gate.shutReason()).toBe('backpressure');
    gate.leave(1);
    expect(gate.isOpen()).toBe(false);
    gate.leave(1);
    expect(gate.isOpen()).toBe(true);
    expect(gate.shutReason()).toBeUndefined();
    expect(changes).toEqual([false, true]);
  });

  it('shuts at the maximum of bytes and opens at half of it, however few the batches', () => {
    const { gate, changes } = gateWithLog();
    gate.enter(400);
    gate.enter(600);
    expect(gate.isOpen()).toBe(false);
    gate.leave(400);
    expect(gate.isOpen()).toBe(false);
    gate.leave(600);
    expect(gate.isOpen()).toBe(true);
    expect(changes).toEqual([false, true]);
  });

  it('counts what is in flight', () => {
    const { gate } = gateWithLog();
    gate.enter(10);
    gate.enter(20);
    gate.leave(10);
    expect([gate.batches, gate.bytes]).toEqual([1, 20]);
  });

  it('works with a maximum of one batch', () => {
    const { gate, changes } = gateWithLog({ maxBatches: 1, maxBytes: 1000 });
    gate.enter(1);
    gate.leave(1);
    expect(changes).toEqual([false, true]);
  });

  it('stays shut until every reason that holds it shut is taken back', () => {
    const { gate, changes } = gateWithLog();
    gate.close('journal_full');
    gate.close('journal_full');
    expect(gate.shutReason()).toBe('journal_full');
    gate.close('journal_unavailable');
    expect(gate.shutReason()).toBe('journal_full');
    gate.reopen('journal_full');
    expect(gate.isOpen()).toBe(false);
    gate.reopen('journal_unavailable');
    expect(gate.isOpen()).toBe(true);
    gate.reopen('journal_unavailable');
    expect(changes, 'nobody stops reading for it').toEqual([]);
  });

  it('does not open by lack of load while it is held shut', () => {
    const { gate, changes } = gateWithLog();
    gate.close('journal_full');
    for (let batch = 0; batch < 4; batch += 1) gate.enter(1);
    for (let batch = 0; batch < 4; batch += 1) gate.leave(1);
    expect(changes).toEqual([false, true]);
    expect(gate.isOpen()).toBe(false);
    expect(gate.shutReason()).toBe('journal_full');
  });

  it('takes new limits at once', () => {
    const { gate, changes } = gateWithLog();
    gate.enter(1);
    gate.enter(1);
    gate.reconfigure({ maxBatches: 2, maxBytes: 1000 });
    gate.reconfigure({ maxBatches: 100, maxBytes: 1000 });
    expect(changes).toEqual([false, true]);
  });

  it('takes a batch that leaves without having entered for a bug', () => {
    const { gate } = gateWithLog();
    expect(() => gate.leave(0)).toThrow('BUG');
    gate.enter(5);
    expect(() => gate.leave(6)).toThrow('BUG');
  });
});
