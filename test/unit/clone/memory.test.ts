import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../src/core/errors.js';
import type { BaseImage } from '../../../src/core/image/base.js';
import type { Ports } from '../../../src/ports/index.js';
import { CloneMemory } from '../../../src/services/clone/memory.js';

const unmapped = "qemu-system-x86_64: can't open backing store /b/x.ram for guest RAM: Permission denied";
const unheard = 'failed to connect to monitor socket: Connection refused';
const domain = "<domain type='qemu'><memory unit='MiB'>16</memory><devices/></domain>";

/** @param failures what QEMU says at each restore that maps the memory; undefined: it succeeds @returns the ways of all restores */
async function restored(failures: Array<string | undefined>, clones = 1): Promise<{ ways: string[]; notes: string[] }> {
  const ways: string[] = [];
  let xml = '';
  const become = async (text: string): Promise<void> => {
    xml = text;
  };
  const ports = {
    memory: {
      ramPath: () => '/b/x.ram',
      openSlot: async () => ({ path: '/slot', become, discard: async () => undefined }),
    },
    machine: { memory: async () => ({ availableBytes: 2 ** 40, totalBytes: 2 ** 40 }), diskSpace: async () => ({ freeBytes: 2 ** 40 }) },
    fleets: { root: '/' },
    hypervisor: {
      restorePaused: async () => {
        const isShared = xml.includes('/b/x.ram');
        ways.push(isShared ? 'shared' : 'whole');
        const failure = isShared ? failures.shift() : undefined;
        if (failure !== undefined) throw new CowherdError('TOOL_FAILED', 'libvirt could not restore x', { details: [failure] });
      },
    },
  } as unknown as Ports;
  const base = { warm: { memoryMiB: 16, bytes: 1, hypervisor: 'QEMU 7.2.0', ram: { bytes: 2 ** 24, allocatedBytes: 1 } } } as BaseImage;
  const memory = new CloneMemory(ports, 'lab', base, { count: clones, copies: 1 });
  for (let clone = 0; clone < clones; clone++) await memory.restore(`lab-${clone}`, domain);
  return { ways, notes: [...memory.notes] };
}

describe('the memory of clones', () => {
  it('is shared, or copied for all as soon as QEMU cannot map it', async () => {
    expect(await restored([undefined, undefined], 2)).toEqual({ ways: ['shared', 'shared'], notes: [] });
    expect(await restored([unmapped], 2)).toEqual({
      ways: ['shared', 'whole', 'whole'],
      notes: [expect.stringContaining('Permission denied')],
    });
  });

  it('is tried once more if QEMU ended before libvirt knew why', async () => {
    expect((await restored([unheard, undefined])).ways).toEqual(['shared', 'shared']);
    expect((await restored([unheard, unmapped])).ways).toEqual(['shared', 'shared', 'whole']);
    await expect(restored([unheard, unheard])).rejects.toMatchObject({ code: 'TOOL_FAILED' });
    await expect(restored(['another reason'])).rejects.toMatchObject({ code: 'TOOL_FAILED' });
  });
});
