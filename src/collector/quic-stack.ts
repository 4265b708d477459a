/**
 * Finds the stack of `server.quic_stack`. quinn is part of this package; quiche is native code of
 * an optional package, which is absent on arm64 Linux and on Alpine, and is loaded only where it is
 * asked for.
 */
import { errorMessage, OperatingError } from '../lib/errors.ts';
import type { QuicStack } from '../transport/quic-endpoint.ts';
import { quinnStack } from '../transport/quinn/quinn-endpoint.ts';

/** Rejects with OperatingError QUIC_STACK_MISSING where the stack is not installed. */
export async function loadQuicStack(name: 'quinn' | 'quiche'): Promise<QuicStack> {
  if (name === 'quinn') return quinnStack;
  try {
    const { quicheStack } = await import('../transport/quiche/quiche-endpoint.ts');
    return quicheStack;
  } catch (error) {
    const [why] = errorMessage(error).split('\n');
    const message =
      `cannot use server.quic_stack quiche: the optional package @matrixai/quic, or its native ` +
      `part for ${process.platform}-${process.arch}, is not installed or does not load (${why})`;
    throw new OperatingError('QUIC_STACK_MISSING', message, { cause: error });
  }
}
