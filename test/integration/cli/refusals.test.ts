import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Config } from '@oclif/core';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repeatFlags, withFlags } from '../../../src/cli/terminal/repeated-flags.js';
import { type EngineDeclaration, engineVerbs, type Lack, lackOf, lacksOf, optionWords } from '../../../src/core/engine/declaration.js';
import { fleetSchema } from '../../../src/core/spec/spec.js';
import { openStack } from '../../../src/engines/nova/declaration.js';
import { thisHost } from '../../../src/services/engine/this-host.js';
import { repository } from '../../support/docs/pages.js';
import { bin } from '../../support/lab.js';
import { runHere } from '../../support/run-in-process.js';

/**
 * What an engine declares as impossible is refused by the command line, with the hint of the declaration. There are no settings for the
 * cloud that is named, so a command that tried to open it would fail in another way.
 */

const config = await Config.load(repository);
const connections: Array<[EngineDeclaration, string]> = [
  [openStack, 'openstack://nowhere'],
  [thisHost, 'qemu:///session'],
];

/** Values that pass the checks of a flag; other flags take any word. */
const values: Record<string, string> = {
  memory: '1GiB',
  vcpus: '2',
  cpu: 'max',
  'disk-size': '20GiB',
  disk: '1GiB',
  overlay: 'cluster-size=128KiB',
  count: '3',
  timeout: '5m',
  'max-size': '1GiB',
};

const commandOf = (verb: string) => config.findCommand(verb.replaceAll(' ', ':'), { must: true });

/** A command line of the command that is complete, with the options. */
function lineOf(verb: string, options: readonly string[] = []): string[] {
  const { args, flags } = commandOf(verb);
  const words = Object.values(args).flatMap(({ required }) => (required === true ? ['lab'] : []));
  const required = Object.values(flags).flatMap((flag) => (flag.required === true ? [`--${flag.name}`, 'x'] : []));
  // spawn, reset and others name the fleet in an argument that a fleet file may replace.
  const fleet = words.length === 0 && Object.keys(args).includes('fleet') ? ['lab'] : [];
  return [...verb.split(' '), ...words, ...fleet, ...required, ...options, ...(verb === 'exec' ? ['--', 'true'] : [])];
}

/** `no-start`, `memory` or `wait agent` as words of a command line, with the flags that it depends on. */
function wordsOf(verb: string, option: string): string[] {
  const [name = '', value] = option.split(' ');
  const flag = commandOf(verb).flags[name];
  if (flag === undefined) return [`--${name}`];
  const others = [
    ...(flag.dependsOn ?? []),
    ...(flag.relationships ?? []).flatMap(({ flags }) => flags.slice(0, 1).map((one) => (typeof one === 'string' ? one : one.name))),
  ].flatMap((other) => wordsOf(verb, other));
  if (flag.type === 'boolean') return [...others, `--${name}`];
  return [...others, `--${name}`, value ?? values[name] ?? flag.options?.[0] ?? 'x'];
}

/** The command lines with each option that an engine refuses. */
function linesOf(engine: EngineDeclaration): Array<[string, string[]]> {
  return Object.keys(engine.options).flatMap((key) => {
    const [, of = '', option = ''] = /^(?:([a-z ]+) )?--(.+)$/.exec(key) ?? [];
    const name = option.split(' ')[0]?.replace(/^no-/, '') ?? '';
    const possible = engineVerbs.filter((verb) => typeof engine.verbs[verb] === 'string');
    const verbs = of === '' ? possible.filter((verb) => commandOf(verb).flags[name] !== undefined) : [of];
    return verbs.map((verb): [string, string[]] => [`${verb} --${option}`, lineOf(verb, wordsOf(verb, option))]);
  });
}

let home: string;
const environment = (): Record<string, string> => ({
  HOME: home,
  XDG_CONFIG_HOME: join(home, '.config'),
  COWHERD_STORE: join(home, 'store'),
  LIBVIRT_DEFAULT_URI: '',
  OS_CLIENT_CONFIG_FILE: '',
  OS_CLOUD: '',
});
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'cwt-refusals-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

/** The hint as it is shown: its commands repeat the connection. */
function shown(hint: string, connect: string): string {
  repeatFlags({ commands: config.commandIDs, connect });
  return withFlags(hint);
}

