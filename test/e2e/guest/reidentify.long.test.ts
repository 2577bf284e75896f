import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openHost } from '../../../src/host.js';
import { makeHostKeys } from '../../../src/services/guest/host-keys.js';
import { type ReidentifyPorts, readIdentityReport, refreshGuest, reidentifyGuest } from '../../../src/services/guest/reidentify.js';
import { Lab, uri, virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';
import { shownKey } from '../../support/ssh-keys.js';

/** Changes the identity of a running Linux guest, as for a clone, and compares its report with what is visible from outside. */
describe('a reidentified guest', () => {
  let lab: Lab;
  let network: TestNetwork;
  let host: Awaited<ReturnType<typeof openHost>>;
  beforeAll(async () => {
    lab = await Lab.open();
    network = await TestNetwork.open(lab.id, 10, 17);
    host = await openHost({ connect: uri, store: lab.store });
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
    await network.close();
  });

  it('has a new identity and the right time, and its hook has run', async () => {
    const fleet = lab.fleet('mend');
    const wait = ['--network', `network=${network.name}`, '--wait', 'agent,ssh'];
    const made = await lab.ok(
      'spawn',
      fleet,
      '--base',
      inject('tinyImage'),
      '--count',
      '1',
      '--memory',
      '128MiB',
      '--seed',
      'nocloud',
      ...wait,
    );
    const [{ name, mac, address }] = made.members;
    const said = async (command: string): Promise<string> => (await lab.ok('exec', fleet, '--', command)).members[0].stdout.trim();
    const options = { timeoutMs: 60_000 };

    const golden = await readIdentityReport(host, name, options);
    expect(golden).toMatchObject({ hostname: name, macs: [mac], addresses: [address], hostKeys: [await shownKey(address)], notes: [] });
    expect(golden.machineId).toBe(await said('cat /etc/machine-id'));

    // Values that could be commands are never sent.
    const sent: unknown[] = [];
    const spied: ReidentifyPorts = {
      clock: host.clock,
      builtInTemplate: host.builtInTemplate,
      agent: { command: async (...words) => sent.push(words) },
    };
    const newHostKeys = await makeHostKeys(['ssh-ed25519']);
    const identity = {
      hostname: `other-${lab.id}`,
      machineId: 'feedc0de'.repeat(4),
      macs: [{ from: mac, to: '52:54:00:ab:cd:ef' }],
      hostKeys: 'renew' as const,
      newHostKeys,
    };
    const everything = { clock: true, entropy: true, renew: true, identity };
    const hostile = { ...everything, identity: { ...identity, hostname: "x'; touch /root/hostile; '" } };
    await expect(reidentifyGuest(spied, name, hostile, options)).rejects.toMatchObject({ code: 'BAD_SPEC' });
    expect(sent).toEqual([]);

    await network.addHost(`<host mac='52:54:00:ab:cd:ef' ip='${network.address(60)}'/>`);
    // A memory of some days ago, with its old host name.
    await said(`date -s @1600000000; echo "127.0.1.1 ${name}.example ${name}" >> /etc/hosts`);
    const hook = `echo "$(hostname) 'hooked'" > /root/hook; yes | head -c 3000000`;
    const self = await reidentifyGuest(host, name, { ...everything, hook }, options);
    expect(self).toMatchObject({ hostname: identity.hostname, machineId: identity.machineId, macs: ['52:54:00:ab:cd:ef'], notes: [] });
    expect(self.addresses).toEqual([network.address(60)]);
    // Generated on the host; dropbear serves it, see below.
    expect(self.hostKeys).toEqual(newHostKeys.map(({ publicKey }) => publicKey));
    expect(self.hostKeys).not.toEqual(golden.hostKeys);

    // Checked in another way.
    expect(await said('hostname; cat /etc/hostname /etc/machine-id /sys/class/net/eth0/address /root/hook')).toBe(
      [identity.hostname, identity.hostname, identity.machineId, '52:54:00:ab:cd:ef', `${identity.hostname} 'hooked'`].join('\n'),
    );
    expect(await said('grep 127.0.1.1 /etc/hosts; ls /root /run | grep -E "cowherd|hostile" | cat')).toBe(`127.0.1.1 ${identity.hostname}`);
    expect(Math.abs(Number(await said('date +%s')) - Date.now() / 1000)).toBeLessThan(3);
    const linkLocal = await said('ip -6 addr show eth0');
    expect(linkLocal).toContain('fe80::5054:ff:feab:cdef');
    // From outside: it has the reported address and the new host key; the old address is unused.
    const neighbours = async () => (await execa('ip', ['neigh', 'show', self.addresses[0] ?? ''])).stdout;
    expect([await shownKey(self.addresses[0] ?? '')]).toEqual(self.hostKeys);
    expect(await neighbours()).toContain('52:54:00:ab:cd:ef');
    expect(await said('ip -4 addr show eth0')).not.toContain(`${address}/`);

    // A warm reset keeps the identity.
    await said('date -s @1600000000');
    const mended = await refreshGuest(host, name, { clock: true, entropy: true, renew: true }, options);
    expect(mended.notes).toEqual([]);
    expect(await readIdentityReport(host, name, options)).toEqual({ ...self, clockMs: expect.any(Number) });
    expect(Math.abs(mended.clockMs - Date.now())).toBeLessThan(5_000);

    // Unsuccessful changes are reported.
    await expect(
      reidentifyGuest(
        host,
        name,
        { ...everything, renew: false, identity: { ...identity, macs: [], hostKeys: 'keep' }, hook: 'echo broken >&2; exit 3' },
        options,
      ),
    ).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('exit code 3'),
      details: ['broken'],
    });
    const gone = { ...identity, hostKeys: 'keep' as const, macs: [{ from: '52:54:00:00:00:01', to: '52:54:00:00:00:02' }] };
    await expect(
      reidentifyGuest(host, name, { clock: false, entropy: false, renew: false, identity: gone }, options),
    ).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringMatching(/source VM's identity: MAC: no card has 52:54:00:00:00:01/),
    });

    // Two restores of one memory get the same random numbers for up to a minute, even with new entropy, unless the kernel is reseeded.
    const draw = 'hexdump -n 16 -e \'4/4 "%08x"\' /dev/urandom';
    await said(draw);
    const [disk, memory] = [lab.overlay(fleet, name), lab.path('memory')];
    await virsh('save', name, memory);
    await copyFile(disk, lab.path('disk'));
    const drawn: string[] = [];
    for (const _ of [1, 2]) {
      await virsh('destroy', name).catch(() => undefined);
      await writeFile(disk, await readFile(lab.path('disk')));
      await virsh('restore', memory);
      expect((await refreshGuest(host, name, { clock: false, entropy: true, renew: false }, options)).notes).toEqual([]);
      drawn.push(await said(draw));
    }
    expect(drawn[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(drawn[1]).not.toBe(drawn[0]);

    // If it is killed right afterwards, it boots with the new identity; its seed sets the host name at each boot.
    const late = { hostname: `late-${lab.id}`, machineId: 'beadfeed'.repeat(4), macs: [], hostKeys: 'keep' as const };
    // A card without a link is reported in a separate field, not in a note.
    await virsh('domif-setlink', name, mac, 'down');
    const unplugged = await reidentifyGuest(host, name, { clock: false, entropy: false, renew: true, identity: late }, options);
    expect(unplugged).toMatchObject({ withoutLink: ['eth0'], notes: [] });
    await virsh('destroy', name);
    await lab.ok('start', fleet, '--wait', 'agent');
    expect(await said('cat /etc/machine-id')).toBe(late.machineId);
  });
});
