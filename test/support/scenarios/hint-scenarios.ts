import { expect } from 'vitest';
import { commandsIn, follow, run } from '../hints/follow.js';
import type { Lab } from '../lab.js';

/** Faults of guests, each with its hint, which is followed exactly. @param fleet with two Linux members that are ready for agent and ssh */
export async function followGuestHints(lab: Lab, fleet: string): Promise<void> {
  const first = `${fleet}-001`;
  const failure = async (...words: string[]): Promise<string> => {
    const { exitCode, json } = await lab.answer(...words);
    expect(exitCode).toBe(4);
    return json.members.find((member: { error?: object }) => member.error !== undefined).error.hint;
  };
  const ok = (...words: string[]) => lab.ok('exec', first, ...words);

  for (const via of ['agent', 'ssh']) {
    const late = await failure('exec', first, '--via', via, '--timeout', '1s', '--', 'sleep', '3');
    const [option = ''] = /--timeout/.exec(late) ?? [];
    await ok('--via', via, option, '60s', '--', 'sleep', '3');
  }

  const full = await failure('cp', lab.bin, `${first}:/dev/full`, '--via', 'agent');
  expect(commandsIn(full)).toEqual([`cowherd exec ${first} -- df -h`]);
  await follow(lab, full);
  const denied = await failure('cp', `${first}:/nonesuch`, lab.scratch, '--via', 'ssh');
  expect(denied).toBe('Check the paths on both sides, and whether root may use them.');

  // Without its agent: ssh works, and so does the agent after it is started there.
  const agent = (await ok('--', 'tr "\\\\0" " " < /proc/$(cat /run/qemu-ga.pid)/cmdline')).members[0].stdout.trim();
  await ok('--via', 'ssh', '--', 'killall qemu-ga');
  const noAgent = await failure('exec', first, '--via', 'agent', '--timeout', '5s', '--', 'hostname');
  expect(noAgent).toMatch(/^Is the guest running, with qemu-guest-agent installed and started in it\?$/);
  const notReady = await failure('spawn', fleet, '--wait', 'agent', '--timeout', '4s');
  const looks = notReady.match(/cowherd (?:logs|status) [\w-]+/g) ?? [];
  expect(looks).toHaveLength(2);
  for (const command of looks) await run(lab, command);
  await ok('--via', 'ssh', '--', agent);
  expect((await lab.ok('spawn', fleet, '--wait', 'agent', '--timeout', '60s')).counts).toMatchObject({ failed: 0 });
  await ok('--via', 'agent', '--', 'hostname');

  // Without its sshd: the wait of the hint ends when it runs again.
  const daemon = (await ok('--', 'tr "\\\\0" " " < /proc/$(pidof dropbear | cut -d" " -f1)/cmdline')).members[0].stdout.trim();
  await ok('--', 'killall dropbear');
  const noSsh = await failure('exec', first, '--via', 'ssh', '--timeout', '5s', '--', 'hostname');
  const [, command = '', wait = ''] =
    /with sshd started in it\? "(cowherd status)" shows whether it is running; (--wait ssh) waits/.exec(noSsh) ?? [];
  expect((await lab.ok(...command.replace('cowherd ', '').split(' '), first)).members[0].state).toBe('running');
  await ok('--via', 'agent', '--', daemon);
  await lab.ok('start', first, ...wait.split(' '), '--timeout', '60s');
  await ok('--via', 'ssh', '--', 'hostname');
}
