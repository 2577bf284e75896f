import { describe, expect, it } from 'vitest';
import { VirshAgent } from '../../../src/adapters/libvirt/virsh-agent.js';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import { copyByAgent } from '../../../src/services/guest/agent-files.js';

/** A guest has few file handles: each opened one must be closed, however the copy ends. */
describe('a file that an agent opened', () => {
  const member = memberIdentity('lab', '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33', 1);

  /** Copies 200 KB. @param at called before each of the agent's answers; may fail */
  const copy = async (direction: 'to' | 'from', at: (command: string, nth: number, world: { now: number; abort: () => void }) => void) => {
    const controller = new AbortController();
    const world = { now: 0, abort: () => controller.abort() };
    const open = new Set<number>();
    let nth = 0;
    const answers: Record<string, (args: { handle: number; 'buf-b64'?: string; count?: number }) => unknown> = {
      'guest-file-open': () => {
        open.add(1000 + open.size);
        return 1000;
      },
      'guest-file-read': ({ count = 0 }) => ({ count, 'buf-b64': Buffer.alloc(count, 7).toString('base64'), eof: nth > 4 }),
      'guest-file-write': ({ 'buf-b64': text = '' }) => ({ count: Buffer.from(text, 'base64').length, eof: false }),
      'guest-file-flush': () => ({}),
      'guest-file-close': ({ handle }) => {
        open.delete(handle);
        return {};
      },
    };
    const agent = new VirshAgent(async (line) => {
      const text = /^qemu-agent-command '[^']*' '(.*)' --timeout/.exec(line)?.[1] ?? '{}';
      const { execute, arguments: args } = JSON.parse(text);
      at(execute, nth++, world);
      return { stdout: JSON.stringify({ return: answers[execute]?.(args) }), error: '' };
    });
    const ports = {
      agent,
      files: { read: async () => Buffer.alloc(200_000, 7), kind: async () => 'missing' as const, write: async () => undefined },
      clock: { monotonic: () => world.now, now: () => new Date(0), sleep: async () => undefined },
    } as unknown as Parameters<typeof copyByAgent>[0];
    const what = { direction, local: './x', remote: '/x' };
    const code = await copyByAgent(ports, member, what, { timeoutMs: 60_000, signal: controller.signal }).then(
      () => 'copied',
      (error: { code: string }) => error.code,
    );
    return { code, left: open.size };
  };

  describe.each(['to', 'from'] as const)('is closed after copying %s the guest', (direction) => {
    it.each([0, 1, 2, 3])('when the run is interrupted in call %d', async (call) => {
      const { code, left } = await copy(direction, (_, nth, { abort }) => (nth === call ? abort() : undefined));
      expect([code, left]).toEqual(['INTERRUPTED', 0]);
    });

    it.each([0, 1, 2, 3])('when the timeout expires in call %d', async (call) => {
      const { code, left } = await copy(direction, (_, nth, world) => {
        if (nth === call) world.now = 120_000;
      });
      expect([code, left]).toEqual(['TOOL_TIMEOUT', 0]);
    });

    it('when the agent refuses a call, and on success', async () => {
      const refuse = (command: string): void => {
        if (command === 'guest-file-read' || command === 'guest-file-write') throw new Error('no');
      };
      expect((await copy(direction, refuse)).left).toBe(0);
      expect(await copy(direction, () => undefined)).toEqual({ code: 'copied', left: 0 });
    });
  });
});
