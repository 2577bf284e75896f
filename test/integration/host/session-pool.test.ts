import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { SessionPool } from '../../../src/adapters/libvirt/session/session-pool.js';

/** With libvirt's test driver. */
const fakes = fileURLToPath(new URL('../../fakes', import.meta.url));

describe('connections to libvirt', () => {
  it('a call that hangs does not block the next', { timeout: 30_000 }, async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'cowherd-pool-'));
    const environment = {
      ...process.env,
      PATH: `${fakes}:${process.env.PATH}`,
      FAKE_VIRSH: JSON.stringify({ match: '^hang', nth: 1, times: 99, do: 'hang', count: join(scratch, 'count') }),
    };
    const path = process.env.PATH;
    process.env.PATH = environment.PATH;
    const pool = new SessionPool({
      uri: 'test:///default',
      sessions: 1,
      timeoutMs: 25_000,
      inherit: () => [],
      inheritance: () => 0,
      environment: async () => environment,
    });
    try {
      const hung = pool.run((session) => session.run('hang'), 1).catch((error: unknown) => error);
      const { stdout } = await pool.run((session) => session.run('hostname'));
      expect(stdout.trim()).not.toBe('');
      expect(await Promise.race([hung, 'still at it'])).toBe('still at it');
    } finally {
      pool.close();
      process.env.PATH = path;
      await rm(scratch, { recursive: true });
    }
  });
});
