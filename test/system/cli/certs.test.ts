import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runCli } from '../../helpers/run-cli.ts';
import { tempDir } from '../../helpers/temp-dir.ts';

describe('certs', () => {
  it('makes an authority, a server certificate and node certificates', async () => {
    const cwd = tempDir();
    const words = ['certs', '--out', 'tls', '--server-name', 'collector.example', '--days', '7'];
    const { code, stdout, stderr } = await runCli(
      [...words, '--server-name', '10.1.2.3', '--node', 'gpu-001', '--node', 'gpu-002'],
      { cwd },
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`tls_ca_path: "${path.join(cwd, 'tls', 'ca.pem')}"`);
    const read = (name: string) =>
      new X509Certificate(fs.readFileSync(path.join(cwd, 'tls', `${name}.pem`)));
    const [ca, server, node] = [read('ca'), read('server'), read('gpu-001')];
    expect(ca.ca).toBe(true);
    expect(server.subjectAltName).toBe('DNS:collector.example, IP Address:10.1.2.3');
    expect(node.subjectAltName).toBe('DNS:gpu-001, URI:spiffe://horizon/node/gpu-001');
    expect([server, node, read('gpu-002')].every((leaf) => leaf.verify(ca.publicKey))).toBe(true);
    const days = (Date.parse(server.validTo) - Date.parse(server.validFrom)) / 86_400_000;
    expect(days).toBeCloseTo(7, 0);
  });

  it('keeps private keys to their owner', async () => {
    const cwd = tempDir();
    await runCli(['certs', '--out', '.', '--node', 'n1'], { cwd });
    const keys = fs.readdirSync(cwd).filter((name) => name.endsWith('-key.pem'));
    expect(keys).toEqual(['ca-key.pem', 'n1-key.pem', 'server-key.pem']);
    for (const key of keys) {
      expect(fs.statSync(path.join(cwd, key)).mode & 0o777, key).toBe(0o600);
    }
  });

  it('replaces nothing without --force', async () => {
    const cwd = tempDir();
    const words = ['certs', '--out', '.', '--node', 'n1'];
    await runCli(words, { cwd });
    const before = fs.readFileSync(path.join(cwd, 'n1.pem'), 'utf8');
    const again = await runCli(words, { cwd });
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/n1\.pem, n1-key\.pem would be overwritten; give --force/);
    expect(fs.readFileSync(path.join(cwd, 'n1.pem'), 'utf8')).toBe(before);
    const forced = await runCli([...words, '--force'], { cwd });
    expect(forced.code).toBe(0);
    expect(fs.readFileSync(path.join(cwd, 'n1.pem'), 'utf8')).not.toBe(before);
  });

  it('signs later nodes with the authority that is there and leaves the server alone', async () => {
    const cwd = tempDir();
    await runCli(['certs', '--out', '.', '--node', 'n1'], { cwd });
    const server = fs.readFileSync(path.join(cwd, 'server.pem'), 'utf8');
    const later = await runCli(['certs', '--out', '.', '--node', 'n2'], { cwd });
    expect(later.code).toBe(0);
    expect(fs.readFileSync(path.join(cwd, 'server.pem'), 'utf8')).toBe(server);
    const ca = new X509Certificate(fs.readFileSync(path.join(cwd, 'ca.pem')));
    const node = new X509Certificate(fs.readFileSync(path.join(cwd, 'n2.pem')));
    expect(node.verify(ca.publicKey)).toBe(true);
  });

  it('refuses names that cannot work, before it writes anything', async () => {
    const cwd = tempDir();
    const cases = [
      ['--node', '../evil'],
      ['--node', 'server'],
      ['--node', 'a-key'],
      ['--node', ''],
      ['--server-name', '10.0.0.1'],
    ];
    for (const words of cases) {
      const { code } = await runCli(['certs', '--out', 'tls', ...words], { cwd });
      expect(code, words.join(' ')).toBe(1);
    }
    expect(fs.readdirSync(cwd)).toEqual([]);
  });
});
