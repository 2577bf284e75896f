import { Config } from '@oclif/core';
import { describe, expect, it } from 'vitest';
import {
  assertKeys,
  assertOptions,
  assertVerb,
  type EngineDeclaration,
  engineVerbs,
  lackOf,
  lacksOf,
  optionWords,
} from '../../../src/core/engine/declaration.js';
import { CowherdError } from '../../../src/core/errors.js';
import { fleetSchema } from '../../../src/core/spec/spec.js';
import { openStack } from '../../../src/engines/nova/declaration.js';
import { thisHost } from '../../../src/services/engine/this-host.js';
import { repository } from '../../support/docs/pages.js';

const engines = [thisHost, openStack];
const config = await Config.load(repository);
const flagsOf = (verb: string): readonly string[] =>
  Object.values(config.findCommand(verb.replaceAll(' ', ':'), { must: true }).flags).map(({ name }) => name);

function refused(check: () => void): CowherdError {
  try {
    check();
  } catch (error) {
    if (error instanceof CowherdError) return error;
    throw error;
  }
  throw new Error('not refused');
}

describe.each(engines.map((engine) => [engine.title, engine] as const))('the declaration of %s', (_title, engine) => {
  it('is about every command that depends on an engine, and no other', () => {
    expect(Object.keys(engine.verbs).sort()).toEqual([...engineVerbs].sort());
    for (const verb of engineVerbs) expect(config.findCommand(verb.replaceAll(' ', ':'))?.id).toBe(verb.replaceAll(' ', ':'));
  });

  it('names options that exist', () => {
    const keys = Object.keys(fleetSchema.shape).map((key) => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`));
    const all = new Set([...engineVerbs.flatMap(flagsOf), ...keys]);
    for (const option of Object.keys(engine.options)) {
      const [, verb = '', negated, name = '', value] = /^(?:([a-z ]+) )?--(no-)?([a-z-]+)(?: ([a-z-]+))?$/.exec(option) ?? [];
      expect([option, verb === '' ? all.has(name) : flagsOf(verb).includes(name)]).toEqual([option, true]);
      const flag = verb === '' ? undefined : config.findCommand(verb.replaceAll(' ', ':'), { must: true }).flags[name];
      if (value !== undefined && flag?.type === 'option' && flag.options !== undefined)
        expect([option, flag.options.includes(value)]).toEqual([option, true]);
      if (negated !== undefined) expect([option, flag?.type === 'boolean' && flag.allowNo]).toEqual([option, true]);
    }
  });

  it('says why and what to do instead, as a sentence without its period', () => {
    for (const [what, { why, instead }] of [...lacksOf(engine), ...Object.entries(engine.options)]) {
      expect([what, why]).toEqual([what, expect.stringMatching(/^[a-z"A-Z].{10,110}[^.]$/)]);
      expect([what, instead]).toEqual([what, expect.stringMatching(/^[A-Z].+[^.]$/)]);
    }
  });
});

it('refuses to prepare images for a cloud', () => {
  const { code, hint } = refused(() => assertKeys(openStack, { name: 'lab', image: { from: 'debian-12', run: ['true'] } }));
  expect([code, hint]).toEqual(['NOT_SUPPORTED', expect.stringContaining('cowherd promote')]);
});

describe('an engine', () => {
  const engine: EngineDeclaration = {
    ...thisHost,
    title: 'a platform',
    verbs: { ...thisHost.verbs, 'base add': { why: 'it has no disk', instead: 'Buy one' } },
    options: {
      '--memory': { why: 'for all', instead: 'Omit it' },
      'status --memory': { why: 'for one', instead: 'Look elsewhere' },
      '--wait agent': { why: 'no agent', instead: 'Wait for ssh' },
      '--no-start': { why: 'it starts', instead: 'Stop it' },
      '--disk': { why: 'no disks', instead: 'Omit them' },
    },
  };

  it('refuses a command with the reason and the hint of its declaration', () => {
    expect(refused(() => assertVerb(engine, 'base add'))).toMatchObject({
      code: 'NOT_SUPPORTED',
      message: '"base add" is not possible on a platform: it has no disk',
      hint: 'Buy one',
    });
    assertVerb(engine, 'base list');
    assertVerb(engine, 'schema');
  });

  it('refuses an option of one command before that of all commands', () => {
    expect(lackOf(engine, 'status', 'memory')?.why).toBe('for one');
    expect(lackOf(engine, 'spawn', 'memory')?.why).toBe('for all');
    expect(refused(() => assertOptions(engine, 'spawn', ['count', 'memory']))).toMatchObject({
      code: 'NOT_SUPPORTED',
      message: '"spawn --memory" is not possible on a platform: for all',
      hint: 'Omit it',
    });
    assertOptions(engine, 'spawn', ['count', 'no-memory', 'start']);
  });

  it.each<[string, unknown, string[]]>([
    ['wait', 'running,agent', ['wait', 'wait running', 'wait agent']],
    ['wait', 'ssh,console=a,agent', ['wait', 'wait ssh']],
    ['start', false, ['no-start']],
    ['start', true, ['start']],
    ['count', 3, ['count']],
    ['disk', ['1GiB'], ['disk']],
    ['base', '../agent', ['base']],
  ])('reads --%s %j', (name, value, words) => expect(optionWords(name, value)).toEqual(words));

  it.each<[object, string]>([
    [{ disks: [] }, '"disks" of fleet "lab"'],
    [{ memory: 512 }, '"memory" of fleet "lab"'],
    [{ start: false }, '"start: false" of fleet "lab"'],
    [{ wait: 'ssh,agent' }, '"wait: ssh,agent" of fleet "lab"'],
  ])('refuses %j in a fleet file', (keys, what) => {
    const { code, message } = refused(() => assertKeys(engine, { name: 'lab', ...keys }));
    expect([code, message.split(' is not possible')[0]]).toEqual(['NOT_SUPPORTED', what]);
  });

  it('accepts other keys, and those without a value', () => {
    assertKeys(engine, { name: 'lab', count: 3, memory: undefined, start: true });
  });
});
