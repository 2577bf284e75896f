import { describe, expect, it } from 'vitest';
import { judgeDisks } from '../../../../src/core/domain/foreign-domain.js';
import { parseXml } from '../../../../src/core/domain/xml-tree.js';
import { diffDomains } from '../../../../src/core/snapshot/diff.js';
import { planCommit, planDrop, planRollback, planTake } from '../../../../src/core/snapshot/plan.js';
import {
  defaultSnapshotName,
  findLevel,
  newestOnly,
  type SnapshotLevel,
  snapshotJournalSchema,
} from '../../../../src/core/snapshot/snapshot.js';
import { sideOf } from '../../../../src/core/snapshot/xml.js';

const uuid = '7a4bd8b1-6f0e-4d37-9f6f-2c7f2f4b6a01';
const disk = (target: string, path: string, type: string) =>
  `<disk type="file" device="disk">\n<driver name="qemu" type="${type}"/>\n<source file="${path}"/>\n<target dev="${target}"/>\n</disk>`;
const domain = (...disks: string[]) => `<domain type="qemu">\n<name>web</name>\n<devices>\n${disks.join('\n')}\n</devices>\n</domain>\n`;
const original = domain(disk('vda', '/vm/a.qcow2', 'qcow2'));

const files = {
  overlay: (level: { number: number; name: string }, target: string, generation: number) =>
    `/s/${level.number}-${level.name}/${target}${generation === 1 ? '' : `.${generation}`}.qcow2`,
  nvram: (level: { number: number; name: string }) => `/s/${level.number}-${level.name}/nvram`,
  generationOf: (path: string) => Number(/\.(\d+)\.qcow2$/.exec(path)?.[1] ?? 1),
};

function given(xml: string, levels: readonly SnapshotLevel[]) {
  return { domain: 'web', uuid, xml, levels, files, wasRunning: true, now: new Date('2026-01-31T10:15:02Z') };
}

function take(xml: string, levels: readonly SnapshotLevel[], name: string, nvram?: { path: string; exists: boolean }) {
  const disks = judgeDisks(parseXml(xml, 'it')).disks.map((found) => ({ ...found, below: found.spelled }));
  const journal = planTake({ ...given(xml, levels), name, disks, nvram });
  return { journal: snapshotJournalSchema.parse(journal), xml: journal.xmlAfter, levels: journal.after };
}

