/**
 * What the sections of the schema are made from.
 */
import { z } from 'zod';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;

/** A whole number within bounds. */
export function count(min: number, max: number) {
  return z.int().min(min).max(max);
}

/** A duration in seconds within bounds. */
export function seconds(min: number, max: number) {
  return z.number().min(min).max(max);
}