describe.each(connections)('$title', (engine, connect) => {
  const refusal = (message: RegExp, hints: readonly string[]) => ({
    exitCode: 2,
    json: {
      error: {
        code: 'NOT_SUPPORTED',
        message: expect.stringMatching(message),
        hint: expect.toSatisfy((hint: string) => hints.includes(hint)),
      },
    },
  });
  const run = (words: readonly string[]) => {
    const end = words.includes('--') ? words.indexOf('--') : words.length;
    return runHere([...words.slice(0, end), '--connect', connect, ...words.slice(end)], environment());
  };
  const title = new RegExp(` is not possible on ${engine.title}: `);

  // Tested without --json below.
  const textOnly = ['console', 'logs --follow'];
  const verbs = [...lacksOf(engine)].filter(([verb]) => !textOnly.includes(verb));
  it.for(verbs)('refuses %s', async ([verb, { instead }]) => {
    expect(await run(lineOf(verb))).toMatchObject(refusal(title, [instead]));
  });

  it.for(linesOf(engine).filter(([what]) => !textOnly.includes(what)))('refuses %s', async ([what, words]) => {
    const verb = engineVerbs.find((one) => what.startsWith(`${one} --`)) ?? '';
    const { flags } = commandOf(verb);
    // The options that this one depends on may be refused, too.
    const given = words.flatMap((word, index) => {
      const name = word.replace(/^--/, '');
      if (!word.startsWith('--') || name === '') return [];
      return flags[name]?.type === 'option' ? optionWords(name, words[index + 1]) : [name];
    });
    const hints = given.flatMap((name) => lackOf(engine, verb, name)?.instead ?? []);
    expect(hints).toContain(lackOf(engine, verb, what.slice(`${verb} --`.length))?.instead);
    expect(await run(words)).toMatchObject(refusal(title, hints));
  });
});

describe('a fleet file', () => {
  const keys: Record<string, unknown> = {
    fromDomain: 'win11',
    trustChain: true,
    memory: '2GiB',
    vcpus: 2,
    virtType: 'kvm',
    cpu: 'max',
    network: 'user',
    diskCache: 'none',
    overlay: { clusterSize: '128KiB' },
    lean: false,
    template: 'domain.xml.hbs',
    seed: 'smbios',
    metaData: 'meta.hbs',
    networkConfig: 'network.hbs',
    forwardSsh: true,
    firmware: 'uefi',
    nvram: 'nvram.fd',
    tpm: true,
    rootSize: '20GiB',
    disks: [{ size: '1GiB' }],
  };

  const refuse = async (fleet: object, connect?: string) => {
    const file = join(home, 'lab.json');
    await writeFile(file, JSON.stringify({ name: 'lab', count: 3, ...('fromDomain' in fleet ? {} : { base: 'golden' }), ...fleet }));
    return runHere(['spawn', '--file', file, ...(connect === undefined ? [] : ['--connect', connect])], environment());
  };

  it.for(Object.entries(keys))('with %s is refused on OpenStack Nova', async ([key, value]) => {
    const { exitCode, json } = await refuse({ connect: 'openstack://nowhere', [key]: value });
    const hints = Object.values(openStack.options).map(({ instead }) => instead);
    expect([exitCode, json.error]).toEqual([
      2,
      {
        code: 'NOT_SUPPORTED',
        message: expect.stringMatching(new RegExp(`^"${key}.*" of fleet "lab" is not possible on OpenStack Nova: `)),
        hint: expect.toSatisfy((hint: string) => hints.includes(hint)),
      },
    ]);
  });

  it('has no other key that OpenStack Nova refuses', () => {
    const refused = Object.keys(fleetSchema.shape).filter((key) => {
      const option = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      return Object.keys(openStack.options).some((one) => one === `spawn --${option}` || one.startsWith(`spawn --${option} `));
    });
    expect(Object.keys(keys)).toEqual(expect.arrayContaining(refused));
  });

  it('with the placement of a cloud is refused on this host', async () => {
    const { exitCode, json } = await refuse({ placement: { flavor: 'm1' } }, 'qemu:///session');
    expect([exitCode, json.error.code]).toEqual([2, 'NOT_SUPPORTED']);
    expect(json.error.message).toMatch(/^"placement" of fleet "lab" is not possible on this host: /);
    expect(json.error.hint).toBe(thisHost.options['--placement']?.instead);
  });
});

/** Without --json. */
it.each<[string, string[], string | Lack | undefined]>([
  ['console', ['console', 'lab-001'], openStack.verbs.console],
  ['logs --follow', ['logs', 'lab-001', '--follow'], openStack.options['logs --follow']],
])('%s is refused, too', async (what, words, lack) => {
  if (lack === undefined || typeof lack === 'string') throw new Error(`${what} is not refused`);
  const { exitCode, stderr } = await execa(process.execPath, [bin, ...words, '--connect', 'openstack://nowhere'], {
    env: environment(),
    reject: false,
  });
  expect([exitCode, stderr]).toEqual([
    2,
    `Error: "${what}" is not possible on OpenStack Nova: ${lack.why}\n→ ${shown(lack.instead, 'openstack://nowhere')}`,
  ]);
});

it('an alias is refused like its command', async () => {
  const { json } = await runHere(['up', 'lab', '--memory', '1GiB', '--connect', 'openstack://nowhere'], environment());
  expect(json.error.message).toMatch(/^"spawn --memory" is not possible/);
});
