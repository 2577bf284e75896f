import { rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { follow } from '../../support/hints/follow.js';
import { virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';
import { type Expected, TamperLab } from '../../support/scenarios/tamper-lab.js';

describe('tampering with a domain or a network', () => {
  const { lab, golden, fleet, sibling, name, overlay, imagePath, answer, expectRefusals } = TamperLab.use();

  it('of a domain', async () => {
    const xml = await virsh('dumpxml', '--inactive', name(2));
    const define = async (text: string): Promise<void> => {
      const path = join(lab.scratch, 'edited.xml');
      await writeFile(path, text);
      await virsh('define', path);
    };
    const verbs = (start: Expected, promote: Expected, reset: Expected) => ({
      'start F 2': start,
      'reset F 2': reset,
      'promote F 2 --as new': promote,
      'compact F 2': promote.replace(/^\d/, '4'),
    });
    // Another disk: of another member, and of none.
    for (const disk of [overlay(3), golden]) {
      await define(xml.replace(overlay(2), disk));
      await expectRefusals(`disk ${basename(disk)}`, verbs('4 REFUSED', '7 BASE_REFUSED', '4 REFUSED'));
      const { hint } = await answer('start', fleet, '2');
      const commands = await follow(lab, hint, (command) => !command.includes('relocate'));
      expect(commands.at(-1)).toBe(`cowherd spawn ${fleet}`);
      await lab.ok('stop', fleet, '2-3');
      expect(await virsh('dumpxml', '--inactive', name(2))).toContain(overlay(2));
    }
    // The mark was removed; it was renamed; it has another UUID.
    await virsh('metadata', name(2), 'urn:cowherd:domain:1', '--remove');
    await expectRefusals('mark', {
      ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'),
      'stop F 2': '4 REFUSED',
      'spawn F': '7 FOREIGN_DOMAIN',
    });
    expect((await answer('start', fleet, '2')).hint).toContain(`virsh undefine ${name(2)}`);
    await virsh('undefine', name(2));
    await expectRefusals('undefined', verbs('4 REFUSED', '5 MEMBER_NOT_FOUND', '4 REFUSED'));
    await lab.ok('spawn', fleet, '--no-start');
    await virsh('domrename', name(2), `${fleet}-x`);
    await expectRefusals('renamed', {
      ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'),
      'spawn F': '7 FOREIGN_DOMAIN',
      'teardown F 2 --dry-run': '4 REFUSED',
    });
    await virsh('domrename', `${fleet}-x`, name(2));
    await virsh('undefine', name(2));
    await define(xml.replace(/<uuid>.*<\/uuid>/, '<uuid>11111111-1111-4111-8111-111111111111</uuid>'));
    await expectRefusals('uuid', { ...verbs('4 REFUSED', '7 FOREIGN_DOMAIN', '4 REFUSED'), 'spawn F': '7 FOREIGN_DOMAIN' });
    await virsh('undefine', name(2));
    await lab.ok('spawn', fleet, '--no-start');
    await lab.ok('start', fleet, '2', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2');
  });

  it('of the network under a fleet', async () => {
    const network = await TestNetwork.open(lab.id, 10, 20);
    const wired = lab.fleet('n');
    await lab.ok(
      'spawn',
      wired,
      '--base',
      golden,
      '--count',
      '1',
      '--memory',
      '16MiB',
      '--network',
      `network=${network.name}`,
      '--no-start',
    );
    await network.close();
    const reply = await answer('start', wired);
    expect([reply.got, reply.hint]).toEqual(['4 TOOL_FAILED', expect.stringContaining('virsh net-list')]);
    expect((await lab.ok('status', wired)).counts.shutOff).toBe(1);
    expect((await answer('spawn', wired)).got).toBe('3 PREFLIGHT_FAILED');
    await lab.ok('teardown', wired, '--yes');
  });

  it('and the fleet can be removed without its base image', async () => {
    await rm(await imagePath('golden'));
    await lab.ok('stop', fleet, '1', '--timeout', '1s', '--force');
    expect((await lab.ok('teardown', fleet, '--yes')).counts).toMatchObject({ removed: 3, failed: 0 });
    expect((await lab.ok('list')).fleets.map((row: { fleet: string }) => row.fleet)).toEqual([sibling]);
  });
});