describe('layered snapshot levels', () => {
  const nvram = { path: '/nvram/web', exists: true };
  const one = take(original, [], 'one', nvram);
  // A disk that was attached between the two.
  const withSecond = one.xml.replace('</devices>', `${disk('vdb', '/vm/b.raw', 'raw')}\n</devices>`);
  const two = take(withSecond, one.levels, 'two', nvram);
  const level = (position: number): SnapshotLevel => two.levels[position] as SnapshotLevel;

  it('each have an overlay on the level below', () => {
    expect(one.journal.create).toEqual([{ path: '/s/1-one/vda.qcow2', backing: { path: '/vm/a.qcow2', format: 'qcow2' } }]);
    expect(two.journal.create).toEqual([
      { path: '/s/2-two/vda.qcow2', backing: { path: '/s/1-one/vda.qcow2', format: 'qcow2' } },
      { path: '/s/2-two/vdb.qcow2', backing: { path: '/vm/b.raw', format: 'raw' } },
    ]);
    expect(level(1).disks[0]?.below).toEqual([{ path: '/vm/a.qcow2', format: 'qcow2' }]);
    expect(two.journal.saveNvram).toEqual({ from: '/nvram/web', to: '/s/2-two/nvram' });
  });

  it('are rolled back to with new files, so that one definition switches all disks', () => {
    const journal = snapshotJournalSchema.parse(planRollback(given(two.xml, two.levels), level(1)));
    expect(journal.create.map(({ path }) => path)).toEqual(['/s/2-two/vda.2.qcow2', '/s/2-two/vdb.2.qcow2']);
    expect(journal.remove).toEqual(['/s/2-two/vda.qcow2', '/s/2-two/vdb.qcow2']);
    expect(journal.restoreNvram).toEqual({ from: '/s/2-two/nvram', to: '/nvram/web' });
    expect(sideOf(two.xml, journal.switched)).toBe('before');
    expect(sideOf(journal.xmlAfter, journal.switched)).toBe('after');
    const again = planRollback(given(journal.xmlAfter, journal.after), journal.after[1] as SnapshotLevel);
    expect(again.create[0]?.path).toBe('/s/2-two/vda.3.qcow2');
  });

  it('are removed by a rollback to an older one, and a disk added since is restored', () => {
    const journal = snapshotJournalSchema.parse(planRollback(given(two.xml, two.levels), level(0)));
    expect(journal.after.map(({ name }) => name)).toEqual(['one']);
    expect(journal.remove.sort()).toEqual(['/s/1-one/vda.qcow2', '/s/2-two/nvram', '/s/2-two/vda.qcow2', '/s/2-two/vdb.qcow2']);
    expect(judgeDisks(parseXml(journal.xmlAfter, 'it')).disks.map(({ image }) => image.path)).toEqual([
      '/s/1-one/vda.2.qcow2',
      '/vm/b.raw',
    ]);
    expect(sideOf(two.xml, journal.switched)).toBe('before');
  });

  it('are dropped from the top, exactly', () => {
    const first = snapshotJournalSchema.parse(planDrop(given(two.xml, two.levels), level(1)));
    expect(first.xmlAfter).toBe(withSecond);
    const second = planDrop(given(first.xmlAfter, first.after), first.after[0] as SnapshotLevel);
    expect(second.xmlAfter).toBe(withSecond.replace(/<disk [\s\S]*?<\/disk>/, disk('vda', '/vm/a.qcow2', 'qcow2')));
    expect(second.after).toEqual([]);
    expect(second.create).toEqual([]);
  });

  it('are committed into the level below, and the firmware keeps its variables', () => {
    const journal = snapshotJournalSchema.parse(planCommit(given(two.xml, two.levels), level(1)));
    expect(journal.merge).toEqual([
      { overlay: '/s/2-two/vda.qcow2', into: { path: '/s/1-one/vda.qcow2', format: 'qcow2' } },
      { overlay: '/s/2-two/vdb.qcow2', into: { path: '/vm/b.raw', format: 'raw' } },
    ]);
    expect(journal.restoreNvram).toBeUndefined();
    expect(journal.xmlAfter).toBe(withSecond);
    expect(journal.remove).toContain('/s/2-two/nvram');
  });

  it('are found by name and by number', () => {
    expect(findLevel('web', two.levels, undefined).name).toBe('two');
    expect(findLevel('web', two.levels, '1').name).toBe('one');
    expect(findLevel('web', two.levels, 'one').number).toBe(1);
    expect(() => findLevel('web', two.levels, 'three')).toThrow(/no snapshot "three"/);
    expect(() => findLevel('web', [], undefined)).toThrow(/has no snapshot/);
    expect(() => newestOnly('drop', 'web', two.levels, 'one')).toThrow(/not the newest/);
    expect(() => newestOnly('commit', 'web', two.levels, '1')).toThrow(/not the newest/);
    expect(newestOnly('commit', 'web', two.levels, 'two').number).toBe(2);
  });
});

it('keeps no copy of missing firmware variables', () => {
  const { journal, levels, xml } = take(original, [], 'one', { path: '/nvram/web', exists: false });
  expect(journal.saveNvram).toBeUndefined();
  expect(planDrop(given(xml, levels), levels[0] as SnapshotLevel).restoreNvram).toBeUndefined();
});

it('shows what changes, and only that', () => {
  const { journal } = take(original, [], 'one');
  const diff = diffDomains('web', journal.xmlBefore, journal.xmlAfter);
  expect(diff).toContain('--- web (now)\n+++ web (then)\n');
  expect(diff).toContain('-<source file="/vm/a.qcow2"/>\n+<source file="/s/1-one/vda.qcow2"/>');
  expect(diff.split('\n').filter((line) => /^[-+][^-+]/.test(line)).length).toBe(7);
});

it('names a snapshot by the time', () => {
  expect(defaultSnapshotName(new Date('2026-01-31T10:15:02Z'))).toBe('20260131-101502');
});
