import { copyFile, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guest, Lab, virsh } from '../../support/lab.js';

/** A file that is missing at start, and the hint, followed literally. */
describe('a missing file of a domain', () => {
  let lab: Lab;
  let golden: string;
  let fleet: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    fleet = lab.fleet('gone');
    await lab.ok('spawn', fleet, '--base', golden, '--count', '1', ...guest, '--seed', 'nocloud', '--no-start');
    await lab.ok('template', 'eject', join(lab.scratch, 'domain.xml.hbs'));
  });
  afterAll(() => lab.close());

  /** The hint for the member that does not start. */
  const hint = async (...args: string[]): Promise<string> => {
    const { exitCode, json } = await lab.answer(...args);
    expect(exitCode).not.toBe(0);
    return String(json.members[0].error.hint);
  };
  /** A template that differs from the built-in one. */
  const template = async (name: string, change: (text: string) => string): Promise<string> => {
    const path = join(lab.scratch, name);
    await writeFile(path, change(await readFile(join(lab.scratch, 'domain.xml.hbs'), 'utf8')));
    return path;
  };
  const stop = () => lab.ok('stop', fleet, '--timeout', '1s', '--force');

  it('a seed: spawn creates it again', async () => {
    const seed = lab.path('fleets', fleet, 'seeds', `${fleet}-001.iso`);
    await rename(seed, `${seed}.away`);
    expect(await hint('start', fleet)).toBe(`Its seed is missing. "cowherd spawn ${fleet}" creates it again.`);
    await lab.ok('spawn', fleet);
    expect((await lab.ok('status', fleet)).members[0]).toMatchObject({ state: 'running', problems: [] });
    await stop();
  });

  it('a file named in the template: the member need not be reset', async () => {
    const tools = join(lab.scratch, 'tools.iso');
    const drive = `<disk type="file" device="cdrom"><source file="${tools}"/><target dev="sdz" bus="sata"/><readonly/></disk>`;
    const own = await template('tools.xml.hbs', (text) => text.replace('</devices>', `${drive}</devices>`));
    const said = await hint('spawn', fleet, '--template', own);
    expect(said).toContain(`The domain uses ${tools}, which does not exist. Restore it`);
    expect(said).not.toMatch(/reset/);

    await copyFile(golden, tools);
    await lab.ok('start', fleet);
    await stop();

    await rename(tools, `${tools}.away`);
    const command = /cowherd (spawn \S+ --template) FILE/.exec(said)?.[1]?.split(' ') ?? [];
    await lab.ok(...command, join(lab.scratch, 'domain.xml.hbs'));
    expect((await lab.ok('status', fleet)).members[0].state).toBe('running');
    await stop();
  });

  it('a device: the hint shows where it is named', async () => {
    const own = await template('device.xml.hbs', (text) => text.replace('/dev/urandom', '/dev/cwt-none'));
    const said = await hint('spawn', fleet, '--template', own);
    expect(said).toContain('This host has no /dev/cwt-none');
    const command = /virsh (dumpxml --inactive \S+)$/.exec(said)?.[1]?.split(' ') ?? [];
    expect(await virsh(...command)).toContain('/dev/cwt-none</backend>');
  });
});
