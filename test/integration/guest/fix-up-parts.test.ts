import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readBuiltInTemplate } from '../../../src/adapters/host/templates.js';
import { fixUpParts, type Reidentification, reidentifyAssignments, withoutComments } from '../../../src/core/guest/reidentify.js';

const identity = {
  hostname: 'lab-001',
  machineId: '0123456789abcdef0123456789abcdef',
  macs: [{ from: '52:54:00:00:00:01', to: '52:54:00:00:00:02' }],
  hostKeys: 'renew' as const,
};
const given = { now: new Date(1_700_000_000_250), entropy: Buffer.from('00ff', 'hex') };
const either = [false, true];
const fixes = either.flatMap((clock) =>
  either.flatMap((renew) =>
    [undefined, identity, { ...identity, hostKeys: 'keep' as const }].flatMap((who) =>
      ['', 'true'].flatMap((hook) =>
        either.map((report): Reidentification => ({ clock, entropy: clock, renew, identity: who, hook, report })),
      ),
    ),
  ),
);

const scriptOf = async (fix: Reidentification): Promise<string> =>
  withoutComments((await Promise.all(fixUpParts(fix).map((part) => readBuiltInTemplate(`guest/${part}`)))).join(''));
const functions = (script: string): string[] => [...script.matchAll(/^([a-z_]+)\(\)/gm)].flatMap(([, name]) => name ?? []);

describe('the fix-up script', () => {
  it.each(fixes)('contains every function that it calls, for %j', async (fix) => {
    const script = await scriptOf(fix);
    execFileSync('/bin/sh', ['-n'], { input: script });
    // Functions that call others, within the parts.
    const files = readdirSync('templates/guest').map((file) => readFileSync(`templates/guest/${file}`, 'utf8'));
    const all = functions(files.join('\n'));
    const defined = new Set(functions(script));
    const [, parts = '', main = ''] = /^([\s\S]*?)(^main\(\)[\s\S]*)$/m.exec(script) ?? [];
    for (const name of all.filter((one) => !defined.has(one))) expect(parts).not.toMatch(new RegExp(`(^|[ ;(])${name}( |$|\\))`, 'm'));
    // Calls of main: nothing that would change this machine is run.
    const stubs = [...defined, 'date', 'sync', 'kill']
      .filter((name) => name !== 'main' && name !== 'note')
      .map((name) => `${name}() { :; }\n`);
    const { stdout, stderr, status } = spawnSync('/bin/sh', {
      input: `${reidentifyAssignments(fix, given)}${parts}${stubs.join('')}${main}`,
      encoding: 'utf8',
    });
    expect({ stderr, status, isComplete: /^cowherd-self 1\n[\s\S]*cowherd-end\n$/.test(stdout) }).toEqual({
      stderr: '',
      status: 0,
      isComplete: true,
    });
  });

  it('is short for a warm reset', async () => {
    const parts = fixUpParts({ clock: true, entropy: true, renew: false });
    expect(parts).toEqual(['clock', 'main']);
  });

  it('contains what a source VM needs after its freeze', async () => {
    expect(fixUpParts({ clock: true, entropy: false, renew: false, thawed: true })).toEqual(['clock', 'services', 'main']);
  });

  it('reports the time that it has set, without another program', async () => {
    const fix = { clock: true, entropy: false, renew: false };
    const run = (date: string): string =>
      execFileSync('/bin/sh', { input: `date() { ${date}; }\n${reidentifyAssignments(fix, given)}${scriptOfClock}`, encoding: 'utf8' });
    const scriptOfClock = await scriptOf(fix);
    // As coreutils, as busybox, which accepts no fraction, and without permission.
    expect(run('echo "$3" | tr -d @')).toBe('cowherd-self 1\nclock 1700000000.250\ncowherd-end\n');
    expect(run('case $3 in *.*) return 1;; esac; echo "$3" | tr -d @')).toBe('cowherd-self 1\nclock 1700000000\ncowherd-end\n');
    expect(run('[ $1 != -u ] || return 1; echo 5.5')).toBe('cowherd-self 1\nclock 5.5\nnote could not set the clock\ncowherd-end\n');
  });
});
