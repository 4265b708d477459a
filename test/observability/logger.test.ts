import { describe, expect, it } from 'vitest';
import { createLogger, type LoggerOptions } from '../../src/observability/logger.ts';

function record(options: LoggerOptions) {
  const lines: string[] = [];
  const logger = createLogger(options, { write: (line) => void lines.push(line) });
  return { logger, lines };
}

describe('createLogger', () => {
  it('writes one JSON object per line, with the level as a word and the time in ISO form', () => {
    const { logger, lines } = record({ level: 'info', format: 'json' });
    logger.child({ stage: 'journal' }).warn({ freeBytes: 5 }, 'the disk is nearly full');
    expect(JSON.parse(lines[0] ?? '')).toEqual({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      stage: 'journal',
      freeBytes: 5,
      msg: 'the disk is nearly full',
    });
  });

  it('leaves out what is below its level', () => {
    const { logger, lines } = record({ level: 'warn', format: 'json' });
    logger.info('not this');
    logger.error('but this');
    expect(lines).toHaveLength(1);
  });

  it('never writes a secret, however deep it is buried', () => {
    for (const format of ['json', 'pretty'] as const) {
      const { logger, lines } = record({ level: 'info', format });
      const err = Object.assign(new Error('refused'), { token: 's3cret' });
      logger.info({ token: 's3cret', err, influxdb: { token: 's3cret' } }, 'a');
      logger.info({ config: { influxdb: { token: 's3cret' }, tls: { keyPem: 's3cret' } } }, 'b');
      logger.info({ req: { headers: { authorization: 's3cret' } } }, 'c');
      expect(lines).toHaveLength(3);
      expect(lines.join('')).not.toContain('s3cret');
      expect(lines.join('')).toContain('(hidden)');
    }
  });

  it('writes for people where asked to', () => {
    const { logger, lines } = record({ level: 'info', format: 'pretty' });
    logger.info({ port: 5001 }, 'listening');
    expect(lines.join('')).toMatch(/INFO.*listening/);
    expect(lines.join('')).toContain('port: 5001');
  });

  it('spells out what would steer a terminal or turn the text around', () => {
    const hostile = 'a\u001b[2Jb\u202ec\u009bd\u2066e\u0000f\rg';
    const spelled = 'a\\u001b[2Jb\\u202ec\\u009bd\\u2066e\\u0000f\\rg';
    const { logger, lines } = record({ level: 'info', format: 'json' });
    logger.info({ text: hostile, deep: { list: [hostile] } }, hostile);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      text: spelled,
      deep: { list: [spelled] },
      msg: spelled,
    });
    const pretty = record({ level: 'info', format: 'pretty' });
    pretty.logger.info({ text: hostile }, hostile);
    for (const unsafe of ['\u001b', '\u202e', '\u009b', '\u2066', '\u0000', '\r']) {
      expect(pretty.lines.join('')).not.toContain(unsafe);
    }
  });

  it('leaves harmless text alone: backslashes, line feeds of a stack, other alphabets', () => {
    const { logger, lines } = record({ level: 'info', format: 'json' });
    const text = 'C:\\u001b\\new\n\tat f ("grün", 温度)';
    logger.info({ text }, text);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ text, msg: text });
  });
});
