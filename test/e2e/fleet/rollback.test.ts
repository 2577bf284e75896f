import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Host, openHost } from '../../../src/host.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { domains, guest, Lab, uri, virsh } from '../../support/lab.js';

/** Replaces calls of a port, to simulate failures at an exact moment. */
function changed<T extends object>(port: T, calls: Partial<T>): T {
  return new Proxy(port, {
    get: (target, key) => {
      const value = Reflect.get(calls, key) ?? Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** The undo of a spawn that fails late. */
describe('a spawn that fails when its first domain is defined', () => {
  let lab: Lab;
  let host: Host;
  let fleet: string;
  beforeAll(async () => {
    lab = await Lab.open();
    host = await openHost({ connect: uri, store: lab.store });
    fleet = lab.fleet('back');
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '2', '--no-start', ...guest);
  });
  afterAll(async () => {
    await host.close();
    await lab.close();
  });

  it('undefines no domain that it did not create', async () => {
    const member = `${fleet}-001`;
    const path = join(lab.scratch, 'member.xml');
    await writeFile(path, await virsh('dumpxml', '--inactive', member));
    await virsh('undefine', member);
    // The domain is recreated after the check that it is missing.
    const fleets = changed(host.fleets, {
      write: async (record) => {
        await host.fleets.write(record);
        await virsh('define', path);
      },
    });
    const hypervisor = changed(host.hypervisor, { define: () => Promise.reject(new Error('refused')) });
    await expect(spawn({ ...host, fleets, hypervisor }, { fleet, start: false })).rejects.toThrow('refused');
    expect(await domains()).toContain(member);
    await lab.ok('spawn', fleet, '--no-start');
    expect((await lab.ok('verify')).findings).toEqual([]);
  });

  it('reports why it failed, and keeps its intent if the domain cannot be removed', async () => {
    const other = lab.fleet('kept');
    const hypervisor = changed(host.hypervisor, {
      define: async (definition) => {
        await host.hypervisor.define(definition);
        throw new Error('no answer');
      },
      undefine: () => Promise.reject(new Error('no answer either')),
    });
    const spec = { memoryMiB: 16, network: 'none' };
    await expect(spawn({ ...host, hypervisor }, { fleet: other, base: 'golden', count: 2, spec, start: false })).rejects.toThrow(
      /^no answer$/,
    );
    expect((await lab.ok('resume', other)).counts).toMatchObject({ failed: 0 });
    expect((await lab.ok('verify')).findings).toEqual([]);
  });
});
