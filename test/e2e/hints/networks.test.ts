import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, describe, expect, it } from 'vitest';
import { commandsIn, run } from '../../support/hints/follow.js';
import { Lab, uri, virsh } from '../../support/lab.js';
import { TestNetwork } from '../../support/network.js';

/** Faults of networks, each with its hint, which is followed here exactly. */
describe('hints about networks', () => {
  let base: string[];
  const networks: TestNetwork[] = [];
  const lab = Lab.use(async () => {
    base = ['--base', await lab.golden('golden.qcow2'), '--memory', '16MiB', '--no-start'];
  });
  afterAll(async () => {
    for (const network of networks) await network.close();
  });

  const open = async (name: string, last: number): Promise<TestNetwork> => {
    const network = await TestNetwork.open(`${lab.id}${name}`, 10, last, { isPersistent: true });
    networks.push(network);
    return network;
  };
  const spawn = (fleet: string, count: number, network: string) =>
    lab.answer('spawn', fleet, ...base, '--count', String(count), '--network', `network=${network}`);
  /** Edits a network as the user would in an editor. @param command `virsh net-edit NAME` @param change for sed */
  const edit = async (command: string, change: string): Promise<void> => {
    const editor = join(lab.scratch, 'editor');
    await writeFile(editor, `#!/bin/sh\nexec sed -i "${change}" "$1"\n`, { mode: 0o755 });
    await execa('bash', ['-c', command], { env: { EDITOR: editor, LIBVIRT_DEFAULT_URI: uri } });
  };

  it('start one that is not active, and list them if the name is wrong', async () => {
    const network = await open('a', 20);
    await virsh('net-destroy', network.name);
    const off = await spawn(lab.fleet('off'), 1, network.name);
    expect([off.exitCode, off.json.error.message]).toEqual([3, `network ${network.name} is not active; nothing was changed`]);
    await run(lab, commandsIn(off.json.error.hint)[0] ?? '');
    expect((await spawn(lab.fleet('off'), 1, network.name)).exitCode).toBe(0);
    const wrong = await spawn(lab.fleet('wrong'), 1, `${network.name}x`);
    const [command = ''] = commandsIn(wrong.json.error.hint);
    expect([wrong.exitCode, await run(lab, command)]).toEqual([3, expect.stringContaining(network.name)]);

    // It is stopped after the members were defined: libvirt refuses to start them.
    await virsh('net-destroy', network.name);
    const refused = await lab.answer('start', lab.fleet('off'));
    const [start = ''] = /virsh net-start NAME/.exec(refused.json.members[0].error.hint) ?? [];
    await run(lab, start.replace('NAME', network.name));
    expect((await lab.ok('start', lab.fleet('off'))).counts).toMatchObject({ started: 1 });
    await lab.ok('teardown', lab.fleet('off'), '--yes');
  });

  it('remove the entry of another machine with the name of a member', async () => {
    const network = await open('c', 20);
    const fleet = lab.fleet('clash');
    await network.addHost(`<host mac='52:54:00:00:00:01' name='${fleet}-001' ip='${network.address(12)}'/>`);
    await virsh(
      'net-update',
      network.name,
      'add',
      'ip-dhcp-host',
      `<host mac='52:54:00:00:00:01' name='${fleet}-001' ip='${network.address(12)}'/>`,
      '--config',
    );
    const refused = await spawn(fleet, 1, network.name);
    expect([refused.exitCode, refused.json.error.message]).toEqual([
      3,
      expect.stringContaining(`entry for another machine named ${fleet}-001`),
    ]);
    await run(lab, refused.json.error.hint.replace(/^If nothing uses it: /, ''));
    expect((await spawn(fleet, 1, network.name)).exitCode).toBe(0);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('widen a range that is too small, and add one that is missing', async () => {
    const network = await open('w', 10);
    const fleet = lab.fleet('wide');
    const refused = await spawn(fleet, 2, network.name);
    const [, command = ''] = /\((virsh net-edit \S+), then net-destroy and net-start\)/.exec(refused.json.error.hint) ?? [];
    expect([refused.exitCode, command]).toEqual([3, `virsh net-edit ${network.name}`]);
    await edit(command, `s/end=.*10'/end='${network.address(11)}'/`);
    await virsh('net-destroy', network.name);
    await virsh('net-start', network.name);
    expect((await spawn(fleet, 2, network.name)).json.members.map((member: { address: string }) => member.address)).toEqual([
      network.address(10),
      network.address(11),
    ]);
    await lab.ok('teardown', fleet, '--yes');

    await edit(command, '/range/d');
    await virsh('net-destroy', network.name);
    await virsh('net-start', network.name);
    const none = await spawn(fleet, 1, network.name);
    expect([none.exitCode, none.json.notes.join()]).toEqual([0, expect.stringContaining('Add a <dhcp> range to the network')]);
    expect(none.json.members[0].address).toBeNull();
    const range = `<dhcp><range start='${network.address(10)}' end='${network.address(11)}'/></dhcp>`;
    await edit(command, `s#</ip>#${range}</ip>#`);
    await virsh('net-destroy', network.name);
    await virsh('net-start', network.name);
    expect((await lab.ok('spawn', fleet)).members[0].address).toBe(network.address(10));
    await lab.ok('teardown', fleet, '--yes');
  });

  it('assign another port if a process has taken the forwarded one', async () => {
    const fleet = lab.fleet('port');
    const made = await lab.ok('spawn', fleet, ...base, '--count', '1', '--network', 'user', '--forward-ssh');
    const { port } = (await lab.ok('inventory', fleet)).members[0];
    expect(made.counts).toMatchObject({ created: 1 });
    const taken = createServer().listen(port, '127.0.0.1');
    try {
      const refused = await lab.answer('start', fleet);
      const { hint } = refused.json.members[0].error;
      expect([refused.exitCode, hint]).toEqual([4, expect.stringContaining('"cowherd spawn" assigns another one')]);
      expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ failed: 0, started: 1 });
      expect((await lab.ok('inventory', fleet)).members[0].port).not.toBe(port);
    } finally {
      taken.close();
    }
  });

  it('add what a wait for ssh needs', async () => {
    const fleet = lab.fleet('wait');
    const words = ['spawn', fleet, ...base.filter((word) => word !== '--no-start'), '--count', '1', '--wait', 'ssh', '--dry-run'];
    const noNetwork = await lab.answer(...words, '--network', 'none');
    const [, option = ''] = /\((--network user --forward-ssh), or/.exec(noNetwork.json.error.hint) ?? [];
    expect(noNetwork.exitCode).toBe(2);
    expect((await lab.answer(...words, ...option.split(' '))).exitCode).toBe(0);
    const noPort = await lab.answer(...words, '--network', 'user');
    const [, added = ''] = /^Add (--forward-ssh) /.exec(noPort.json.error.hint) ?? [];
    expect((await lab.answer(...words, '--network', 'user', added)).exitCode).toBe(0);
  });
});
