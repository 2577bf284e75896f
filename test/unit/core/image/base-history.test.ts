import { describe, expect, it } from 'vitest';
import { renderHistory } from '../../../../src/cli/render/bases.js';
import type { LoneBase } from '../../../../src/core/image/base-chain.js';
import { baseHistory, type HistoryNode, historyOf } from '../../../../src/core/image/base-history.js';
import { assertRoom } from '../../../../src/services/preflight/disk-space.js';

const digest = (name: string): string => Buffer.from(name).toString('hex').padEnd(64, '0');
const ref = (name: string) => ({ name, digest: digest(name) });
const image = (name: string, day: number, from?: string, layered = false): LoneBase => ({
  version: 1,
  ...ref(name),
  format: 'qcow2',
  virtualBytes: 1,
  importedAt: `2026-11-0${day}T10:00:00.000Z`,
  source: { path: `/images/${name}.qcow2`, fingerprint: '' },
  seal: { size: 1, mtimeNs: '1', inode: '1' },
  allocatedBytes: 1,
  path: `/store/${name}`,
  ...(from === undefined ? {} : { promotedFrom: { fleet: 'lab', member: 'lab-003', base: ref(from) } }),
  ...(from !== undefined && layered ? { parent: ref(from) } : {}),
});
const shape = (nodes: HistoryNode[]): unknown => nodes.map(({ name, promotedTo }) => [name, shape(promotedTo)]);

describe('the history of base images', () => {
  const bases = [image('c', 3, 'a', true), image('d', 4, 'b'), image('a', 1), image('b', 2, 'a'), image('y', 5, 'x'), image('z', 6)];

  it('is a tree of promotions, with removed ancestors', () => {
    expect(renderHistory({ images: baseHistory(bases), damaged: [] })).toBe(
      [
        'x@780000000000  removed',
        '└─ y@790000000000  2026-11-05 10:00  promoted from lab-003, flattened',
        'a@610000000000  2026-11-01 10:00  imported from /images/a.qcow2',
        '├─ b@620000000000  2026-11-02 10:00  promoted from lab-003, flattened',
        '│  └─ d@640000000000  2026-11-04 10:00  promoted from lab-003, flattened',
        '└─ c@630000000000  2026-11-03 10:00  promoted from lab-003, layered',
        'z@7a0000000000  2026-11-06 10:00  imported from /images/z.qcow2',
      ].join('\n'),
    );
  });

  it('shows the trees that contain an image', () => {
    expect(shape(historyOf(baseHistory(bases), 'd'))).toEqual([
      [
        'a',
        [
          ['b', [['d', []]]],
          ['c', []],
        ],
      ],
    ]);
    expect(shape(historyOf(baseHistory(bases), 'x'))).toEqual([['x', [['y', []]]]]);
    expect(historyOf(baseHistory(bases), 'nonesuch')).toEqual([]);
  });

  it('loses no image if records are cyclic', () => {
    const names = JSON.stringify(baseHistory([image('a', 1, 'b'), image('b', 2, 'a'), image('c', 3, 'c')]));
    for (const name of ['a', 'b', 'c']) expect(names).toContain(`"name":"${name}"`);
  });
});

describe('space for a copy', () => {
  it('is refused with its figures', async () => {
    const machine = { diskSpace: async () => ({ totalBytes: 2 ** 40, freeBytes: 2 ** 30 }) };
    const ports = { machine } as unknown as Parameters<typeof assertRoom>[0];
    await assertRoom(ports, '/store', 2 ** 30, 'Promoting lab-003');
    await expect(assertRoom(ports, '/store', 2 ** 31, 'Promoting lab-003')).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      message: 'Promoting lab-003 may need 2 GiB, but /store has only 1 GiB free; nothing was changed',
    });
  });
});
