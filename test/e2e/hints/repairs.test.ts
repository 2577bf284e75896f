import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { follow } from '../../support/hints/follow.js';
import { guest, Lab, virsh } from '../../support/lab.js';

describe('hints that repair a member', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2', { ending: 'power-button' });
  });
  afterAll(() => lab.close());

  const findings = async (...args: string[]): Promise<any[]> => (await lab.answer('verify', ...args)).json.findings;

  it('redefine a domain whose definition is of an earlier base image', async () => {
    const fleet = lab.fleet('stale');
    const member = `${fleet}-001`;
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', '--no-start', ...guest);
    const old = join(lab.scratch, 'old.xml');
    await writeFile(old, await virsh('dumpxml', '--inactive', member));
    await lab.ok('rebase', fleet, '--base', await lab.golden('newer.qcow2', { ending: 'power-button', filledMiB: 1 }));
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    // As when a backup of the domain's XML is restored.
    await virsh('define', old);
    const [found, ...others] = await findings();
    expect([found, others]).toMatchObject([{ kind: 'mismatch', hint: expect.stringContaining('cowherd spawn') }, []]);
    const started = await lab.answer('start', fleet);
    expect(started.exitCode).not.toBe(0);
    const refusal = started.json.members[0].error;
    await follow(lab, refusal.hint);
    expect(await findings()).toEqual([]);
    expect((await lab.ok('start', fleet)).counts).toMatchObject({ started: 1, failed: 0 });
  });

  it('compact a disk that takes more space than its content', async () => {
    const fleet = lab.fleet('leaky');
    const member = `${fleet}-001`;
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', ...guest, '--wait', 'console=^OK');
    await lab.ok('stop', fleet);
    await leakClusters(lab.overlay(fleet, member));
    const [found, ...others] = await findings('--deep');
    expect([found, others]).toMatchObject([{ kind: 'damaged', hint: expect.stringContaining('cowherd compact') }, []]);
    await follow(lab, found.hint.replace(/(cowherd compact \S+ \d+).*/, '"$1"'));
    expect(await findings('--deep')).toEqual([]);
  });
});

/** Removes the first mapping of a qcow2 file: its cluster is still counted, and nothing refers to it. */
async function leakClusters(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const read = async (at: number, length: number): Promise<Buffer> => (await file.read(Buffer.alloc(length), 0, length, at)).buffer;
    const l1 = Number((await read(40, 8)).readBigUInt64BE());
    const l2 = Number((await read(l1, 8)).readBigUInt64BE() & 0x00ff_ffff_ffff_fe00n);
    const table = await read(l2, 65_536);
    const entry = Array.from({ length: 8192 }, (_, index) => index * 8).find((at) => table.readBigUInt64BE(at) !== 0n);
    if (entry === undefined) throw new Error(`${path} maps no cluster`);
    await file.write(Buffer.alloc(8), 0, 8, l2 + entry);
  } finally {
    await file.close();
  }
}
