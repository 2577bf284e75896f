import { rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { uri, virsh } from './lab.js';

/** An isolated libvirt network for one test. */
export class TestNetwork {
  readonly name: string;
  readonly #subnet: number;

  private constructor(name: string, subnet: number) {
    this.name = name;
    this.#subnet = subnet;
  }

  /**
   * @param first,last the last bytes of the DHCP range
   * @param options.isPersistent whether the network is persistent
   * @param options.before XML before its <ip>
   */
  static async open(id: string, first: number, last: number, { isPersistent = false, before = '' } = {}): Promise<TestNetwork> {
    const name = `cwt-net-${id}`;
    const path = `/tmp/${name}.xml`;
    // An unused subnet.
    for (let subnet = 100; ; subnet++) {
      const net = new TestNetwork(name, subnet);
      const range = `<dhcp><range start='${net.address(first)}' end='${net.address(last)}'/></dhcp>`;
      await writeFile(
        path,
        `<network><name>${name}</name><bridge name='cwt${id}' stp='off' delay='0'/>${before}<ip address='${net.address(1)}' netmask='255.255.255.0'>${range}</ip></network>`,
      );
      const made = isPersistent ? `net-define ${path}; net-start ${name}` : `net-create ${path}`;
      await execa('virsh', ['-q', '-c', uri, made], { reject: false });
      await rm(path);
      const { exitCode, stdout, stderr } = await execa('virsh', ['-q', '-c', uri, 'net-info', name], { reject: false });
      if (exitCode === 0 && /^Active:\s+yes/m.test(stdout)) return net;
      await net.close();
      if (subnet > 120) throw new Error(stderr);
    }
  }

  address(number: number): string {
    return `192.168.${this.#subnet}.${number}`;
  }

  async addHost(xml: string): Promise<void> {
    await virsh('net-update', this.name, 'add', 'ip-dhcp-host', xml, '--live');
  }

  /** Names of its static DHCP entries with a MAC. @param flags --inactive for the persistent ones */
  async hosts(...flags: string[]): Promise<string[]> {
    return [...(await virsh('net-dumpxml', this.name, ...flags)).matchAll(/<host mac='[^']+' name='([^']+)'/g)].map(
      (match) => match[1] ?? '',
    );
  }

  async close(): Promise<void> {
    await execa('virsh', ['-q', '-c', uri, 'net-destroy', this.name], { reject: false });
    await execa('virsh', ['-q', '-c', uri, 'net-undefine', this.name], { reject: false });
  }
}
