import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Host, openHost } from '../../../src/host.js';
import { guest, Lab, uri, virsh } from '../../support/lab.js';

/** virsh reads a number as the id of a running domain, even if another domain has that name. */
describe('a domain whose name is the id of a running member', () => {
  const uuid = crypto.randomUUID();
  let lab: Lab;
  let host: Host;
  let fleet: string;
  let running: string;
  let number: string;
  beforeAll(async () => {
    lab = await Lab.open();
    host = await openHost({ connect: uri, store: lab.store });
    fleet = lab.fleet('runs');
    running = `${fleet}-001`;
    await lab.ok('spawn', fleet, '--base', await lab.golden('one.qcow2'), '--count', '1', ...guest);
    number = (await virsh('domid', running)).trim();
    // Its second disk is based on a base image of the store that no fleet uses.
    const { path } = await lab.ok('base', 'add', await lab.golden('two.qcow2', { filledMiB: 1 }), '--name', 'two');
    const [first, second] = [await lab.golden('first.qcow2'), join(lab.scratch, 'second.qcow2')];
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', path, '-F', 'qcow2', second]);
    const disk = (file: string, target: string) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${file}'/><target dev='${target}' bus='virtio'/></disk>`;
    await lab.redefine(
      `<domain type='qemu'><name>${number}</name><uuid>${uuid}</uuid><memory unit='MiB'>24</memory><os><type>hvm</type></os><devices>${disk(first, 'vda')}${disk(second, 'vdb')}</devices></domain>`,
    );
  });
  afterAll(async () => {
    // Its name does not have this lab's prefix.
    await execa('virsh', ['-c', uri, 'undefine', uuid], { reject: false });
    await host.close();
    await lab.close();
  });

  it('keeps the base image that it uses', async () => {
    const { exitCode, json } = await lab.answer('base', 'remove', 'two');
    expect([exitCode, json.error?.code]).toEqual([3, 'BASE_IN_USE']);
  });

  it('does not count as a member of the fleet in verify', async () => {
    expect((await lab.ok('verify', fleet)).findings).toEqual([]);
  });

  it.each(['name', 'UUID'])('becomes a fleet of its own definition, given by its %s', async (by) => {
    const made = lab.fleet(`of-${by.toLowerCase()}`);
    const words = ['--from-domain', by === 'name' ? number : uuid, '--count', '1', '--trust-chain', '--no-start'];
    await lab.ok('spawn', made, ...words);
    const xml = await virsh('dumpxml', '--inactive', `${made}-001`);
    expect(xml).toContain("<memory unit='KiB'>24576</memory>");
    expect(xml.match(/<target dev='vd/g)).toHaveLength(2);
  });

  it('is never stopped or read in place of the other, by name or by UUID', async () => {
    const { hypervisor, domains } = host;
    for (const call of [hypervisor.destroy(number), hypervisor.undefine(number), domains.definition(number), hypervisor.stateOf(number)])
      await expect(call).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
    expect(await hypervisor.stateOf(uuid)).toEqual({ state: 'shutOff', reason: 'unknown' });
    expect((await hypervisor.stateOf((await virsh('domuuid', running)).trim())).state).toBe('running');
    expect((await virsh('domstate', running)).trim()).toBe('running');
  });
});
