import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { commandsIn } from '../../support/hints/follow.js';
import { bin, guest, Lab, uri, virsh } from '../../support/lab.js';

/** A store and a connection given by flags: without them, the commands in hints would look elsewhere. */
describe('the commands in hints', () => {
  let golden: string;
  let elsewhere: string;
  const lab = Lab.use(async () => {
    golden = await lab.golden('golden.qcow2');
    // virsh and cowherd would use these by default.
    elsewhere = join(lab.scratch, 'elsewhere');
    await mkdir(elsewhere);
  });

  /** Runs a shell command as a user would, whose defaults are another store and another daemon. */
  const shell = async (command: string) => {
    const text = `cowherd() { ${process.execPath} ${bin} "$@"; }; ${command}`;
    const env = { XDG_CONFIG_HOME: lab.scratch, COWHERD_STORE: elsewhere, LIBVIRT_DEFAULT_URI: 'qemu:///session' };
    const { exitCode, stdout, stderr } = await execa('bash', ['-c', text], { cwd: lab.scratch, env, reject: false });
    return { exitCode, stdout, stderr };
  };
  const flags = () => `--store ${lab.store} --connect ${uri}`;

  it('repeat --store and --connect, in JSON and as text', async () => {
    const fleet = lab.fleet('elsewhere');
    const spawned = await shell(`cowherd spawn ${fleet} --base ${golden} --count 1 --no-start ${guest.join(' ')} ${flags()}`);
    expect(spawned.stderr + spawned.stdout).toContain('1 created');
    await rm(lab.overlay(fleet, `${fleet}-001`));
    const asText = await shell(`cowherd start ${fleet} ${flags()}`);
    const command = `cowherd reset ${flags()} ${fleet} 1`;
    expect([asText.exitCode, asText.stdout]).toEqual([4, expect.stringContaining(command)]);
    const { hint } = JSON.parse((await shell(`cowherd start ${fleet} ${flags()} --json`)).stdout).members[0].error;
    expect(commandsIn(hint)).toEqual([command]);
    expect((await shell(command)).exitCode).toBe(0);
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ shutOff: 1 });
  });

  it('name the connection to virsh', async () => {
    const fleet = lab.fleet('taken');
    await lab.defineForeign(`${fleet}-001`);
    const { exitCode, stdout } = await shell(
      `cowherd spawn ${fleet} --base ${golden} --count 1 --no-start ${guest.join(' ')} ${flags()} --json`,
    );
    const [command = ''] = commandsIn(JSON.parse(stdout).error.hint.replace(/.*(virsh)/, ': $1'));
    expect([exitCode, command]).toEqual([7, `virsh -c ${uri} domrename ${fleet}-001 NEW`]);
    expect(await shell(command.replace('NEW', `${fleet}-kept`))).toMatchObject({ exitCode: 0 });
    expect((await virsh('domstate', `${fleet}-kept`)).trim()).toBe('shut off');
    await virsh('undefine', `${fleet}-kept`);
  });

  it('do not repeat what applies by itself', async () => {
    await writeFile(join(lab.scratch, 'cowherd.yaml'), `store: ${lab.store}\nconnect: ${uri}\n`);
    const fleet = lab.fleet('nosuch');
    const env = { XDG_CONFIG_HOME: lab.scratch, COWHERD_STORE: '', LIBVIRT_DEFAULT_URI: '' };
    const { stdout } = await execa(process.execPath, [bin, 'status', fleet, '--json'], { cwd: lab.scratch, env, reject: false });
    expect(JSON.parse(stdout).error.hint).toContain(`cowherd status ${fleet} --recover`);
  });
});
