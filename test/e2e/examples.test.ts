import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { domains, Lab } from './lab.js';

describe('the examples', () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open();
  });
  afterAll(() => lab.close());

  it.each(['first-fleet', 'lab', 'own-template'])('%s runs to its end and leaves nothing', async (name) => {
    const script = fileURLToPath(new URL(`../../examples/${name}/run.sh`, import.meta.url));
    const fleet = lab.fleet(name);
    const { exitCode, all } = await execa('bash', [script], { env: { ...lab.env, FLEET: fleet }, reject: false, all: true });
    expect(`${exitCode}\n${all}`).toMatch(/^0\n/);
    expect((await domains()).filter((domain) => domain.startsWith(fleet))).toEqual([]);
    expect((await lab.ok('base', 'list')).bases).toEqual([]);
  });
});
