import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { guest, Lab, until, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Memory and disk, saved and restored together. */
describe('checkpoints', () => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
  });
  afterAll(() => lab.close());

  const pid = async (name: string): Promise<number> => Number(await readFile(`/run/libvirt/qemu/${name}.pid`, 'utf8'));
  const memory = async (name: string): Promise<string> => (await virsh('qemu-monitor-command', name, '--hmp', 'xp /4xw 0x7e00')).trim();
  /** Reboots in the same QEMU, and writes to its disk meanwhile. */
  const reboot = (name: string): Promise<string> => virsh('qemu-monitor-command', name, JSON.stringify({ execute: 'system_reset' }));
  const frozen = async (fleet: string, index: number): Promise<any> =>
    JSON.parse(await readFile(lab.path('fleets', fleet, 'checkpoints', `${fleet}-00${index}.json`), 'utf8'));
  const tags = async (fleet: string, member: string): Promise<string> =>
    (await execa('qemu-img', ['snapshot', '-U', '-l', lab.overlay(fleet, member)])).stdout;
  const spawned = async (name: string, count: number, ...more: string[]): Promise<string> => {
    const fleet = lab.fleet(name);
    await lab.ok('spawn', fleet, '--base', golden, '--count', String(count), ...guest, ...more, '--wait', 'console=^OK');
    return fleet;
  };

  it('restore running, stopped and paused members, in the same QEMU if there is one', async () => {
    const fleet = await spawned('back', 4, '--disk', '32MiB');
    const [first = '', second = '', third = '', fourth = ''] = [1, 2, 3, 4].map((index) => `${fleet}-00${index}`);
    const taken = await lab.ok('checkpoint', fleet, '1-3');
    expect(taken.counts).toMatchObject({ checkpointed: 3, failed: 0 });
    const before = await Promise.all([pid(first), memory(first), pid(third)]);

    for (const name of [first, second]) await reboot(name);
    await until('the second boot', async () => (await lab.console(fleet, first)).split('OK').length > 2);
    await virsh('destroy', second);
    await virsh('suspend', third);
    const { exitCode, json } = await lab.answer('reset', fleet, '--warm', '--json');
    expect(exitCode).toBe(4);
    expect(json.members.map((row: { outcome: string }) => row.outcome)).toEqual(['restored', 'restored', 'restored', 'failed']);
    expect(json.members[3].error).toMatchObject({
      message: 'it has no checkpoint',
      hint: expect.stringContaining(`cowherd checkpoint ${fleet} 4`),
    });
    expect(await Promise.all([pid(first), memory(first), pid(third)])).toEqual(before);
    const rows = (await lab.ok('status', fleet)).members;
    expect(rows.map((row: any) => [row.state, row.checkpointAt !== null, row.driftBytes < 2 ** 20])).toEqual([
      ['running', true, true],
      ['running', true, true],
      ['running', true, true],
      ['running', false, true],
    ]);
    // The guest writes its first sectors at each boot: nothing of the second boot is left.
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    const boots = await Promise.all([first, second, fourth].map(async (name) => (await lab.marker(fleet, name))?.boots));
    expect(boots).toEqual([1, 1, 1]);
    expect((await lab.ok('verify')).findings).toEqual([]);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('are counted, replaced, and removed with their space', async () => {
    const fleet = await spawned('space', 1);
    const name = `${fleet}-001`;
    const clean = await lab.ok('report', fleet);
    await lab.ok('checkpoint', fleet);
    const first = await frozen(fleet, 1);
    const report = await lab.ok('report', fleet);
    expect(report.overlays.checkpointBytes).toBeGreaterThan(100_000);
    expect(report.overlays.allocatedBytes - clean.overlays.allocatedBytes).toBe(report.overlays.checkpointBytes);
    expect(report.overlays.driftBytes).toBe(clean.overlays.driftBytes);
    await lab.ok('reset', fleet, '--warm');
    await lab.ok('checkpoint', fleet);
    const second = await frozen(fleet, 1);
    expect(second.tag).not.toBe(first.tag);
    expect([(await tags(fleet, name)).includes(first.tag), (await tags(fleet, name)).includes(second.tag)]).toEqual([false, true]);

    // Verbs that would lose it refuse; a cold reset is explicit.
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    const compacted = await lab.answer('compact', fleet, '1');
    expect(compacted.json.members[0].error.hint).toContain(`cowherd checkpoint ${fleet} 1 --drop`);
    const rebased = await lab.answer('rebase', fleet, '--base', await lab.golden('other.qcow2', { filledMiB: 1 }), '--keep-drift');
    expect([rebased.exitCode, rebased.json.members[0].error.hint]).toEqual([
      4,
      expect.stringContaining(`cowherd checkpoint ${fleet} 1 --drop`),
    ]);
    await lab.ok('rebase', fleet, '--base', 'golden', '--keep-drift').catch(() => undefined);
    await lab.ok('start', fleet, '--wait', 'running');
    await lab.ok('reset', fleet, '--warm');
    expect((await lab.ok('checkpoint', fleet, '--drop')).counts).toMatchObject({ dropped: 1 });
    expect((await tags(fleet, name)).trim()).toBe('');
    expect((await lab.ok('report', fleet)).overlays).toMatchObject({ checkpointBytes: 0 });
    expect((await stat(lab.overlay(fleet, name))).blocks * 512 - clean.overlays.allocatedBytes).toBeLessThan(first.allocatedBytes / 2);

    await lab.ok('checkpoint', fleet);
    await lab.ok('reset', fleet, '--wait', 'console=^OK');
    expect((await lab.answer('reset', fleet, '--warm')).json.members[0].error.message).toBe('it has no checkpoint');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('are not loaded if memory and disk do not match', async () => {
    const fleet = await spawned('tamper', 5);
    const names = [1, 2, 3, 4, 5].map((index) => `${fleet}-00${index}`) as [string, string, string, string, string];
    await lab.ok('checkpoint', fleet);
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
    const [changed, swapped, bare] = names.map((name) => lab.overlay(fleet, name)) as [string, string, string, string];
    await writeFile(lab.path('fleets', fleet, 'checkpoints', `${names[3]}.json`), '{');
    // And a byte of the memory, which starts with QEMU's magic.
    const remembered = lab.overlay(fleet, names[4]);
    const bytes = await readFile(remembered);
    const memory = bytes.indexOf('QEVM');
    expect(memory).toBeGreaterThan(0);
    bytes.writeUInt8((bytes[memory + 70_000] ?? 0) ^ 1, memory + 70_000);
    await writeFile(remembered, bytes);
    // One changed byte of the snapshot; the disk of another member; a missing snapshot.
    const map = JSON.parse((await execa('qemu-img', ['map', '--output=json', changed])).stdout) as Array<{
      depth: number;
      data: boolean;
      offset: number;
    }>;
    const place = map.find(({ data, depth }) => data && depth === 0)?.offset ?? 0;
    const handle = await open(changed, 'r+');
    await handle.write(Buffer.from([0xee]), 0, 1, place + 100);
    await handle.close();
    await execa('cp', [bare, swapped]);
    await execa('qemu-img', ['snapshot', '-d', (await frozen(fleet, 3)).tag, bare]);

    const { exitCode, json } = await lab.answer('reset', fleet, '--warm');
    expect(exitCode).toBe(4);
    expect(json.members.map((row: any) => [row.outcome, row.error?.code])).toEqual([
      ['failed', 'IMAGE_CHANGED'],
      ['failed', 'IMAGE_CHANGED'],
      ['failed', 'REFUSED'],
      ['failed', 'REFUSED'],
      ['failed', 'IMAGE_CHANGED'],
    ]);
    expect(json.members[2].error.message).toContain('does not hold the checkpoint');
    expect(json.members[3].error.message).toContain('is damaged');
    for (const row of json.members) expect(row.error.hint).toContain(`cowherd reset ${fleet} ${row.index}`);
    expect((await lab.ok('status', fleet)).counts.shutOff).toBe(5);
    // Follow the hints.
    await lab.ok('reset', fleet, '--start', 'all', '--wait', 'console=^OK');
    await lab.ok('teardown', fleet, '--yes');
  });

  it('restore UEFI variables and a TPM with the machine', async () => {
    const fleet = lab.fleet('uefi');
    const machine = ['--memory', '64MiB', '--network', 'none', '--firmware', 'uefi', '--tpm'];
    await lab.ok('spawn', fleet, '--base', golden, '--count', '2', ...machine);
    const variables = lab.path('fleets', fleet, 'nvram', `${fleet}-002.fd`);
    const secrets = `/var/lib/libvirt/swtpm/${(await virsh('domuuid', `${fleet}-002`)).trim()}/tpm2/tpm2-00.permall`;
    // The firmware writes to both while it starts.
    await until('the firmware to be done', async () => {
      const written = await Promise.all([variables, secrets].map(async (path) => (await stat(path)).mtimeMs));
      return Date.now() - Math.max(...written) > 3_000;
    });
    await lab.ok('checkpoint', fleet);
    await virsh('destroy', `${fleet}-002`);
    const [before, sealed] = await Promise.all([readFile(variables), readFile(secrets)]);
    // The variables have changed since the checkpoint; without its state the TPM would be a new one with other keys.
    await rm(secrets);
    const handle = await open(variables, 'r+');
    await handle.write(Buffer.alloc(512, 0xa5), 0, 512, 256 * 1024);
    await handle.close();
    expect((await readFile(variables)).equals(before)).toBe(false);
    const { members } = await lab.ok('reset', fleet, '--warm');
    expect(members.map((row: any) => [row.outcome, row.state])).toEqual([
      ['restored', 'running'],
      ['restored', 'running'],
    ]);
    await until('the variables to be as they were', async () => (await readFile(variables)).equals(before));
    await until('the TPM to be the one that it was', async () => (await readFile(secrets)).equals(sealed));
    await lab.ok('teardown', fleet, '--yes');
  });

  it('of another machine fall back to a cold reset with a note', async () => {
    const fleet = await spawned('older', 2);
    await lab.ok('checkpoint', fleet);
    const path = lab.path('fleets', fleet, 'checkpoints', `${fleet}-001.json`);
    const record = await frozen(fleet, 1);
    await execa('tee', [path], { input: JSON.stringify({ ...record, versions: { ...record.versions, qemu: '6.2.0' } }), stdout: 'ignore' });
    const dry = await lab.ok('reset', fleet, '--warm', '--dry-run');
    expect([dry.plan.members.length, dry.notes[0]]).toEqual([1, expect.stringContaining('taken by QEMU 6.2.0')]);
    const { members, notes } = await lab.ok('reset', fleet, '--warm', '--wait', 'console=^OK');
    expect(members.map((row: any) => row.outcome)).toEqual(['reset', 'restored']);
    expect(notes[0]).toMatch(/-001 reset cold: its checkpoint was taken by QEMU 6\.2\.0/);
    expect((await lab.ok('status', fleet)).members.map((row: any) => row.checkpointAt !== null)).toEqual([false, true]);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('are refused for stopped members, and if they could not be complete', async () => {
    const fleet = await spawned('refused', 2);
    await virsh('destroy', `${fleet}-001`);
    await virsh('suspend', `${fleet}-002`);
    const { exitCode, json } = await lab.answer('checkpoint', fleet);
    expect([exitCode, ...json.members.map((row: any) => row.error.message)]).toEqual([
      4,
      expect.stringContaining('it is stopped'),
      expect.stringContaining('it is paused'),
    ]);
    for (const words of [
      ['--warm', '--start', 'none'],
      ['--warm', '--keep-instance'],
      ['--hook', 'true'],
    ])
      expect((await lab.answer('reset', fleet, ...words)).exitCode).toBe(2);
    await lab.ok('teardown', fleet, '--yes');
  });

  longIt('restore a Linux guest with its disk and the correct time, ready to use', async () => {
    const fleet = lab.fleet('linux');
    const linux = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'nocloud'];
    await lab.ok('spawn', fleet, ...linux, '--count', '2', '--wait', 'agent');
    const run = async (command: string): Promise<string[]> =>
      (await lab.ok('exec', fleet, '--', command)).members.map((row: { stdout: string }) => row.stdout.trim());
    await run('echo before > /root/before; sync');
    await lab.ok('checkpoint', fleet, '--wait', 'agent');
    for (let round = 0; round < 2; round++) {
      await run(
        `echo after > /root/after; rm /root/before; dd if=/dev/urandom of=/root/much bs=1M count=8 2>/dev/null; sync; date -s @1000`,
      );
      const { members } = await lab.ok('reset', fleet, '--warm', '--wait', 'agent', '--hook', 'echo hooked > /root/hook');
      expect(members.map((row: any) => row.outcome)).toEqual(['restored', 'restored']);
      const told = await run('ls /root; cat /root/hook; date +%s; dmesg | grep -ci "ext4-fs error"; true');
      for (const text of told) {
        const [...lines] = text.split('\n');
        expect(lines.slice(0, -2)).toEqual(['before', 'hook', 'hooked']);
        expect(Math.abs(Number(lines.at(-2)) - Date.now() / 1000)).toBeLessThan(10);
        expect(lines.at(-1)).toBe('0');
      }
    }
    await lab.ok('teardown', fleet, '--yes', '--with-base');
  });
});
