import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { GuestLab, type Row } from '../../support/guest-lab.js';
import { virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { workOnTheCommandLine } from '../../support/scenarios/exec-scenarios.js';
import { followGuestHints } from '../../support/scenarios/hint-scenarios.js';
import { TerminalRun } from '../../support/terminal/terminal.js';

/** Commands in real Linux guests. */
describe('commands in Linux guests', () => {
  const guests = GuestLab.use();
  const { lab, rows, said } = guests;
  const fleet = lab.fleet('work');
  let members: Row[];

  beforeAll(async () => {
    // A port in use is not assigned.
    const squatter = createServer().listen(22_000, '127.0.0.1');
    const spawn = ['spawn', fleet, ...guests.linux, '--count', '2', '--forward-ssh', '--wait', 'agent,ssh'];
    members = await rows(...spawn).finally(() => squatter.close());
  });

  it('use forwarded ports, which a recovered record contains', async () => {
    const ports: number[] = (await lab.ok('status', fleet)).members.map((row: Row) => row.sshPort);
    expect(new Set([22_000, ...ports]).size).toBe(3);
    expect(members[1]?.sshPort).toBe(ports[1]);
    const rendered = await lab.ok('template', 'render', fleet, '2');
    expect(rendered.xml).toContain(`hostfwd=tcp:127.0.0.1:${ports[1]}-:22`);
    expect(await virsh('dumpxml', `${fleet}-002`)).toContain(rendered.definition);

    // A recovered record contains the ports of the domains.
    await rm(lab.path('fleets', fleet, 'fleet.json'));
    expect((await lab.ok('status', fleet, '--recover')).members.map((row: Row) => row.sshPort)).toEqual(ports);
    expect((await lab.ok('spawn', fleet)).counts).toMatchObject({ unchanged: 2 });
  });

  it('run with arguments or in a shell, and fail or time out for each guest', async () => {
    expect((await rows('exec', fleet, '2', '--', 'echo', 'a  b', '$HOME', '--json'))[0]).toMatchObject({
      stdout: 'a  b $HOME --json\n',
      via: 'agent',
    });
    expect((await rows('exec', fleet, '2', '--via', 'ssh', '--', 'echo', 'a  b', '$HOME', "it's"))[0]).toMatchObject({
      stdout: "a  b $HOME it's\n",
      via: 'ssh',
    });
    const mixed = await lab.answer('exec', fleet, '--', 'echo out; echo err >&2; [ $(hostname) = x ]');
    expect([mixed.exitCode, mixed.json.counts]).toEqual([4, { ok: 0, failed: 2 }]);
    expect(mixed.json.members[0]).toMatchObject({ exitCode: 1, stdout: 'out\n', stderr: 'err\n' });
    const plain = await lab.cowherd('exec', fleet, '--', 'hostname');
    expect(plain.stdout.split('\n').sort()).toEqual([`${fleet}-001 | ${fleet}-001`, `${fleet}-002 | ${fleet}-002`]);
    for (const via of ['agent', 'ssh']) {
      expect((await lab.answer('exec', fleet, '1', '--via', via, '--', 'nonesuch')).json.members[0].exitCode).toBe(127);
      const late = await lab.answer('exec', fleet, '1', '--via', via, '--timeout', '2s', '--', 'sleep', '20');
      expect([late.exitCode, late.json.members[0].error.code]).toEqual([4, 'TOOL_TIMEOUT']);
    }
    const much = (await rows('exec', fleet, '1', '--via', 'ssh', '--', 'head -c 3000000 /dev/zero'))[0];
    expect([much?.stdout.length, much?.truncated]).toEqual([1024 * 1024, true]);
    expect((await lab.cowherd('exec', fleet)).stderr).toContain('→ Put the command after two hyphens');

    // Guest output cannot end an answer of libvirt.
    const fences = ['cow-end-1.', 'cow-end-2.', 'cow-end-3.', 'cow-end-4.', 'error: ', 'virsh # echo --err'];
    expect((await rows('exec', fleet, '1', '--', 'echo', ...fences))[0]?.stdout).toBe(`${fences.join(' ')}\n`);
  });

  it('work on the command line', () => workOnTheCommandLine(lab, fleet));

  longIt('have hints that work', () => followGuestHints(lab, fleet));

  it('copy files in both directions, over both transports', async () => {
    const bytes = randomBytes(300_000);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const local = join(lab.scratch, 'payload.bin');
    await writeFile(local, bytes);
    for (const via of ['agent', 'ssh']) {
      const sent = await lab.ok('cp', local, `${fleet}:/root/`, '--via', via);
      expect(sent.counts).toEqual({ ok: 2, failed: 0 });
      expect(await said(fleet, 'sha256sum < /root/payload.bin')).toEqual([`${digest}  -`, `${digest}  -`]);
      await lab.ok('exec', fleet, '--', 'mv /root/payload.bin /root/back.bin');
      await lab.ok('cp', `${fleet}:/root/back.bin`, join(lab.scratch, via), '--via', via);
      expect(await readFile(join(lab.scratch, via, `${fleet}-002`, 'back.bin'))).toEqual(bytes);
      await lab.ok('cp', `${fleet}-001:/root/back.bin`, join(lab.scratch, `one-${via}`), '--via', via);
      expect(await readFile(join(lab.scratch, `one-${via}`))).toEqual(bytes);
    }
    await mkdir(join(lab.scratch, 'tree', 'deep'), { recursive: true });
    await writeFile(join(lab.scratch, 'tree', 'deep', 'leaf'), 'green');
    await lab.ok('cp', '-r', join(lab.scratch, 'tree'), `${fleet}:/root/`);
    expect(await said(fleet, 'cat /root/tree/deep/leaf')).toEqual(['green', 'green']);
    const full = await lab.answer('cp', local, `${fleet}-001:/dev/full`, '--via', 'agent');
    expect([full.exitCode, full.json.members[0].error.code]).toEqual([4, 'GUEST_REFUSED']);
    const lost = await lab.answer('cp', `${fleet}-001:/nonesuch`, lab.scratch);
    expect([lost.exitCode, lost.json.members[0].error.message]).toEqual([4, expect.stringContaining('o such file')]);
    expect((await lab.answer('cp', join(lab.scratch, 'nonesuch'), `${fleet}:/root/`)).exitCode).toBe(5);
  });

  it('show the console, and log in', async () => {
    expect((await lab.cowherd('logs', `${fleet}-002`)).stdout).toContain(`TINY-READY ${fleet}-002 boots=1`);
    const follow = lab.begin('logs', fleet, '2', '--follow');
    await lab.ok('exec', fleet, '2', '--', 'echo FOLLOWED > /dev/ttyS0');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    follow.kill('SIGINT');
    expect((await follow).stdout).toContain('FOLLOWED');
    expect(await lab.cowherd('ssh', `${fleet}-002`, '--', 'hostname; exit 7')).toMatchObject({ exitCode: 7, stdout: `${fleet}-002` });
    const terminal = new TerminalRun(lab, ['console', `${fleet}-002`], { columns: 80, rows: 24 });
    await terminal.shows(/Escape character/);
    terminal.type('\n\necho con$((1+1))sole\n');
    await terminal.shows(/con2sole/);
    terminal.type('\u001d');
    expect((await terminal.end()).exitCode).toBe(0);
    for (const word of [`${fleet}-009`, 'nonesuch-001', 'nonesuch']) expect([2, 5]).toContain((await lab.cowherd('ssh', word)).exitCode);
  });

  it('do not wait for a guest without its agent, or one that is off', async () => {
    await lab.ok('exec', fleet, '2', '--via', 'ssh', '--', 'killall qemu-ga');
    const stuck = await lab.answer('spawn', fleet, '--wait', 'agent', '--timeout', '4s');
    expect([stuck.exitCode, stuck.json.counts]).toMatchObject([4, { unchanged: 1, failed: 1 }]);
    expect(stuck.json.members[1]).toMatchObject({
      outcome: 'failed',
      step: 'wait',
      stuckAt: 'agent',
      error: { code: 'NOT_READY', hint: expect.stringContaining('cowherd logs') },
    });
    expect((await said(fleet, 'hostname'))[1]).toBe(`${fleet}-002`);
    await lab.ok('stop', fleet, '1');
    const off = await lab.answer('exec', fleet, '--', 'true');
    expect(off.json.members.map((row: Row) => row.error?.message ?? row.via)).toEqual([`${fleet}-001 is not running`, 'ssh']);
  });
});
