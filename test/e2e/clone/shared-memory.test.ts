import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, open, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import { Lab, virsh } from '../../support/lab.js';
import { isLong, longIt } from '../../support/long.js';

/** Clones that map the memory of their source VM: real Linux guests. */
describe('clones with shared memory', () => {
  const lab = Lab.use(async () => {
    await lab.ok('spawn', golden, '--base', inject('tinyImage'), ...machine, '--count', '1', '--wait', 'agent');
    await run(golden, 'echo of-the-golden > /run/in-memory; yes golden | dd of=/dev/vdb bs=1M iflag=fullblock count=16 2>/dev/null; sync');
    await lab.ok('spawn', fleet, '--from-running', `${golden}-001`, '--count', '2');
    base = await warmBase();
    ram = base.path.replace(/qcow2$/, 'ram');
    sealed = await sha256(ram);
  });
  const machine = ['--memory', '128MiB', '--seed', 'smbios', '--network', 'none', '--disk', '16MiB,name=data'];
  const golden = lab.fleet('gold');
  const fleet = lab.fleet('alike');
  const [one, two] = [`${fleet}-001`, `${fleet}-002`];
  let base: { path: string; ref: string; memory: { shared: boolean; reason: string | null } };
  let ram: string;
  let sealed: string;

  /** @param where a fleet, and which member of it */
  const run = async (where: string, command: string): Promise<string[]> => {
    const { members } = await lab.ok('exec', ...where.split(' '), '--via', 'agent', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
  const warmBase = async (name = golden) => {
    const { bases } = await lab.ok('base', 'list');
    return bases.find((one: { name: string; memory: unknown }) => one.name.startsWith(name) && one.memory !== null);
  };
  const mapped = async (member: string): Promise<boolean> => (await virsh('dumpxml', member)).includes(`mem-path=${ram}`);

  it('map it from a file that only QEMU can read, as long as they have not booted', async () => {
    expect(base.memory).toMatchObject({ shared: true, reason: null, memoryMiB: 128 });
    const { size, mode } = await stat(ram);
    expect(size).toBe(128 * 2 ** 20);
    expect(mode & 0o007).toBe(0);
    expect((await stat(ram.replace(/ram$/, 'memory'))).size).toBeLessThan(8 * 2 ** 20);
    expect(await Promise.all([one, two].map(mapped))).toEqual([true, true]);
    expect(await run(fleet, 'hostname; cat /run/in-memory')).toEqual([`${one}\nof-the-golden`, `${two}\nof-the-golden`]);
    expect((await lab.ok('verify', fleet)).findings).toEqual([]);
    const { memory, members } = await lab.ok('status', fleet, '--memory');
    expect(memory.shared).toEqual({ clones: 2, sharedBytes: expect.any(Number), copiesBytes: 2 * memory.shared.sharedBytes });
    // Its own pages are fewer than those of the guest's memory.
    for (const member of members) expect(member.memory.privateBytes).toBeLessThan(100 * 2 ** 20);
    expect((await lab.ok('report', fleet)).sharedMemory).toEqual(memory.shared);
    const refused = await lab.answer('spawn', fleet, '--count', '4000');
    expect(refused.json.error.message).toMatch(
      /^3998 clones are expected to need .* each \(as the running ones do, and a quarter more\), /,
    );

    await lab.ok('stop', fleet, '2', '--force');
    await lab.ok('start', fleet, '2', '--wait', 'agent');
    expect(await mapped(two)).toBe(false);
    expect(await run(`${fleet} 2`, 'hostname; ls /run/in-memory 2>&1 | wc -l; test -e /run/in-memory || echo booted')).toEqual([
      `${two}\n1\nbooted`,
    ]);
    await lab.ok('reset', fleet, '2');
    expect(await mapped(two)).toBe(true);
  });

  it('overwrite all their memory and disk without a change for each other, the source VM or the file', async () => {
    await run(`${fleet} 1`, 'mkdir -p /fill && mount -t tmpfs -o size=42m none /fill');
    const untouched = 'cat /run/in-memory; md5sum /dev/vdb | cut -c 1-32';
    const before = [...(await run(`${fleet} 2`, untouched)), ...(await run(golden, untouched))];
    for (let round = 1; round <= (isLong ? 20 : 1); round++) {
      const fill = `yes ${round} | dd of=/fill/all bs=1M iflag=fullblock count=40; yes ${round} | dd of=/dev/vdb bs=1M iflag=fullblock count=16; sync`;
      await run(`${fleet} 1`, `(${fill}) 2>/dev/null; md5sum </fill/all`);
      expect([...(await run(`${fleet} 2`, untouched)), ...(await run(golden, untouched))]).toEqual(before);
      expect(await sha256(ram)).toBe(sealed);
    }
    expect(await run(`${fleet} 1`, untouched)).not.toEqual([before[0]]);
    await lab.ok('reset', fleet, '1');
    expect(await run(`${fleet} 1`, untouched)).toEqual([before[0]]);
  });

  longIt('survive a reboot by the guest and a reset of the machine', async () => {
    await run(`${fleet} 1`, '(sleep 1; reboot -f) >/dev/null 2>&1 &');
    await virsh('reset', two);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await lab.ok('start', fleet, '--wait', 'agent');
    expect(await run(fleet, 'hostname; test -e /run/in-memory || echo booted')).toEqual([`${one}\nbooted`, `${two}\nbooted`]);
    expect(await Promise.all([one, two].map(mapped))).toEqual([true, true]);
    expect(await sha256(ram)).toBe(sealed);
    await lab.ok('reset', fleet);
  });

  it('are not started from a changed, truncated, swapped or missing file', async () => {
    const original = lab.path('.original');
    const { atime, mtime, mode } = await stat(ram);
    await rename(ram, original);
    const before = await lab.world(fleet);
    const flipped = async (): Promise<void> => {
      await copyFile(original, ram);
      const handle = await open(ram, 'r+');
      await handle.write(Buffer.from('x'), 0, 1, 0x10_0000);
      await handle.close();
    };
    const damages: [string, () => Promise<unknown>][] = [
      ['changed', flipped],
      ['truncated', () => copyFile(original, ram).then(() => truncate(ram, 4096))],
      ['another file with the same times', () => copyFile(original, ram).then(() => utimes(ram, atime, mtime))],
      ['missing', () => rm(ram)],
    ];
    for (const [what, damage] of damages) {
      await damage();
      for (const words of [
        ['reset', fleet],
        ['spawn', fleet, '--count', '3'],
      ] as const)
        expect.soft(await lab.answer(...words), what).toMatchObject({ exitCode: 7, json: { error: { code: 'BASE_CHANGED' } } });
      expect.soft(await lab.answer('base', 'verify', base.ref), what).toMatchObject({ exitCode: 7 });
      expect.soft(JSON.stringify((await lab.answer('verify')).json.findings), what).toContain(ram);
      expect.soft(await lab.world(fleet), what).toEqual(before);
    }
    await rename(original, ram);
    expect((await stat(ram)).mode).toBe(mode);
    await lab.ok('base', 'verify', base.ref);
    // A copy with the same content is sealed again, and only QEMU can read it.
    await copyFile(ram, `${ram}.copy`);
    await rename(`${ram}.copy`, ram);
    await chmod(ram, 0o644);
    expect((await lab.answer('reset', fleet)).exitCode).toBe(7);
    expect((await lab.ok('base', 'relocate')).resealed).toEqual([base.ref]);
    expect((await stat(ram)).mode).toBe(mode);
    await lab.ok('reset', fleet);
    await chmod(ram, (mode & 0o777) | 0o004);
    expect((await lab.answer('verify')).json.findings).toMatchObject([{ kind: 'exposed', what: ram }]);
    await lab.ok('verify', '--fix');
    expect((await stat(ram)).mode).toBe(mode);
  });

  it('get a copy of the whole memory if QEMU may not open the file, and a note says why', async () => {
    const { mode } = await stat(ram);
    await chmod(ram, 0o400);
    const { notes, counts } = await lab.ok('reset', fleet);
    await chmod(ram, mode & 0o777);
    expect(counts).toMatchObject({ reset: 2, started: 2, failed: 0 });
    expect(notes).toEqual([
      expect.stringMatching(/^each clone has its own copy of the memory, since QEMU cannot map .*: Permission denied$/),
    ]);
    expect(await Promise.all([one, two].map(mapped))).toEqual([false, false]);
    expect(await run(fleet, 'hostname; cat /run/in-memory')).toEqual([`${one}\nof-the-golden`, `${two}\nof-the-golden`]);
    await lab.ok('reset', fleet);
  });

  longIt('can be source VMs themselves', async () => {
    await run(`${fleet} 2`, 'echo of-the-clone > /run/in-memory; date > /root/moment; sync');
    const second = lab.fleet('second');
    await lab.ok('spawn', second, '--from-running', two, '--count', '2');
    expect(await run(second, 'hostname; cat /run/in-memory')).toEqual([1, 2].map((index) => `${second}-00${index}\nof-the-clone`));
    expect(await warmBase(two)).toMatchObject({ memory: { shared: true } });
    const args = (await virsh('dumpxml', `${second}-001`)).match(/mem-path=[^,]*/g);
    expect(args).toEqual([expect.stringContaining(two)]);
    // The first one continues with its own memory.
    expect(await run(`${fleet} 2`, 'cat /run/in-memory')).toEqual(['of-the-clone']);
    await lab.ok('teardown', second, '--with-base', '--yes');
  });

  longIt('share the memory of a guest with a balloon only if QEMU opens the file read-only', async () => {
    const balloon = lab.fleet('balloon');
    const template = join(lab.scratch, 'balloon.xml.hbs');
    const text = await readFile(new URL('../../../templates/domain.xml.hbs', import.meta.url), 'utf8');
    await writeFile(template, text.replace('<memballoon model="none"/>', '<memballoon model="virtio"/>'));
    await lab.ok('spawn', balloon, '--base', inject('tinyImage'), ...machine, '--template', template, '--count', '1', '--wait', 'agent');
    const clones = lab.fleet('inflated');
    const { notes } = await lab.ok('spawn', clones, '--from-running', `${balloon}-001`, '--count', '1');
    const { memory } = await warmBase(balloon);
    const [, major, minor] = /hypervisor: QEMU (\d+)\.(\d+)/.exec(await virsh('version')) ?? [];
    if (Number(major) + Number(minor) / 10 < 8.2) {
      expect(memory).toMatchObject({ shared: false, reason: expect.stringContaining('memory balloon') });
      expect(notes.join()).toContain(`each clone has its own copy of the memory: ${memory.reason}`);
    } else {
      expect(memory).toMatchObject({ shared: true });
      const { mode } = await stat((await warmBase(balloon)).path.replace(/qcow2$/, 'ram'));
      expect(mode & 0o222).toBe(0);
      await virsh('setmem', `${clones}-001`, '80MiB', '--live');
    }
    await lab.ok('base', 'verify', (await warmBase(balloon)).ref);
    await lab.ok('teardown', clones, '--with-base', '--yes');
  });

  it('are removed with it', async () => {
    await lab.ok('teardown', fleet, '--with-base', '--yes');
    const left = (await lab.ok('base', 'list')).bases.map((one: { name: string }) => one.name);
    expect(left).toEqual(['tiny']);
    await expect(stat(ram)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
