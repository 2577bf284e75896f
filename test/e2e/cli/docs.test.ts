import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, inject, it } from 'vitest';
import { StatefulCloud } from '../../fakes/openstack/stateful/stateful-cloud.js';
import { type Block, commandsOf, pages, readPage, repository, type ShownCommand } from '../../support/docs/pages.js';
import { exceptions, planned, type World } from '../../support/docs/plan.js';
import { bin, Lab, virsh } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { TestNetwork } from '../../support/network.js';

/**
 * Runs the commands in the documentation, in the order of test/support/docs/plan.ts. Names and sizes are adapted, so that a run is quick and
 * touches only its own domains; otherwise the commands are unchanged.
 */

type Adaptation = readonly [RegExp, string];

class Stage {
  readonly lab: Lab;
  readonly work: string;
  readonly #names: Map<string, string>;
  readonly #adaptations: readonly Adaptation[];

  /**
   * @param fleets names of fleets in the pages
   * @param domains names of other domains in the pages
   */
  constructor(lab: Lab, fleets: readonly string[], domains: Record<string, string>, adaptations: readonly Adaptation[]) {
    this.lab = lab;
    this.work = join(lab.scratch, 'work');
    this.#names = new Map([...fleets.map((name) => [name, lab.fleet(name)] as const), ...Object.entries(domains)]);
    this.#adaptations = adaptations;
  }

  async prepare(files: Record<string, string>): Promise<void> {
    await mkdir(this.work);
    await mkdir(join(this.lab.scratch, 'bin'));
    const command = join(this.lab.scratch, 'bin', 'cowherd');
    await writeFile(command, `#!/bin/sh\nexec ${process.execPath} ${bin} "$@"\n`);
    await chmod(command, 0o755);
    for (const [name, content] of Object.entries(files)) await writeFile(join(this.work, name), content);
  }

