import { chmod, copyFile, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { CloneLab } from '../../support/clone-lab.js';
import { domains, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';

/** Instant clones: real Linux guests that resume from the memory of a running VM. */
describe('instant clones', () => {
  const { lab, golden, goldenName, run } = CloneLab.use();
  const fleet = lab.fleet('clones');
  const identity =
    'hostname; cat /etc/machine-id /sys/class/net/eth0/address; dropbearkey -y -f /etc/dropbear/*ed25519* | grep ^ssh | cut -d " " -f 2';
  const address = "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'";

  it('creates members with their own identity from a running VM, and resumes the VM', async () => {
    // All refusals happen before the freeze.
    const refusal = async (...words: string[]) => (await lab.answer('spawn', fleet, '--from-running', goldenName, ...words)).exitCode;
    expect(await refusal('--count', '5000')).toBe(3);
    expect(await refusal('--count', '1', '--memory', '64MiB')).toBe(2);
    await lab.defineForeign(`${fleet}-001`);
    expect(await refusal('--count', '1')).toBe(7);
    await virsh('undefine', `${fleet}-001`);
    // A static address, which every clone would share.
    await run(golden, 'kill $(cat /run/udhcpc.eth0.pid)');
    const [own = ''] = await run(golden, address);
    expect((await lab.answer('spawn', fleet, '--from-running', goldenName, '--count', '1', '--dry-run')).json.error).toMatchObject({
      code: 'NOT_SUPPORTED',
      message: expect.stringContaining(own),
    });
    await run(golden, 'netup eth0 </dev/null >/dev/null 2>&1 &');
    const planned = await lab.ok('spawn', fleet, '--from-running', goldenName, '--count', '2', '--dry-run');
    expect(planned.plan.members).toMatchObject([{ steps: ['overlay', 'define', 'restore'] }, { name: `${fleet}-002` }]);
    expect((await lab.answer('spawn', fleet, '--from-running', 'cwt-nobody', '--count', '1', '--dry-run')).exitCode).toBe(5);
    expect(await readdir(lab.path('bases'))).not.toContain(goldenName);
    expect(await readdir(lab.path('fleets'))).not.toContain(fleet);

    // The clock is a day behind, and settings match a card by its MAC; on the disk, for a clone that boots.
    await run(
      golden,
      'date -s "@$(($(date +%s) - 86400))"; mkdir -p /etc/network; cat /sys/class/net/eth0/address > /etc/network/card; sync',
    );
    const uptime = async (): Promise<number> => Number((await run(golden, 'cut -d . -f 1 /proc/uptime'))[0]);
    const before = await uptime();
    const copies = new Set<string>();
    const watch = setInterval(async () => {
      for (const name of await readdir(lab.path('fleets', fleet)).catch(() => [])) if (/-memory-\d+$/.test(name)) copies.add(name);
    }, 50);
    // The disk keeps an odd length if its last snapshot is removed.
    await lab.ok('checkpoint', golden);
    await lab.ok('checkpoint', golden, '--drop');
    const words = ['spawn', fleet, '--from-running', goldenName, '--count', '3', '--boot-concurrency', '2', '--wait', 'address'];
    const outcome = await lab.ok(...words).finally(() => clearInterval(watch));
    expect(outcome.counts).toMatchObject({ created: 3, started: 3, failed: 0 });
    expect(outcome.notes.join()).not.toContain('booted');
    expect.soft(copies, 'copies of the memory').toHaveLength(2);
    expect(await uptime()).toBeGreaterThanOrEqual(before);
    expect(Math.abs(Number((await run(golden, 'date +%s'))[0]) - Date.now() / 1000), 'its clock').toBeLessThan(60);
    expect(await run(fleet, 'cat /etc/network/card')).toEqual(outcome.members.map((member: { mac: string }) => member.mac));

    // The memory of the source VM is there: no clone has booted.
    expect(await run(fleet, 'cat /run/in-memory')).toEqual(Array(3).fill('of-the-golden'));
    expect(await run(fleet, 'head -c 13 /dev/vdb; echo "$(hostname)" > /dev/vdb')).toEqual(Array(3).fill('of-the-golden'));
    expect(await run(golden, 'head -c 13 /dev/vdb')).toEqual(['of-the-golden']);
    const all = [...(await run(golden, identity)), ...(await run(fleet, identity))].map((text) => text.split('\n'));
    for (const [position, what] of ['host name', 'machine-id', 'MAC', 'host key'].entries()) {
      const values = all.map((words) => words[position] ?? '');
      expect.soft(new Set(values), what).toHaveLength(4);
      expect(values, what).not.toContain('');
    }
    expect(all.slice(1).map((words) => words[2])).toEqual(outcome.members.map((member: { mac: string }) => member.mac));
    const addresses = [...(await run(golden, address)), ...(await run(fleet, address))];
    expect(new Set(addresses.filter((one) => one !== ''))).toHaveLength(4);
    const known = await readFile(lab.path('fleets', fleet, 'ssh', `${fleet}-002.known_hosts`), 'utf8');
    expect(known).toContain(all[2]?.[3]);

    // They keep their machine type and their source VM.
    for (const words of [
      ['--memory', '256MiB'],
      ['--network', 'none'],
      ['--from-running', `${fleet}-001`],
    ])
      expect((await lab.answer('spawn', fleet, '--count', '4', ...words)).json.error).toMatchObject({ code: 'BAD_USAGE' });
    const again = await lab.ok('spawn', fleet, '--from-running', goldenName, '--count', '3', '--json');
    expect(again.counts).toMatchObject({ unchanged: 3, created: 0, started: 0 });

    const [listed] = (await lab.ok('base', 'list', '--json')).bases.filter((base: { memory: unknown }) => base.memory !== null);
    expect(listed).toMatchObject({ memory: { domain: goldenName, memoryMiB: 128 }, fleets: [fleet], problems: [] });
  });

  it('resets only the given member to the moment of the freeze', async () => {
    await run(`${fleet} 2`, 'echo mine > /root/on-disk; echo mine > /run/in-memory');
    await run(`${fleet} 3`, 'echo mine > /root/on-disk');
    const hooked = await lab.answer('reset', fleet, '2', '--warm', '--hook', 'hostname');
    expect(hooked).toMatchObject({ exitCode: 2, json: { error: { hint: expect.stringContaining(`cowherd exec ${fleet} -- `) } } });
    // Without a checkpoint of its own, it returns to the memory of the freeze, also if it was off.
    await virsh('destroy', `${fleet}-002`);
    await lab.ok('reset', fleet, '2', '--warm');
    expect(await run(fleet, 'cat /root/on-disk /run/in-memory; hostname')).toEqual([
      `of-the-golden\nof-the-golden\n${fleet}-001`,
      `of-the-golden\nof-the-golden\n${fleet}-002`,
      `mine\nof-the-golden\n${fleet}-003`,
    ]);
    expect(await run(`${fleet} 2`, 'head -c 13 /dev/vdb')).toEqual(['of-the-golden']);
  });

  it('neither starts nor accepts a member without its own identity', async () => {
    // The state after a failed cleanup of a clone.
    const note = lab.path('fleets', fleet, 'unmade', `${fleet}-002`);
    expect(await readdir(lab.path('fleets', fleet, 'unmade'))).toEqual([]);
    await writeFile(note, '');
    const before = await lab.world(fleet);
    const hint = `cowherd reset ${fleet} 2 --start all`;
    const spawned = await lab.answer('spawn', fleet, '--count', '3');
    expect(spawned).toMatchObject({ exitCode: 4, json: { counts: { unchanged: 2, failed: 1 } } });
    expect(JSON.stringify(spawned.json)).toContain(hint);
    expect((await lab.answer('verify', fleet)).json.findings).toMatchObject([{ kind: 'mismatch', hint: expect.stringContaining(hint) }]);
    await virsh('suspend', `${fleet}-002`);
    expect((await lab.answer('start', fleet, '2')).exitCode).toBe(4);
    await virsh('destroy', `${fleet}-002`);
    expect((await lab.answer('start', fleet, '2')).exitCode).toBe(4);
    expect((await lab.answer('spawn', fleet, '--count', '3')).exitCode).toBe(4);
    expect(await lab.world(fleet)).toEqual({ ...before, members: expect.anything() });
    await lab.ok('reset', fleet, '2', '--start', 'all');
    expect(await run(`${fleet} 2`, 'hostname')).toEqual([`${fleet}-002`]);
    await expect(readFile(note)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('recreates members that a killed spawn left incomplete', async () => {
    const half = `${fleet}-004`;
    const links = async () => (await virsh('domif-getlink', half, (await virsh('domiflist', half)).match(/\S{17}/)?.[0] ?? '')).trim();
    // Running with the source VM's identity.
    expect(await lab.faulty({ KILL_AT: '1', KILL_ON: '^virsh resume', KILL_LATE: '1' }, 'spawn', fleet, '--count', '4')).toMatchObject({
      signal: 'SIGKILL',
    });
    expect((await virsh('domstate', half)).trim()).not.toBe('shut off');
    expect.soft(await links()).toMatch(/down$/);
    expect((await lab.answer('start', fleet, '4', '--json')).exitCode).toBe(3);
    await lab.ok('resume', fleet, '--json');
    expect((await run(`${fleet} 4`, 'hostname'))[0]).toBe(half);
    expect(await links()).toMatch(/up$/);

    // A reset killed while it clones: the fresh disk is not booted, and resume completes it.
    expect(await lab.faulty({ KILL_AT: '1', KILL_ON: '^virsh restore' }, 'reset', fleet, '4')).toMatchObject({ signal: 'SIGKILL' });
    expect((await virsh('domstate', half)).trim()).toBe('shut off');
    await lab.ok('resume', fleet);
    expect(await run(`${fleet} 4`, 'hostname; cat /run/in-memory')).toEqual([`${half}\nof-the-golden`]);
    const left = await readdir(lab.path('fleets', fleet));
    expect(left.filter((name) => /operation|freeze|^\.cowherd/.test(name))).toEqual([]);
  });

  it('refuses a changed memory, and changes nothing', async () => {
    const [base] = (await lab.ok('base', 'list', '--json')).bases.filter((one: { memory: unknown }) => one.memory !== null);
    const path = base.path.replace(/qcow2$/, 'memory');
    const { atime, mtime, size, mode } = await stat(path);
    expect.soft(mode & 0o777).toBe(0o400);
    const before = await lab.world(fleet);
    await chmod(path, 0o600);
    const handle = await open(path, 'r+');
    const original = (await handle.read(Buffer.alloc(1), 0, 1, size - 1)).buffer;
    await handle.write(Buffer.from([(original[0] ?? 0) ^ 1]), 0, 1, size - 1);
    const refused = await lab.answer('reset', fleet, '--json');
    expect.soft(refused).toMatchObject({ exitCode: 7, json: { error: { code: 'BASE_CHANGED' } } });
    expect.soft(await lab.world(fleet)).toEqual(before);
    // With the old mtime, only the content differs.
    await utimes(path, atime, mtime);
    expect(await lab.answer('base', 'verify', base.ref, '--json')).toMatchObject({
      exitCode: 7,
      json: { error: { code: 'BASE_CHANGED' } },
    });
    await handle.write(original, 0, 1, size - 1);
    await handle.close();

    // A copy is another file with the same content: it is resealed.
    await copyFile(path, `${path}.new`);
    await rename(`${path}.new`, path);
    expect((await lab.answer('reset', fleet)).exitCode).toBe(7);
    expect((await lab.ok('base', 'relocate')).resealed).toEqual([base.ref]);
    expect((await stat(path)).mode & 0o777).toBe(0o400);
    await lab.ok('base', 'verify', base.ref);
    expect((await lab.answer('rebase', fleet, '--base', base.ref)).json).toMatchObject({ error: { code: 'NOT_SUPPORTED' } });
  });

  longIt('boots members if the memory is from other versions, and gives them their own identity; also with a rebuilt record', async () => {
    const [base] = (await lab.ok('base', 'list')).bases.filter((one: { memory: unknown }) => one.memory !== null);
    const path = base.path.replace(/qcow2$/, 'json');
    const text = await readFile(path, 'utf8');
    const record = JSON.parse(text);
    await rm(lab.path('fleets', fleet, 'fleet.json'));
    await lab.ok('status', fleet, '--recover');
    await writeFile(path, JSON.stringify({ ...record, warm: { ...record.warm, libvirt: '1.2.3' } }));
    const { notes } = await lab.ok('reset', fleet, '3');
    await writeFile(path, text);
    expect.soft(notes.join()).toMatch(/clones were booted instead of restored: .*1\.2\.3/);
    const [booted, ...others] = [
      ...(await run(`${fleet} 3`, identity)),
      ...(await run(golden, identity)),
      ...(await run(`${fleet} 1`, identity)),
    ].map((text) => text.split('\n'));
    expect(booted?.[0]).toBe(`${fleet}-003`);
    for (const other of others) for (const [position, word] of other.entries()) expect(booted?.[position]).not.toBe(word);
    expect(await run(`${fleet} 3`, 'ls /run/in-memory; cat /root/on-disk /sys/class/net/eth0/carrier')).toEqual(['of-the-golden\n1']);
    expect(await run(`${fleet} 3`, 'cat /etc/network/card')).toEqual([booted?.[2]]);
  });

  it('removes a clone that did not get its own identity, with its disk; a source VM stays frozen if requested', async () => {
    const stuck = lab.fleet('stuck');
    // Otherwise it would use the base image of the other clones.
    await run(golden, 'date > /root/moment; sync');
    await run(golden, 'mount --bind /etc/machine-id /etc/machine-id && mount -o remount,ro,bind /etc/machine-id');
    const { exitCode, json } = await lab.answer('spawn', stuck, '--from-running', goldenName, '--keep-frozen', '--count', '1');
    expect({ exitCode, json }).toMatchObject({ exitCode: 4, json: { counts: { failed: 1 }, members: [{ error: { code: 'NOT_READY' } }] } });
    expect(json.members[0].error.message).toContain('machine-id');
    expect((await virsh('domstate', `${stuck}-001`)).trim()).toBe('shut off');
    expect.soft(await readdir(lab.path('fleets', stuck, 'overlays'))).toEqual([]);
    expect.soft((await virsh('domstate', goldenName)).trim()).toBe('shut off');
    expect((await virsh('list', '--all', '--with-managed-save', '--name')).split('\n')).toContain(goldenName);
    await virsh('start', goldenName);
    // A restored agent is connected only a moment later.
    await lab.ok('start', golden, '--wait', 'agent');
    expect(await run(golden, 'umount /etc/machine-id; cat /run/in-memory')).toEqual(['of-the-golden']);
    await lab.ok('teardown', stuck, '--with-base', '--yes');
  });

  it('is removed with its memory, and the source VM stays', async () => {
    await lab.ok('teardown', fleet, '--with-base', '--yes', '--json');
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    const files = await readdir(lab.path('bases'), { recursive: true });
    expect(files.filter((name) => /\.(memory|ram)$/.test(name) || name.includes(goldenName))).toEqual([]);
    expect((await virsh('domstate', goldenName)).trim()).toBe('running');
  });
});
