import { chmod, open, readdir, readFile, stat, utimes } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { domains, Lab, TestNetwork, until, virsh } from './lab.js';

/** Instant clones: real Linux guests that go on from the memory of one that runs. */
describe('instant clones', () => {
  const lab = new Lab();
  const golden = lab.fleet('gold');
  const fleet = lab.fleet('clones');
  const goldenName = `${golden}-001`;
  let network: TestNetwork;

  beforeAll(async () => {
    network = await TestNetwork.open(lab.id, 50, 99);
    const tiny = ['--base', inject('tinyImage'), '--memory', '128MiB', '--seed', 'smbios', '--network', `network=${network.name}`];
    await lab.ok('spawn', golden, ...tiny, '--count', '1', '--wait', 'agent,address');
    await run(golden, 'echo of-the-golden > /run/in-memory; echo of-the-golden > /root/on-disk');
    // dropbear makes one at the first login only.
    await run(golden, 'dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key');
  }, 120_000);

  afterAll(async () => {
    await lab.close();
    await network.close();
  });

  /** @param where a fleet, and which member of it */
  const run = async (where: string, command: string): Promise<string[]> => {
    const { members } = await lab.ok('exec', ...where.split(' '), '--via', 'agent', '--json', '--', '/bin/sh', '-c', command);
    return members.map((member: { stdout: string }) => member.stdout.trim());
  };
  const identity =
    'hostname; cat /etc/machine-id /sys/class/net/eth0/address; dropbearkey -y -f /etc/dropbear/*ed25519* | grep ^ssh | cut -d " " -f 2';
  const address = "ip -4 addr show eth0 | sed -n 's/.*inet \\([0-9.]*\\).*/\\1/p'";

  it('makes members of a running VM that are themselves, and lets it go on', async () => {
    const uptime = async (): Promise<number> => Number((await run(golden, 'cut -d . -f 1 /proc/uptime'))[0]);
    const before = await uptime();
    const outcome = await lab.ok('spawn', fleet, '--from-running', goldenName, '--count', '4', '--wait', 'address', '--json');
    expect(outcome.counts).toMatchObject({ created: 4, started: 4, failed: 0 });
    expect(await uptime()).toBeGreaterThanOrEqual(before);

    // What the golden VM had in memory is there: nobody has booted.
    expect(await run(fleet, 'cat /run/in-memory')).toEqual(Array(4).fill('of-the-golden'));
    const all = [...(await run(golden, identity)), ...(await run(fleet, identity))].map((text) => text.split('\n'));
    for (const [position, what] of ['host name', 'machine-id', 'MAC', 'host key'].entries()) {
      const values = all.map((words) => words[position] ?? '');
      expect(new Set(values), what).toHaveLength(5);
      expect(values, what).not.toContain('');
    }
    expect(all.slice(1).map((words) => words[2])).toEqual(outcome.members.map((member: { mac: string }) => member.mac));
    const addresses = [...(await run(golden, address)), ...(await run(fleet, address))];
    expect(new Set(addresses.filter((one) => one !== ''))).toHaveLength(5);
    const known = await readFile(lab.path('fleets', fleet, 'ssh', `${fleet}-002.known_hosts`), 'utf8');
    expect(known).toContain(all[2]?.[3]);

    const again = await lab.ok('spawn', fleet, '--from-running', goldenName, '--count', '4', '--json');
    expect(again.counts).toMatchObject({ unchanged: 4, created: 0, started: 0 });

    const [listed] = (await lab.ok('base', 'list', '--json')).bases.filter((base: { memory: unknown }) => base.memory !== null);
    expect(listed).toMatchObject({ memory: { domain: goldenName, memoryMiB: 128 }, fleets: [fleet], problems: [] });
  }, 120_000);

  it('resets a member to the moment of the freeze, and no other', async () => {
    await run(`${fleet} 2`, 'echo mine > /root/on-disk; echo mine > /run/in-memory');
    await run(`${fleet} 3`, 'echo mine > /root/on-disk');
    await lab.ok('reset', fleet, '2', '--json');
    expect(await run(fleet, 'cat /root/on-disk /run/in-memory; hostname')).toEqual([
      `of-the-golden\nof-the-golden\n${fleet}-001`,
      `of-the-golden\nof-the-golden\n${fleet}-002`,
      `mine\nof-the-golden\n${fleet}-003`,
      `of-the-golden\nof-the-golden\n${fleet}-004`,
    ]);
  }, 60_000);

  it('makes anew what a spawn that was killed left half done', async () => {
    const grown = lab.begin('spawn', fleet, '--count', '5');
    const half = `${fleet}-005`;
    // Up with the golden VM's identity, and not yet itself.
    await until(
      'the clone to be up',
      async () => (await domains()).includes(half) && (await virsh('domstate', half)).trim() !== 'shut off',
    );
    grown.kill('SIGKILL');
    await grown;
    await lab.unlocked();
    expect((await lab.answer('start', fleet, '5', '--json')).exitCode).toBe(3);
    await lab.ok('resume', fleet, '--json');
    expect((await run(`${fleet} 5`, 'hostname'))[0]).toBe(half);
    const left = await readdir(lab.path('fleets', fleet));
    expect(left.filter((name) => /operation|freeze|^\.cowherd/.test(name))).toEqual([]);
  }, 60_000);

  it('refuses a memory that was changed, with nothing changed', async () => {
    const [base] = (await lab.ok('base', 'list', '--json')).bases.filter((one: { memory: unknown }) => one.memory !== null);
    const path = base.path.replace(/qcow2$/, 'memory');
    const { atime, mtime, size, mode } = await stat(path);
    expect(mode & 0o777).toBe(0o400);
    const before = await lab.world(fleet);
    await chmod(path, 0o600);
    const handle = await open(path, 'r+');
    const original = (await handle.read(Buffer.alloc(1), 0, 1, size - 1)).buffer;
    await handle.write(Buffer.from([(original[0] ?? 0) ^ 1]), 0, 1, size - 1);
    const refused = await lab.answer('reset', fleet, '--json');
    expect(refused).toMatchObject({ exitCode: 7, json: { error: { code: 'BASE_CHANGED' } } });
    expect(await lab.world(fleet)).toEqual(before);
    // With its time as it was, only its content tells.
    await utimes(path, atime, mtime);
    expect(await lab.answer('base', 'verify', base.ref, '--json')).toMatchObject({
      exitCode: 7,
      json: { error: { code: 'BASE_CHANGED' } },
    });
    await handle.write(original, 0, 1, size - 1);
    await handle.close();
  }, 60_000);

  it('is taken down with its memory, and the golden VM stays', async () => {
    await lab.ok('teardown', fleet, '--with-base', '--yes', '--json');
    expect((await domains()).filter((name) => name.startsWith(fleet))).toEqual([]);
    const files = await readdir(lab.path('bases'), { recursive: true });
    expect(files.filter((name) => name.endsWith('.memory') || name.includes(goldenName))).toEqual([]);
    expect((await virsh('domstate', goldenName)).trim()).toBe('running');
  }, 60_000);
});
