import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';
import { describe, expect, it } from 'vitest';
import { assertWithin, limits } from '../../../src/core/limits.js';
import { parseFleetFile } from '../../../src/core/spec/fleet-file.js';
import { openHost } from '../../../src/host.js';
import type { Ports } from '../../../src/ports/index.js';
import { rebase } from '../../../src/services/fleet/rebase/rebase.js';
import { reset } from '../../../src/services/fleet/reset/reset.js';
import { spawn } from '../../../src/services/fleet/spawn/spawn.js';
import { exec } from '../../../src/services/guest/exec.js';

/** No port is called: everything here is refused before any check. */
const nothing = {} as Ports;
const beyond = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32];

describe('limits', () => {
  it('apply to every whole number on the command line', async () => {
    const config = await Config.load(fileURLToPath(new URL('../../..', import.meta.url)));
    const own = config.commands.filter((command) => command.pluginName === 'cowherd');
    const commands = await Promise.all(own.map((command) => command.load()));
    const bounds = commands.flatMap((command) =>
      Object.entries((command.flags ?? {}) as Record<string, { min?: number; max?: number; parse?: unknown }>)
        // The message of oclif's own integer flags.
        .filter(([, { parse }]) => String(parse).includes('an integer'))
        .map(([name, { min, max }]) => [`${command.id} --${name}`, typeof min, typeof max]),
    );
    expect(bounds.length).toBeGreaterThan(15);
    expect(bounds.filter(([, min, max]) => min !== 'number' || max !== 'number')).toEqual([]);
  });

  it.each([...beyond, 10_001])('refuse a count of %s in a fleet file and in the library', async (count) => {
    expect(() => parseFleetFile({ name: 'lab', base: 'golden', count }, 'lab.yaml')).toThrow(
      expect.objectContaining({ code: 'BAD_SPEC', details: [expect.stringContaining('count')] }),
    );
    await expect(spawn(nothing, { fleet: 'lab', count })).rejects.toMatchObject({
      code: 'BAD_USAGE',
      message: `count cannot be ${count}`,
      hint: expect.stringContaining('1 to 10000'),
    });
  });

  it.each(beyond)('refuse %s as concurrency, seconds or connections in the library', async (value) => {
    const refused = (limit: string) => ({ code: 'BAD_USAGE', hint: expect.stringContaining(limit) });
    await expect(reset(nothing, { fleet: 'lab', concurrency: value })).rejects.toMatchObject(refused('1 to 256'));
    await expect(exec(nothing, { fleet: 'lab', command: ['true'], timeoutMs: value })).rejects.toMatchObject(refused('1 to 86400000'));
    await expect(rebase(nothing, { fleet: 'lab', base: 'golden', batch: value })).rejects.toMatchObject(refused('1 to 1000'));
    await expect(openHost({ sessions: value })).rejects.toMatchObject(refused('1 to 256'));
  });

  it('accept values within them, including both ends', () => {
    for (const range of Object.values(limits)) {
      expect(() => assertWithin({ value: [range.min, range], other: [range.max, range], none: [undefined, range] })).not.toThrow();
    }
  });
});
