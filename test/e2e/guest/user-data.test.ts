import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab } from '../../support/lab.js';

/** user-data that contains braces for the guest. */
describe('user-data', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  it('with Docker and Jinja braces reaches the guest as the hint says, escaped or raw', async () => {
    const fleet = lab.fleet('braces');
    const golden = await lab.golden('golden.qcow2');
    const spawn = ['spawn', fleet, '--base', golden, '--count', '1', '--memory', '16MiB', '--network', 'none', '--no-start'];
    const raw = [
      '#cloud-config',
      'runcmd:',
      `  - docker ps --format "{{.Names}}"`,
      `  - echo '{{ ansible_host }} {% if x %} {{{three}}} \\{{four}}'`,
    ];
    const file = join(lab.scratch, 'docker.yaml');
    await writeFile(file, raw.join('\n'));
    const told = async () => (await lab.ok('template', 'render', fleet, '1', '--part', 'user-data')).text;

    const refused = await lab.answer(...spawn, '--user-data', file);
    expect(refused.json.error).toMatchObject({ code: 'BAD_TEMPLATE', hint: expect.stringMatching(/"\\\{\{".*--user-data-raw/) });
    await lab.ok(...spawn, '--user-data-raw', file);
    expect(await told()).toBe(raw.join('\n'));

    // It does not change until it is replaced.
    expect((await lab.ok('spawn', fleet, '--no-start')).counts).toMatchObject({ unchanged: 1 });
    const template = join(lab.scratch, 'docker.hbs');
    await writeFile(template, [...raw.slice(0, 2), `  - echo {{name}}; docker ps --format "\\{{.Names}}"`].join('\n'));
    await lab.ok('spawn', fleet, '--user-data', template, '--no-start');
    expect(await told()).toContain(`echo ${fleet}-001; docker ps --format "{{.Names}}"`);
    const listed = join(lab.scratch, 'lab.yaml');
    await writeFile(listed, `name: ${fleet}\nbase: golden\ncount: 1\nuserDataRaw: docker.yaml\n`);
    await lab.ok('spawn', '--file', listed, '--no-start');
    expect(await told()).toBe(await readFile(file, 'utf8'));
    expect((await lab.answer('spawn', fleet, '--user-data', template, '--user-data-raw', file)).exitCode).toBe(2);
    expect((await lab.ok('verify')).findings).toEqual([]);

    await lab.ok('teardown', fleet, '--yes');
    expect(await readdir(lab.path('fleets'))).toEqual([]);
  });
});
