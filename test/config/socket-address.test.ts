import { describe, expect, it } from 'vitest';
import { parseSocketAddress } from '../../src/config/socket-address.ts';

describe('parseSocketAddress', () => {
  it('takes IPv4 and bracketed IPv6 addresses with a port', () => {
    expect(parseSocketAddress('0.0.0.0:5001')).toEqual({ host: '0.0.0.0', port: 5001 });
    expect(parseSocketAddress('[::1]:0')).toEqual({ host: '::1', port: 0 });
  });

  it('takes nothing else', () => {
    const wrong = [
      '',
      ':5001',
      '1.2.3.4',
      '1.2.3.4:',
      '1.2.3.4:65536',
      '1.2.3.400:1',
      '::1:5001',
      '[1.2.3.4]:5',
      'localhost:5001',
      '1.2.3.4:5001 ',
    ];
    for (const text of wrong) expect(parseSocketAddress(text), text).toBe(undefined);
  });
});
