import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandsIn, run } from '../../support/hints/follow.js';
import { until } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { PrepareLab } from '../../support/prepare-lab.js';

describe('base prepare', () => {
  const lab = PrepareLab.here();
  const refusal = async (...words: string[]) => {
    const { exitCode, json } = await lab.answer(...words);
    return { exitCode, ...json.error };
  };

  it('runs commands, shows their output, and leaves only the image, which fleets can use', async () => {
    const words = lab.words('web', '--run', 'echo first; echo one >/etc/app', '--run', 'cat /etc/app; echo two >>/etc/app');
    const planned = await lab.ok(...words, '--dry-run');
    expect(planned.notes.join()).toContain(`run 2 commands, and become base image ${lab.fleet('web')}`);
    await lab.expectNothingLeft();
    expect((await lab.ok('base', 'list')).bases).toEqual([]);
    const { exitCode, stdout, stderr } = await lab.cowherd(...words);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('Running echo first')]);
    expect(stdout).toMatch(new RegExp(`^${lab.fleet('web')}-prepare-001 \\| first\\n.*-001 \\| one\\n`));
    expect(stdout).toContain('Promoted (flattened).');
    await lab.expectNothingLeft();
    const [image] = await lab.images('web');
    expect(image).toMatchObject({ depth: 1, fleets: [], problems: [] });

    const fleet = lab.fleet('users');
    await lab.ok('spawn', fleet, '--base', lab.fleet('web'), '--count', '2', ...lab.machine, '--wait', 'agent');
    expect(await lab.said(fleet, 'cat /etc/app')).toEqual(['one\ntwo', 'one\ntwo']);
    await lab.ok('teardown', fleet, '--yes');
  });

  it('removes what members must not share', async () => {
    const used = [
      'mkdir -p /etc/ssh /var/lib/dhcp; echo key >/etc/ssh/ssh_host_ed25519_key; echo pub >/etc/ssh/ssh_host_ed25519_key.pub',
      'echo lease >/var/lib/dhcp/dhclient.leases; echo old >/tmp/old; echo said >/var/log/app; echo secret >/root/.ash_history',
    ].flatMap((command) => ['--run', command]);
    const spoiled = await lab.ok(...lab.words('spoiled', '--seed', 'nocloud', ...used));
    expect([spoiled.generalized, spoiled.generalisation.length]).toEqual([false, 3]);
    const clean = await lab.ok(...lab.words('clean', '--seed', 'nocloud', ...used, '--generalize'));
    expect(clean).toMatchObject({ generalized: true, generalisation: [], notes: [expect.stringContaining('base tiny')] });
    expect((await lab.ok('base', 'inspect', lab.fleet('clean'))).generalisation).toEqual([]);
    const fleet = lab.fleet('fresh');
    await lab.ok('spawn', fleet, '--base', lab.fleet('clean'), '--count', '2', ...lab.machine, '--seed', 'none', '--wait', 'agent');
    const found = 'find /tmp /etc/ssh /var/lib/dhcp /root/.ash_history -type f 2>/dev/null; cat /var/log/app';
    expect(await lab.said(fleet, found)).toEqual(['', '']);
    const [one, other] = await lab.said(fleet, 'cat /etc/machine-id');
    expect(one).toMatch(/^[0-9a-f]{32}$/);
    expect(other).not.toBe(one);
    // The keys of the VMs in which they were prepared, whose private keys are gone.
    const others = lab.fleet('others');
    await lab.ok('spawn', others, '--base', lab.fleet('spoiled'), '--count', '1', ...lab.machine, '--seed', 'none', '--wait', 'agent');
    const keys = 'wc -c </root/.ssh/authorized_keys';
    expect([...(await lab.said(fleet, keys)), ...(await lab.said(others, keys))]).toEqual(['0', '0', '0']);
    for (const used of [fleet, others]) await lab.ok('teardown', used, '--yes');
    await lab.expectNothingLeft();
  });

  longIt('runs a script with its interpreter, by ssh if the guest has no agent', async () => {
    const script = join(lab.scratch, 'setup.awk');
    await writeFile(script, '#!/usr/bin/awk -f\nBEGIN { print "by awk" >"/etc/app"; exit 0 }\n');
    // The agent of this image does not start.
    const mute = await lab.ok(...lab.words('mute', '--run', 'mv /bin/qemu-ga /bin/no-agent'));
    const ssh = ['--memory', '128MiB', '--seed', 'nocloud', '--wait', 'ssh'];
    const { json } = await lab.answer('base', 'prepare', mute.ref, '--as', lab.fleet('script'), ...ssh, '--script', script, '--generalize');
    expect(json).toMatchObject({ name: lab.fleet('script'), generalisation: [] });
    const fleet = lab.fleet('scripted');
    await lab.ok(
      'spawn',
      fleet,
      '--base',
      json.ref,
      '--count',
      '1',
      '--memory',
      '128MiB',
      '--seed',
      'nocloud',
      '--forward-ssh',
      '--wait',
      'ssh',
    );
    // With the key of this fleet, and without that of the VM.
    const { members } = await lab.ok('exec', fleet, '--via', 'ssh', '--', 'cat /etc/app; grep -c . /root/.ssh/authorized_keys');
    expect(members[0].stdout).toBe('by awk\n1\n');
    await lab.ok('teardown', fleet, '--yes');
    // It would wait for ssh, since the image has no agent.
    const quick = ['base', 'prepare', mute.ref, '--as', lab.fleet('late'), ...lab.machine, '--run', 'true', '--timeout', '15s'];
    expect(await refusal(...quick)).toMatchObject({ exitCode: 2, code: 'BAD_USAGE', hint: expect.stringContaining('--network user') });
    const late = await refusal(...quick, '--wait', 'agent');
    expect(late).toMatchObject({ exitCode: 8, code: 'NOT_READY', hint: expect.stringContaining('--seed nocloud --wait ssh') });
    await lab.expectNothingLeft();
  });

  it('leaves nothing if a command fails, and says which one, its exit code and its last output', async () => {
    const failed = await refusal(
      ...lab.words('bad', '--run', 'true', '--run', 'seq 30; printf "\\033[31mno\\033[0m\\n" >&2; exit 7', '--run', 'touch /never'),
    );
    expect(failed).toMatchObject({
      exitCode: 8,
      code: 'SCRIPT_FAILED',
      message: expect.stringMatching(/^seq 30; .* failed in .*-001 with exit code 7$/),
    });
    expect(failed.details).toEqual(['22', '23', '24', '25', '26', '27', '28', '29', '30', 'no']);
    expect(await lab.images('bad')).toEqual([]);
    await lab.expectNothingLeft();
  });

  longIt('creates the image if the key of its VM cannot be removed, and says so', async () => {
    const lock = 'mount --bind /root/.ssh /root/.ssh && mount -o remount,bind,ro /root/.ssh';
    const { notes } = await lab.ok(...lab.words('locked', '--seed', 'nocloud', '--run', lock));
    expect(notes.filter((note: string) => note.includes('public key of this VM'))).toEqual([expect.stringMatching(/exit code \d+$/)]);
    await lab.expectNothingLeft();
  });

  longIt('keeps the VM of a failure if asked to, until it is removed', async () => {
    const failing = lab.words('kept', '--run', 'echo half >/etc/app; exit 3');
    const { code, hint } = await refusal(...failing, '--keep');
    expect([code, commandsIn(hint).length]).toEqual(['SCRIPT_FAILED', 1]);
    expect(await run(lab, (commandsIn(hint)[0] ?? '').replace('COMMAND', 'cat /etc/app'))).toContain('half');
    const again = await refusal(...failing);
    expect(again).toMatchObject({ exitCode: 2, code: 'BAD_USAGE', message: expect.stringContaining('was kept') });
    expect((await refusal(...failing, '--dry-run')).code).toBe('BAD_USAGE');
    // Both hints name the command that removes it.
    const remove = /cowherd teardown \S+ --yes/.exec(again.hint)?.[0] ?? '';
    expect(hint).toContain(remove);
    await run(lab, remove);
    await lab.expectNothingLeft();
    expect((await refusal(...failing)).code).toBe('SCRIPT_FAILED');
    await lab.expectNothingLeft();
  });

  longIt('leaves nothing after a time limit, Ctrl-C, or a guest that does not shut down', async () => {
    expect(await refusal(...lab.words('slow', '--run', 'echo begun; sleep 600', '--timeout', '40s'))).toMatchObject({
      ...{ exitCode: 8, code: 'TOOL_TIMEOUT' },
      hint: expect.stringContaining('--timeout 2h'),
    });
    await lab.expectNothingLeft();

    const interrupted = lab.begin(...lab.words('slow', '--run', 'sleep 600'));
    let said = '';
    interrupted.stderr?.on('data', (piece: Buffer) => {
      said += String(piece);
    });
    await until('the command to run', async () => said.includes('Running sleep 600'));
    interrupted.kill('SIGINT');
    expect((await interrupted).exitCode).toBe(130);
    await lab.expectNothingLeft();

    const deaf = await refusal(...lab.words('deaf', '--run', 'rm /usr/bin/shutdown; killall acpid', '--timeout', '30s'));
    expect(deaf).toMatchObject({ exitCode: 8, code: 'NOT_STOPPED', hint: expect.stringContaining('acpid') });
    await lab.expectNothingLeft();
    expect(await lab.images('slow')).toEqual([]);
  });

  it('refuses what it cannot do before it boots anything', async () => {
    const nothing = await refusal(...lab.words('none'));
    expect(nothing).toMatchObject({ exitCode: 2, hint: expect.stringContaining('--generalize') });
    const long = 'x'.repeat(33);
    expect(await refusal('base', 'prepare', 'tiny', '--as', long, '--run', 'true')).toMatchObject({
      exitCode: 2,
      hint: expect.stringContaining('32'),
    });
    expect(await refusal('base', 'prepare', 'no-such', '--as', lab.fleet('none'), '--run', 'true')).toMatchObject({
      code: 'BASE_NOT_FOUND',
    });
    const fleet = `${lab.fleet('taken')}-prepare`;
    await lab.ok(
      'spawn',
      fleet,
      '--base',
      await lab.golden('golden.qcow2'),
      '--count',
      '1',
      '--memory',
      '16MiB',
      '--network',
      'none',
      '--no-start',
    );
    const taken = await refusal(...lab.words('taken', '--run', 'true'));
    expect(taken).toMatchObject({ code: 'BAD_USAGE', message: expect.stringContaining(`Fleet ${fleet} exists`) });
    expect((await lab.ok('status', fleet)).members).toHaveLength(1);
    await run(lab, /cowherd teardown \S+ --yes/.exec(taken.hint)?.[0] ?? '');
    await lab.expectNothingLeft();
  });
});
