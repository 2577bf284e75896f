import { mkdir } from 'node:fs/promises';
import { afterAll, beforeAll, inject } from 'vitest';
import { Lab } from './lab.js';
import { TestNetwork } from './network.js';

/** A running source VM with content in its memory and on both disks, for instant clones. */
export class CloneLab {
  readonly lab = new Lab();
  /** The fleet of the source VM. */
  readonly golden = this.lab.fleet('gold');
  readonly goldenName = `${this.golden}-001`;

  /** Prepares it before the tests of the surrounding describe. */
  static use(): CloneLab {
    const one = new CloneLab();
    let network: TestNetwork | undefined;
    beforeAll(async () => {
      await mkdir(one.lab.scratch);
      network = await TestNetwork.open(one.lab.id, 50, 99);
      await one.#prepare(network.name);
    });
    afterAll(async () => {
      await one.lab.close();
      await network?.close();
    });
    return one;
  }

  async #prepare(network: string): Promise<void> {
    const { lab, golden, run } = this;
    const machine = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'smbios', '--network', `network=${network}`];
    await lab.ok('spawn', golden, ...machine, '--disk', '16MiB,name=data', '--count', '1', '--wait', 'agent,address');
    await run(golden, 'echo of-the-golden > /run/in-memory; echo of-the-golden > /root/on-disk; echo of-the-golden > /dev/vdb; sync');
    // dropbear generates one only at the first login.
    await run(golden, 'dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key');
  }

  /** @param where a fleet, and which member of it @returns the output of each member */
  readonly run = async (where: string, command: string): Promise<string[]> => {
    const { members } = await this.lab.ok('exec', ...where.split(' '), '--via', 'agent', '--json', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
}
