import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, guest, Lab } from '../../support/lab.js';
import { isLong } from '../../support/long.js';

const count = isLong ? 100 : 24;

/** A hundred real guests, or a part of them: each has its own identity, reset restores each, and nothing is left behind. */
describe('a large fleet', () => {
  let lab: Lab;
  let fleet: string;
  let golden: string;
  let domainsBefore: string[];
  let basePath: string;
  let baseDigest: string;
  /** Domains of this test and of users; those of other tests are ignored. */
  const concerned = async (): Promise<string[]> =>
    // Other tests run, too.
    (await domains()).filter((domain) => domain.includes(lab.id) || !/^(cwt|cowherd-probe)-/.test(domain));
  const name = (index: number): string => `${fleet}-${String(index).padStart(3, '0')}`;

  beforeAll(async () => {
    lab = await Lab.open();
    fleet = lab.fleet('lab');
    golden = await lab.golden('golden.qcow2', { filledMiB: 8 });
    // A foreign domain with a similar name.
    await lab.defineForeign(`${fleet}-101`);
    domainsBefore = await concerned();
  });
  afterAll(() => lab.close());

  it('spawns them, each on its own overlay', async () => {
    const outcome = await lab.ok(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      String(count),
      ...guest,
      '--wait',
      'console=^OK [0-9a-f]{16}',
    );
    expect(outcome.counts).toMatchObject({ created: count, started: count, failed: 0, unchanged: 0 });
    expect(outcome.members).toHaveLength(count);
    expect(new Set(outcome.members.map((member: { uuid: string }) => member.uuid)).size).toBe(count);
    expect(new Set(outcome.members.map((member: { mac: string }) => member.mac)).size).toBe(count);
    expect(outcome.stages.map((stage: { name: string }) => stage.name)).toEqual(
      expect.arrayContaining(['overlay', 'define', 'start', 'wait']),
    );
    const base = await lab.ok('base', 'inspect', outcome.base.name);
    basePath = base.path;
    baseDigest = sha256(await readFile(basePath));
    expect(baseDigest).toBe(outcome.base.digest);
    expect(baseDigest).toBe(sha256(await readFile(golden)));
  });

  it('shows them in status and report', async () => {
    const status = await lab.ok('status', fleet);
    expect(status.counts).toEqual({ running: count, shutOff: 0, paused: 0, broken: 0, missing: 0 });
    expect(
      status.members.every(
        (member: { driftBytes: number; uptimeSeconds: number }) => member.driftBytes > 0 && member.uptimeSeconds !== null,
      ),
    ).toBe(true);
    const report = await lab.ok('report', fleet);
    expect(report.members).toBe(count);
    expect(report.fullCopies.allocatedBytes).toBe(count * report.base.allocatedBytes);
    expect(report.saved.bytes).toBe(report.fullCopies.allocatedBytes - report.base.allocatedBytes - report.overlays.allocatedBytes);
    expect(report.saved.percent).toBeGreaterThan(90);
    expect(report.perMember).toHaveLength(count);
  });

  /** The guest printed a random number and wrote it to its disk: console and overlay match. */
  const nonces = async (): Promise<Map<string, string>> => {
    const found = new Map<string, string>();
    for (let index = 1; index <= count; index++) {
      found.set(name(index), /OK ([0-9a-f]{16})/.exec(await lab.console(fleet, name(index)))?.[1] ?? 'none');
    }
    expect(new Set(found.values()).size).toBe(count);
    return found;
  };

  it('resets running members, and each boots again with its identity', async () => {
    const identities = async () =>
      (await lab.ok('status', fleet)).members.map((member: { uuid: string; mac: string }) => [member.uuid, member.mac]);
    const [before, lives] = [await identities(), await nonces()];
    const reset = await lab.ok('reset', fleet, '--wait', 'console=^OK');
    expect(reset.counts).toMatchObject({ reset: count, started: count, failed: 0 });
    expect(reset.freedBytes).toBeGreaterThan(count * 64 * 1024);
    expect(await identities()).toEqual(before);
    expect(new Set([...lives.values(), ...(await nonces()).values()]).size).toBe(2 * count);
  });

  it('lets every guest write only its own disk, without earlier content', async () => {
    const lives = await nonces();
    await lab.ok('stop', fleet, '--timeout', '1s', '--force');
    for (let index = 1; index <= count; index++) {
      expect(await lab.marker(fleet, name(index))).toEqual({ boots: 1, nonce: lives.get(name(index)) });
    }
    expect(sha256(await readFile(basePath))).toBe(baseDigest);
  });

  it('resets their disks, and leaves stopped members stopped', async () => {
    const off = await lab.ok('reset', fleet);
    expect(off.counts).toMatchObject({ reset: count, started: 0, failed: 0 });
    expect(off.freedBytes).toBeGreaterThan(count * 64 * 1024);
    for (let index = 1; index <= count; index++) expect(await lab.marker(fleet, name(index))).toBeUndefined();
    expect((await lab.ok('report', fleet)).overlays.driftBytes).toBe(0);
  });

  it('removes them and changes nothing else', async () => {
    const outcome = await lab.ok('teardown', fleet, '--with-base', '--yes');
    expect(outcome.counts).toMatchObject({ removed: count, failed: 0 });
    expect(await concerned()).toEqual(domainsBefore);
    expect(domainsBefore).toContain(`${fleet}-101`);
    expect((await lab.ok('list')).fleets).toEqual([]);
    expect((await lab.ok('base', 'list')).bases).toEqual([]);
  });
});

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
