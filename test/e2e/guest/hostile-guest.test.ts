import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inventoryFormats } from '../../../src/core/fleet/inventory.js';
import { libvirtWords } from '../../fakes/hostile-agent/replies.js';
import { seed } from '../../fakes/hostile-agent/seed.js';
import {
  checkAnsible,
  checkCsv,
  checkEnv,
  checkFormats,
  checkHosts,
  checkKnownHosts,
  checkSshConfig,
  checkWithAnsible,
} from '../../support/formats.js';
import { isLong, longIt } from '../../support/long.js';
import { HostileLab } from '../../support/scenarios/hostile-lab.js';

/** Error codes that a guest may cause. It must not be able to cause errors of libvirt, the store or cowherd. */
const guestFaults = ['GUEST_REFUSED', 'GUEST_UNREACHABLE', 'TOOL_TIMEOUT'];

/** Guests whose agents answer every call with garbage, and which send false data everywhere else. */
describe(`Hostile guests (HOSTILE_SEED=${seed})`, () => {
  let hostile: HostileLab;
  /** On a bridge, where addresses are known only from agents. With seeds for ssh. */
  let fleet: string;
  let names: string[];
  /** On a libvirt network, without a seed. */
  let leased: string;

  beforeAll(async () => {
    hostile = await HostileLab.open();
    const { lab, image, network } = hostile;
    fleet = lab.fleet('evil');
    leased = lab.fleet('leased');
    names = [1, 2, 3].map((index) => `${fleet}-00${index}`);
    const base = ['--base', image, '--memory', '128MiB', '--virt-type', 'qemu', '--wait', 'agent'];
    await lab.ok('spawn', fleet, ...base, '--count', '3', '--network', `bridge=cwt${lab.id}`, '--seed', 'nocloud');
    await lab.ok('spawn', leased, ...base, '--count', '1', '--seed', 'smbios', '--network', `network=${network.name}`);
  });
  afterAll(() => hostile.close());

  const inventory = async (...args: string[]) => (await hostile.document('inventory', fleet, ...args)).json;

  it('cannot make ssh run a command with the address that they report', async () => {
    await hostile.play(names, 'guest-network-get-interfaces=exploit');
    const config = join(hostile.lab.scratch, 'ssh_config');
    const { stdout, stderr } = await hostile.lab.cowherd('inventory', fleet, '--format', 'ssh-config');
    await writeFile(config, stdout);
    for (const name of names) {
      await execa('ssh', ['-F', config, '-oBatchMode=yes', '-oConnectTimeout=1', name, 'true'], { reject: false, timeout: 10_000 });
    }
    await hostile.assertUnharmed('ssh with the configuration that inventory printed');
    expect(await checkSshConfig(stdout, await inventory())).toEqual([]);
    expect(stderr).toContain('3 of 3 members have no known address');
  });

  it('cannot break a format of the inventory', async () => {
    await hostile.play(names, '');
    for (let round = 0; round < (isLong ? 30 : 4); round++) {
      const document = await hostile.lab.ok('inventory', fleet);
      expect.soft(checkFormats(document)).toEqual([]);
    }
    for (const format of inventoryFormats) {
      const { stdout: text, json } = await inFormat(format);
      const checks = { 'ssh-config': checkSshConfig, env: checkEnv, hosts: checkHosts, ansible: checkWithAnsible, json: () => [] };
      expect.soft(await checks[format](text, json), format).toEqual([]);
      if (format === 'ansible') expect.soft(checkAnsible(text, json)).toEqual([]);
      await hostile.assertUnharmed(format);
      await hostile.terminal('inventory', fleet, '--format', format);
    }
  });

  /** The text of a format, and the JSON of the same replies. */
  async function inFormat(format: string): Promise<{ stdout: string; json: any }> {
    // Some with a usable address.
    await hostile.play(names.slice(0, 2), 'guest-network-get-interfaces=real+');
    await hostile.play(names.slice(2), 'guest-network-get-interfaces=exploit');
    const { exitCode, stdout } = await hostile.lab.cowherd('inventory', fleet, '--format', format);
    expect(exitCode).toBe(0);
    return { stdout, json: await hostile.lab.ok('inventory', fleet) };
  }

  it('cannot abort a command that reads their data, nor control the terminal', async () => {
    const { lab } = hostile;
    const file = join(lab.scratch, 'payload');
    await writeFile(file, 'payload\n');
    for (let round = 0; round < (isLong ? 10 : 1); round++) {
      for (const verb of [
        ['status', fleet],
        ['exec', fleet, '--timeout', '1s', '--', 'true'],
        ['exec', fleet, '--timeout', '1s', '--via', 'agent', '--', 'true'],
        ['cp', file, `${fleet}:/root/`, '--via', 'agent', '--timeout', '2s'],
        ['cp', `${fleet}:/root/x`, join(lab.scratch, 'from'), '--via', 'agent', '--timeout', '2s'],
      ]) {
        const { exitCode, json } = await lab.answer(...verb);
        expect.soft([0, 4], JSON.stringify(json)).toContain(exitCode);
        expect.soft(JSON.stringify(json)).not.toContain('"BUG"');
        for (const row of json.members) {
          if ('exitCode' in row)
            expect.soft(row.exitCode === null || Number.isInteger(row.exitCode), `exit code ${row.exitCode}`).toBe(true);
          // A guest that quotes a libvirt error is not taken for libvirt.
          if (row.error !== undefined) expect.soft(guestFaults, row.error.message).toContain(row.error.code);
        }
      }
    }
    await hostile.assertUnharmed('all verbs that talk to agents');
    await hostile.both('status', fleet);
    await hostile.quickly('status', fleet, '--memory');
    await hostile.both('exec', fleet, '--timeout', '2s', '--', 'true');
    await hostile.both('exec', fleet, '--timeout', '2s', '--via', 'agent', '--', 'true');
    await hostile.both('cp', file, `${fleet}:/root/`, '--via', 'agent', '--timeout', '3s');
    await hostile.both('cp', `${fleet}:/root/x`, join(lab.scratch, 'from'), '--via', 'agent', '--timeout', '3s');
    await hostile.both('logs', names[0] ?? '');
    for (const verb of [['status', leased], ['list'], ['report', fleet], ['verify', fleet], ['inventory', leased]]) {
      await lab.ok(...verb);
      await hostile.terminal(...verb);
    }
    const csv = await lab.cowherd('report', fleet, '--csv');
    expect(checkCsv(csv.stdout, ['fleet', 'member', 'allocated_bytes', 'drift_bytes'])).toEqual([]);
  });

  it('cannot forge messages of libvirt', async () => {
    const [first = ''] = names;
    for (const [at, words] of libvirtWords.entries()) {
      await hostile.play([first], `guest-ping=good guest-exec=libvirt-${at}`);
      const [row] = (await hostile.lab.answer('exec', fleet, '1', '--via', 'agent', '--', 'true')).json.members;
      // A missing program is an exit code.
      if (words.startsWith('Failed to execute')) expect.soft(row.exitCode).toBe(127);
      else expect.soft(row.error?.code, words).toBe('GUEST_REFUSED');
    }
    await hostile.play([first], 'guest-ping=quotes-libvirt!');
    const [row] = (await hostile.lab.answer('exec', fleet, '1', '--', 'true')).json.members;
    expect(row.error?.code).toBe('GUEST_UNREACHABLE');
    await hostile.play(names, '');
  });

  longIt('cannot use up the memory or the time of the host', async () => {
    const { lab } = hostile;
    for (const [verb, size] of [
      ['status', 'three-megabytes+'],
      ['inventory', 'many-interfaces+'],
      ['status', 'many-addresses+'],
      ['inventory', 'deep-nesting+'],
    ] as const) {
      await hostile.play(names, `guest-network-get-interfaces=${size}`);
      await hostile.document(verb, fleet);
    }
    await hostile.play(names, 'guest-ping=good guest-exec=good guest-exec-status=large-output+');
    await hostile.document('exec', fleet, '--', 'true');
    await hostile.play(names, 'guest-ping=good guest-exec=good guest-exec-status=never-ends');
    expect((await hostile.document('exec', fleet, '--timeout', '1s', '--', 'true')).json.counts.failed).toBe(names.length);
    await hostile.play(names, 'guest-file-open=good guest-file-close=good guest-file-read=never-ends');
    const copied = await hostile.document('cp', `${fleet}:/x`, join(lab.scratch, 'endless'), '--via', 'agent', '--timeout', '1s');
    expect(copied.json.counts).toEqual({ ok: 0, failed: names.length });
    // Invalid replies, a different one from each; libvirt disconnects the agents until they reconnect.
    const broken = ['half!', 'bytes!', 'not-json!'];
    await Promise.all(names.map((name, at) => hostile.play([name], `guest-ping=${broken[at]}`)));
    await hostile.document('exec', fleet, '--timeout', '1s', '--via', 'agent', '--', 'true');
    await hostile.terminal('exec', fleet, '--timeout', '1s', '--', 'true');
    await hostile.play(names, 'guest-ping=good guest-exec=ten-megabytes+');
    await hostile.document('exec', fleet, '--timeout', '1s', '--', 'true');
    // Agents that do not answer, and then do not synchronize with libvirt.
    await hostile.play(names.slice(0, 2), 'guest-network-get-interfaces=none guest-sync=wrong-id+');
    await hostile.play(names.slice(2), 'guest-network-get-interfaces=none guest-sync=half+');
    await hostile.document('inventory', fleet);
    await hostile.terminal('exec', fleet, '--timeout', '1s', '--via', 'agent', '--', 'true');
    await hostile.play(names, '');
  });

  it('have given hundreds of generated replies', async () => {
    const served = await Promise.all([...names, `${leased}-001`].map((name) => hostile.served(name)));
    const total = served.reduce((sum, count) => sum + count, 0);
    console.error(`generated and broken replies that hostile guests gave: ${total}`);
    // Newer releases of libvirt disconnect an agent at replies that older ones accept: it then sends less.
    expect(total).toBeGreaterThan(isLong ? 200 : 50);
  });

  longIt('cannot deceive ssh, scp and readiness checks', async () => {
    const { lab } = hostile;
    const [first = '', second = ''] = names;
    const wait = async (stage: string, ...fleets: string[]) => {
      for (const name of fleets) await hostile.quickly('spawn', name, '--wait', stage, '--timeout', '1s');
    };
    await hostile.play(names, 'guest-ping=good guest-network-get-interfaces=real+');
    await lab.ok('spawn', fleet, '--wait', 'ssh', '--timeout', '60s');
    // Over ssh, output and banner are hostile too.
    const said = 'cat /usr/lib/hostile/console; cat /usr/lib/hostile/console >&2; exit 77';
    const { terminal } = await hostile.both('exec', fleet, '--via', 'ssh', '--', said);
    // All their lines start with their name.
    const lines = terminal.text.split('\n').filter((line) => !names.some((name) => new RegExp(`^${name} [|!]( |$)`).test(line)));
    for (const line of lines) expect.soft(line).toMatch(/^([Rr]unning .*)?(.*: 0 ok, 3 failed| {2}→ See its console: cowherd logs .*)?$/);
    await hostile.both('cp', `${fleet}:/usr/lib/hostile/console`, join(lab.scratch, 'by-ssh'), '--via', 'ssh');
    const garble = 'rm /usr/lib/openssh/sftp-server; ln -s /usr/bin/cloud-init /usr/lib/openssh/sftp-server';
    await lab.ok('exec', fleet, '2', '--via', 'ssh', '--', garble);
    await hostile.both('cp', `${second}:/etc/passwd`, join(lab.scratch, 'no-sftp'), '--via', 'ssh', '--timeout', '5s');
    const login = await lab.cowherd('ssh', first, '--', 'true');
    expect(login.exitCode, login.stderr).toBe(0);
    // Port 22 no longer answers as an ssh server.
    const listen = 'killall dropbear; while :; do nc -l -p 22 </usr/lib/hostile/console; done';
    await lab.answer('exec', fleet, '1', '--via', 'ssh', '--timeout', '3s', '--', `(sleep 1; ${listen}) >/dev/null 2>&1 </dev/null &`);
    await hostile.both('exec', fleet, '1', '--via', 'ssh', '--timeout', '3s', '--', 'true');
    await lab.cowherd('ssh', first, '--', 'true');
    await wait('ssh', fleet);
    await hostile.play(names, '');
    await wait('agent', fleet);
    await wait('address', fleet, leased);
    await hostile.play(names, 'guest-ping=good guest-exec=good');
    await wait('cloud-init', fleet);
    await hostile.both('spawn', fleet, '--wait', 'console=never-said', '--timeout', '1s');
    expect.soft(await checkKnownHosts(await readFile(lab.path('fleets', fleet, 'ssh', 'known_hosts'), 'utf8'))).toEqual([]);
  });

  longIt('cannot affect checkpoint, promote and stop', async () => {
    const { lab } = hostile;
    const third = names[2] ?? '';
    // An agent that answered at the checkpoint is used after the restore.
    await hostile.play(names, 'guest-ping=good guest-exec=good');
    await lab.ok('checkpoint', fleet, '1-2');
    await hostile.both('reset', fleet, '1-2', '--warm', '--timeout', '2s');
    await hostile.play(names, 'guest-ping=good guest-exec=good guest-exec-status=no-identity');
    const { json } = await hostile.document('reset', fleet, '1-2', '--warm', '--timeout', '2s');
    expect(json.counts.failed).toBe(2);
    await hostile.quickly('checkpoint', fleet, '3', '--timeout', '2s');
    await hostile.play([`${leased}-001`], 'guest-exec=good guest-exec-status=no-identity');
    const clones = await hostile.quickly(
      'spawn',
      lab.fleet('clones'),
      '--from-running',
      `${leased}-001`,
      '--count',
      '1',
      '--timeout',
      '2s',
    );
    expect([clones.document.exitCode, clones.terminal.exitCode]).toEqual([3, 3]);
    await hostile.quickly('promote', third, '--as', 'promoted', '--stop', '--timeout', '1s');
    await hostile.quickly('stop', fleet, '3', '--timeout', '1s');
    await hostile.document('stop', fleet, '--force', '--timeout', '1s');
    await hostile.document('compact', fleet, '3');
    await hostile.document('promote', third, '--as', 'promoted');
    await hostile.quickly('start', fleet, '2', '--wait', 'address', '--timeout', '1s');
    await hostile.document('rebase', fleet, '--base', await lab.golden('other.qcow2'), '--timeout', '2s');
    await hostile.quickly('reset', fleet, '2', '--wait', 'agent,cloud-init', '--timeout', '1s');
    await hostile.quickly('verify');
    await hostile.document('teardown', fleet, '--yes');
    expect((await hostile.terminal('teardown', leased, '--yes')).exitCode).toBe(0);
    expect(await lab.ok('verify')).toMatchObject({ findings: [] });
  });
});