  adapt(text: string): string {
    const names = new RegExp(`(?<![\\w./=@-])(${[...this.#names.keys()].join('|')})(?=$|[\\s:,'"]|-\\d{3}\\b)`, 'gm');
    const adapted = this.#adaptations.reduce((line, [pattern, by]) => line.replace(pattern, by), text);
    return adapted.replace(names, (name) => this.#names.get(name) ?? name);
  }

  async run({ text, fails }: ShownCommand, where: string): Promise<void> {
    const line = this.adapt(text);
    const env = { ...this.lab.env, HOME: this.lab.scratch, PATH: `${join(this.lab.scratch, 'bin')}:${process.env.PATH}` };
    const { exitCode, all } = await execa('bash', ['-c', line], { cwd: this.work, env, reject: false, all: true, stdin: 'ignore' });
    expect(`${where}: ${line}\nexit ${exitCode}\n${all}`).toMatch(fails ? /\nexit [1-9]/ : /\nexit 0\n/);
  }

  /** Runs all sections that need the same setup. @returns the number of commands */
  async perform(world: World): Promise<number> {
    let count = 0;
    for (const [section, plan] of Object.entries(planned)) {
      if (!('world' in plan) || plan.world !== world) continue;
      for (const text of plan.before ?? []) await this.run({ text, fails: false }, `before ${section}`);
      for (const block of blocksOf(section)) {
        if (block.language === 'yaml') await writeFile(join(this.work, 'lab.yaml'), this.adapt(block.text));
        if (block.language === 'ts') {
          await writeFile(join(this.work, 'example.mts'), this.adapt(block.text));
          await this.run({ text: `${join(repository, 'node_modules/.bin/tsx')} example.mts`, fails: false }, `${block.page}:${block.line}`);
          count++;
        }
        for (const command of commandsOf(block)) {
          if (exceptions.some(([pattern]) => pattern.test(command.text))) continue;
          await this.run(command, `${block.page}:${block.line}`);
          count++;
        }
      }
    }
    return count;
  }
}

/** A clouds.yaml with one cloud, from OS_* variables. */
function cloudsFile(
  name: string,
  { OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME, OS_REGION_NAME }: Record<string, string>,
): string {
  const auth = { auth_url: OS_AUTH_URL, username: OS_USERNAME, password: OS_PASSWORD, project_name: OS_PROJECT_NAME };
  return JSON.stringify({ clouds: { [name]: { auth, region_name: OS_REGION_NAME } } });
}

const blocks = pages.flatMap((page) => readPage(page).blocks);
const blocksOf = (section: string): Block[] => blocks.filter((block) => block.section === section);

/** Defines a stopped domain that cowherd did not create, with its own disk. @returns the disk */
async function defineWithDisk(lab: Lab, name: string, image: string): Promise<string> {
  const disk = join(lab.scratch, `${name}.qcow2`);
  await copyFile(image, disk);
  const inside = `<devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk></devices>`;
  const path = join(lab.scratch, `${name}.xml`);
  await writeFile(
    path,
    `<domain type='qemu'><name>${name}</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>${inside}</domain>`,
  );
  await virsh('define', path);
  return disk;
}

const powerButton = { ending: 'power-button' } as const;

describe.concurrent('the commands of the documentation run', () => {
  it('with guests of 512 bytes', async () => {
    const lab = await Lab.open();
    try {
      const domains = { win11: `${lab.fleet('win11')}-vm`, web1: `${lab.fleet('web1')}-vm` };
      const stage = new Stage(lab, ['lab', 'web', 'db', 'big', 'secure', 'office'], domains, [
        [/--count (100|20|10)\b/, '--count 4'],
        [/count: 20\b/, 'count: 2'],
        [/memory: \d+GiB/g, 'memory: 16MiB'],
        [/--memory 1GiB/, '--memory 32MiB'],
        [/network: network=default/g, 'network: none'],
        [/base: debian-12.qcow2/g, 'base: golden.qcow2'],
        [/^(cowherd spawn .*--base .*)$/, '$1 --memory 16MiB --network none'],
        [/^(cowherd teardown lab)$/, '$1 --yes'],
      ]);
      await stage.prepare({});
      const golden = await lab.golden('golden.qcow2', powerButton);
      await copyFile(golden, join(stage.work, 'golden.qcow2'));
      for (const name of Object.values(domains)) await defineWithDisk(lab, name, golden);
      expect(await stage.perform('small')).toBeGreaterThan(30);
    } finally {
      await lab.close();
    }
  });

  it('about base images', async () => {
    const lab = await Lab.open();
    try {
      const stage = new Stage(lab, ['lab'], {}, [[/^(cowherd spawn .*)$/, '$1 --memory 16MiB --network none']]);
      await stage.prepare({});
      await copyFile(await lab.golden('tiny.qcow2', powerButton), join(stage.work, 'tiny.qcow2'));
      expect(await stage.perform('images')).toBe(13);
    } finally {
      await lab.close();
    }
  });

  it('about snapshots', async () => {
    const lab = await Lab.open();
    try {
      const domains = { web: `${lab.fleet('web')}-vm` };
      const stage = new Stage(lab, [], domains, []);
      await stage.prepare({});
      const disk = await defineWithDisk(lab, domains.web, await lab.golden('web.qcow2', powerButton));
      // Another user of the original, which a commit must not write to.
      await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', disk, join(lab.scratch, 'clone.qcow2')]);
      expect(await stage.perform('snapshots')).toBe(5);
    } finally {
      await lab.close();
    }
  });

  it('on OpenStack, against a fake cloud', async () => {
    const lab = await Lab.open();
    const cloud = await StatefulCloud.start({ now: () => performance.now(), networks: ['private'] });
    try {
      // Its guests have no ssh server.
      const stage = new Stage(lab, ['web'], {}, [
        [/ --wait ssh/, ''],
        [/m1\.small/, 'cow.tiny'],
        [/^(cowherd .* teardown web)$/, '$1 --yes'],
      ]);
      await stage.prepare({ 'clouds.yaml': cloudsFile('lab', cloud.environment) });
      await copyFile(await lab.golden('debian-12.qcow2', powerButton), join(stage.work, 'debian-12.qcow2'));
      expect(await stage.perform('cloud')).toBe(3);
      expect([cloud.servers, cloud.fake.unknown]).toEqual([[], []]);
    } finally {
      await cloud.stop();
      await lab.close();
    }
  });

  longIt('with Linux guests', { timeout: 600_000 }, async () => {
    const lab = await Lab.open();
    const network = await TestNetwork.open(lab.id, 10, 40, { isPersistent: true });
    try {
      const stage = new Stage(lab, ['lab', 'web', 'burst', 'nightly', 'app'], { gold: `${lab.fleet('gold')}-001` }, [
        [/--memory 2GiB/, '--memory 128MiB'],
        [/network=default/, `network=${network.name}`],
        // A boot costs six CPU seconds: run one fleet of three, and as few members as each command allows.
        [/^(cowherd spawn web .*)$/, '$1 --dry-run'],
        [/^(cowherd base prepare .*)$/, '$1 --memory 128MiB'],
        [/^cowherd exec lab web /, 'cowherd exec lab '],
        [/^cowherd checkpoint lab --wait/, 'cowherd checkpoint lab 1,3 --wait'],
        [/^cowherd reset lab --warm/, 'cowherd reset lab 1,3 --warm'],
        [/^(cowherd spawn burst .*)--count 2/, '$1--count 1'],
        [/^cowherd reset burst 2/, 'cowherd reset burst 1'],
        [/^cowherd spawn gold /, `cowherd spawn ${lab.fleet('gold')} `],
        [/^cowherd reset lab --wait agent,ssh/, 'cowherd reset lab 1 --wait agent,ssh'],
        // The library gives fleets random names.
        [/base: 'tiny.qcow2', count: 3/, `name: '${lab.fleet('library')}', base: 'debian-12.qcow2', count: 1`],
      ]);
      await stage.prepare({ 'setup.sh': 'echo from setup.sh\n', 'app.tar.gz': 'content', 'password.txt': 'secret\n' });
      await mkdir(join(stage.work, 'node_modules'));
      await symlink(repository, join(stage.work, 'node_modules', 'cowherd'));
      await mkdir(join(lab.scratch, '.ssh'), { mode: 0o700 });
      await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(lab.scratch, '.ssh', 'id_ed25519')]);
      await copyFile(inject('tinyImage'), join(stage.work, 'debian-12.qcow2'));
      expect(await stage.perform('linux')).toBeGreaterThan(20);
    } finally {
      await lab.close();
      await network.close();
    }
  });
});
