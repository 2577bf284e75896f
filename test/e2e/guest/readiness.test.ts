import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GuestLab } from '../../support/guest-lab.js';
import { guest, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Guests without a network or an agent. */
describe('guests that cannot be reached', () => {
  const guests = GuestLab.use();
  const { lab } = guests;

  longIt('need an active network', async () => {
    const name = `cwt-off-${lab.id}`;
    const path = join(lab.scratch, 'off.xml');
    await writeFile(path, `<network><name>${name}</name><bridge name='cwo${lab.id}' stp='off' delay='0'/></network>`);
    await virsh('net-define', path);
    try {
      const fleet = lab.fleet('off');
      const refused = await lab.answer('spawn', fleet, ...guests.linux, '--count', '1', '--network', `network=${name}`);
      expect([refused.exitCode, refused.json.error.message]).toEqual([3, `network ${name} is not active; nothing was changed`]);
      expect((await lab.answer('doctor', '--network', `network=${name}`)).exitCode).toBe(3);
      expect(await virsh('net-info', name)).toMatch(/Active:\s+no/);
      expect((await lab.answer('doctor', '--network', `network=${name}`, '--start-network', name)).exitCode).toBe(0);
      expect(await virsh('net-info', name)).toMatch(/Active:\s+yes/);
      // Moving to another network: refused while running, then with an address of the new network.
      await lab.ok('spawn', fleet, ...guests.linux, '--count', '1', '--network', `network=${guests.network.name}`);
      const running = await lab.answer('spawn', fleet, '--network', 'user');
      expect([running.exitCode, running.json.error.hint]).toEqual([3, expect.stringContaining(`cowherd stop ${fleet}`)]);
      expect(await guests.network.hosts()).toEqual([`${fleet}-001`]);
      await lab.ok('stop', fleet, '--force', '--timeout', '1s');
      await lab.ok('spawn', fleet, '--network', 'user', '--no-start');
      expect(await guests.network.hosts()).toEqual([]);
      await lab.ok('teardown', fleet, '--yes');
      // Without DHCP there is nothing to reserve, and a note says so.
      const spawned = await lab.ok('spawn', fleet, ...guests.linux, '--count', '1', '--network', `network=${name}`, '--no-start');
      expect(spawned.notes.join()).toContain('no DHCP range');
      await lab.ok('teardown', fleet, '--yes');
    } finally {
      await virsh('net-destroy', name).catch(() => undefined);
      await virsh('net-undefine', name);
    }
  });

  it('without agent and address cause one clear error each', async () => {
    const golden = await lab.golden('golden.qcow2');
    const fleet = lab.fleet('mute');
    const { exitCode, json } = await lab.answer(
      'spawn',
      fleet,
      '--base',
      golden,
      '--count',
      '2',
      ...guest,
      '--wait',
      'agent',
      '--timeout',
      '3s',
    );
    expect([exitCode, json.counts.failed]).toEqual([4, 2]);
    for (const { error, stuckAt, state } of json.members) {
      expect([stuckAt, state, error.code]).toEqual(['agent', 'running', 'NOT_READY']);
      expect(error.message).toMatch(/did not reach stage agent within 3 s: The agent of .* does not answer/);
      expect(error.details.join()).toMatch(/last line of its console: OK /);
    }
    for (const wait of ['ssh', 'address', 'nonsense']) expect((await lab.answer('spawn', fleet, '--wait', wait)).exitCode).toBe(2);
    expect((await lab.answer('reset', fleet, '--wait', 'ssh')).exitCode).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
    // On a network without a DHCP request: waits for the address.
    const silent = ['--base', golden, '--count', '1', '--memory', '16MiB', '--network', `network=${guests.network.name}`];
    const lost = await lab.answer('spawn', fleet, ...silent, '--wait', 'ssh', '--timeout', '3s');
    expect(lost.json).toMatchObject({ counts: { failed: 1 } });
    expect(lost.json.members[0]).toMatchObject({ stuckAt: 'address', error: { message: expect.stringContaining('by DHCP') } });
    await lab.ok('teardown', fleet, '--yes');
    expect(await guests.network.hosts()).toEqual([]);
  });
});
