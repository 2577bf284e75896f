import { mkdir, readdir, readlink, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { bin, guest, Lab, until } from '../../support/lab.js';

/** Faults of the host, each with its hint, which is followed here exactly. */
describe('hints about the host', () => {
  let fleet: string;
  const lab = Lab.use(async () => {
    fleet = lab.fleet('host');
    await lab.ok('spawn', fleet, '--base', await lab.golden('golden.qcow2'), '--count', '2', '--no-start', ...guest);
  });

  /** Runs cowherd after shell commands, with more environment. */
  const runAfter = async (prefix: string, words: string[], env: Record<string, string> = {}) => {
    const command = `${prefix}; exec "$0" "$@"`;
    const { exitCode, stdout } = await execa('bash', ['-c', command, process.execPath, bin, ...words, '--json'], {
      env: { ...lab.env, ...env },
      reject: false,
    });
    return { exitCode, json: JSON.parse(stdout) };
  };

  /** A directory for PATH with the commands of this host, except some. */
  const pathWithout = async (...missing: string[]): Promise<string> => {
    const directory = join(lab.scratch, `without-${missing[0]}`);
    await mkdir(directory);
    for (const source of (process.env.PATH ?? '').split(':')) {
      for (const name of await readdir(source).catch(() => []))
        if (!missing.includes(name)) await symlink(join(source, name), join(directory, name)).catch(() => undefined);
    }
    return directory;
  };

  it.each([
    ['virsh', 'libvirt-clients', ['list']],
    ['qemu-img', 'qemu-utils', ['reset', 'FLEET', '1']],
    ['genisoimage', 'genisoimage', ['spawn', 'FLEET', '--seed', 'nocloud', '--no-start']],
    ['flock', 'util-linux', ['stop', 'FLEET']],
  ])('a missing %s: the package to install has it', async (tool, name, words) => {
    const verb = words.map((word) => word.replace('FLEET', fleet));
    const env = { PATH: await pathWithout(tool, ...(tool === 'genisoimage' ? ['xorriso', 'mkisofs'] : [])) };
    const { exitCode, json } = await runAfter('true', verb, env);
    const error = json.error ?? json.members.find((member: { error?: object }) => member.error !== undefined).error;
    expect([exitCode, error.code]).toEqual([expect.any(Number), 'TOOL_MISSING']);
    expect(exitCode).not.toBe(0);
    const [command] = /apt-get install [\w-]+/.exec(error.hint) ?? [];
    expect(command).toBe(`apt-get install ${name}`);
    // It is installed, so that this changes nothing; another version of it could be.
    await execa('bash', ['-c', `${command} --simulate`]);
    expect((await execa('dpkg', ['-L', name])).stdout.split('\n')).toContainEqual(expect.stringMatching(new RegExp(`/${tool}$`)));
    expect((await runAfter('true', verb)).exitCode).toBe(0);
  });

  it('too many open files: with the limit of the hint, it works', async () => {
    const { exitCode, json } = await runAfter('ulimit -n 36', ['reset', fleet]);
    const [command = ''] = /ulimit -n \d+/.exec(json.error.hint) ?? [];
    expect([exitCode, json.error.message, command]).toEqual([8, expect.stringContaining('EMFILE'), 'ulimit -n 1024']);
    expect((await runAfter(command, ['reset', fleet])).json.counts).toMatchObject({ reset: 2, failed: 0 });
  });

  it('a lock of another program: the hint shows which, and waiting for it helps', async () => {
    const holder = execa('flock', ['--no-fork', lab.path('fleets', `.${fleet}.lock`), 'sleep', '60'], { reject: false });
    await until('the lock to be held', async () => (await lab.answer('reset', fleet)).exitCode === 6);
    const { hint } = (await lab.answer('reset', fleet)).json.error;
    const [command = ''] = /ps -fp \d+/.exec(hint) ?? [];
    expect((await execa('bash', ['-c', command])).stdout).toContain('sleep 60');
    expect(hint).toContain('released when that process ends');
    holder.kill();
    await holder;
    await lab.unlocked();
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 2 });
  });

  it('a lock of a process outside this container: the command of the hint shows it outside', async () => {
    const path = lab.path('fleets', `.${fleet}.lock`);
    const holder = execa('flock', ['--no-fork', path, 'sleep', '60'], { reject: false });
    try {
      await until('the lock to be held', async () => (await execa('flock', ['-n', path, 'true'], { reject: false })).exitCode === 1);
      const inside = ['--pid', '--fork', '--mount-proc', process.execPath, bin, 'reset', fleet, '--json'];
      const { exitCode, stdout } = await execa('unshare', inside, { env: lab.env, reject: false });
      const { message, hint } = JSON.parse(stdout).error;
      expect([exitCode, message]).toEqual([6, expect.stringContaining('a process that this user cannot see')]);
      const [command = ''] = /lslocks .*$/.exec(hint) ?? [];
      expect((await execa('bash', ['-c', command])).stdout).toMatch(new RegExp(`${holder.pid} +sleep +${path}`));
    } finally {
      holder.kill();
      await holder;
      await lab.unlocked();
    }
  });

  it('a lock of another run: with the option of the hint, the command waits', async () => {
    await lab.ok('start', fleet);
    // Boot-sector guests ignore the power button.
    const stop = lab.begin('stop', fleet, '--timeout', '5s');
    await until('the stop to begin', async () => (await lab.ok('status', fleet)).lock !== undefined);
    const { hint } = (await lab.answer('reset', fleet)).json.error;
    const [option = ''] = /--lock-timeout \w+/.exec(hint) ?? [];
    expect((await lab.ok('reset', fleet, ...option.split(' '))).counts).toMatchObject({ reset: 2 });
    expect((await stop).exitCode).toBe(4);
    await lab.ok('stop', fleet, '--force', '--timeout', '1s');
  });

  it('an immutable directory: the commands of the hint show that, and clear it', async () => {
    const path = lab.path('fleets', fleet, 'overlays');
    await execa('chattr', ['+i', path]);
    try {
      const { exitCode, json } = await lab.answer('reset', fleet);
      const { hint } = json.error ?? json.members[0].error;
      const [, show = '', clear = ''] =
        /^Even root cannot change it: "(lsattr -d [^"]+)" marks .* with an i, and "(chattr -i)" on it/.exec(hint) ?? [];
      expect([exitCode === 0, show]).toEqual([false, expect.stringContaining(path)]);
      const shown = (await execa('bash', ['-c', show])).stdout.split('\n').map((line) => line.split(' '));
      const immutable = shown.filter(([attributes = '']) => attributes.includes('i')).map(([, name]) => name);
      expect(immutable).toEqual([path]);
      await execa('bash', ['-c', `${clear} ${immutable.join(' ')}`]);
    } finally {
      await execa('chattr', ['-i', path]);
    }
    await lab.answer('resume', fleet);
    expect((await lab.ok('reset', fleet)).counts).toMatchObject({ reset: 2 });
  });

  it('a fleet file named like a config file: under another name, it works', async () => {
    const file = join(lab.scratch, 'cowherd.yaml');
    await writeFile(file, `name: ${fleet}\nbase: golden\ncount: 2\nmemory: 16MiB\nnetwork: none\n`);
    const run = (...words: string[]) => execa(process.execPath, [bin, ...words], { cwd: lab.scratch, env: lab.env, reject: false });
    const refused = await run('list');
    const [, name = ''] = /give it another name, such as (\S+),/.exec(refused.stderr) ?? [];
    expect([refused.exitCode, name]).toEqual([2, 'lab.yaml']);
    await rename(file, join(lab.scratch, name));
    expect((await run('list')).exitCode).toBe(0);
    expect((await run('spawn', '-f', name, '--no-start')).exitCode).toBe(0);
    // Another invalid file: moved away, as the hint says.
    await writeFile(file, 'netwrok: none\n');
    expect((await run('list')).stderr).toMatch(/It may set .*Correct the file, or move it away\./);
    await rename(file, `${file}.away`);
    expect((await run('list')).exitCode).toBe(0);
  });

  it('too little memory: as many as the hint says fit', async () => {
    const large = lab.fleet('large');
    const words = ['spawn', large, '--base', 'golden', '--network', 'none', '--memory', '8GiB'];
    const { exitCode, json } = await lab.answer(...words, '--count', '99', '--dry-run');
    const refusal = json.refusal ?? json.error;
    expect([exitCode, refusal.hint]).toEqual([
      3,
      expect.stringMatching(/^\d+ of them fit\. Start fewer, reduce --memory, or continue with --force\.$/),
    ]);
    const fitting = Number.parseInt(refusal.hint, 10);
    expect((await lab.answer(...words, '--count', String(fitting + 1), '--dry-run')).exitCode).toBe(3);
    if (fitting > 0) await lab.ok(...words, '--count', String(fitting), '--dry-run');
    await lab.ok(...words.slice(0, -2), '--memory', '16MiB', '--count', '99', '--dry-run');
    await lab.ok(...words, '--count', '99', '--dry-run', '--force');
  });

  it('an interruption: the same command again does the rest', async () => {
    await lab.ok('base', 'add', await lab.golden('large.qcow2', { filledMiB: 256, virtualMiB: 512 }));
    const run = lab.begin('verify', '--deep', '--json');
    // It reads the base images after everything else.
    await until('the image to be read', () => isOpen(Number(run.pid), 'large'));
    run.kill('SIGINT');
    const { exitCode, stdout } = await run;
    expect([exitCode, JSON.parse(String(stdout)).error.hint]).toEqual([130, expect.stringMatching(/^Run the same command again;/)]);
    expect((await lab.ok('verify', '--deep')).findings).toEqual([]);
    await lab.ok('base', 'remove', 'large');
  });

  it('no libvirtd: after the command of the hint, it works', async () => {
    // As if it were not running: without its sockets. The start is simulated, since not every machine has systemd.
    const script = `cowherd() { ${process.execPath} ${bin} base list --json; }
      mount -t tmpfs none /run/libvirt
      sudo() { "$@"; }
      systemctl() { [ "$*" = "start libvirtd" ] && umount /run/libvirt; }
      hint=$(cowherd | sed -n 's/.*"hint": "\\(.*\\)".*/\\1/p')
      echo "$hint"
      eval "\${hint#*Start it: }"
      cowherd`;
    const { stdout } = await execa('unshare', ['--mount', 'bash', '-c', script], { env: lab.env });
    expect(stdout.split('\n')[0]).toBe('libvirtd does not respond. Start it: sudo systemctl start libvirtd');
    expect(stdout).toContain('"bases": [');
  });
});

/** Whether the process has a file of that base image open. */
async function isOpen(pid: number, base: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`;
  const paths = (await readdir(directory).catch(() => [])).map((name) => readlink(join(directory, name)).catch(() => ''));
  return (await Promise.all(paths)).some((path) => path.includes(`/bases/${base}/`) && path.endsWith('.qcow2'));
}
