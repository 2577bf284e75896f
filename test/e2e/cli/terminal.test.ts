import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { guest, Lab, until, virsh } from '../../support/lab.js';
import { isLong } from '../../support/long.js';
import { barsOf, complaints, inTerminal, type Remains, type Size, sizes, TerminalRun } from '../../support/terminal/terminal.js';

/** The final screen of a terminal, at two sizes: of every command, of partial failures, and after Ctrl-C. */

/** A command line, and text that must be on the screen when it has ended. */
type Cell = [words: string, remains: RegExp, exitCode?: number];

/** Every command, in an order in which each has something to do. */
function everyVerb(lab: Lab, fleet: string, golden: string, domain: string): Cell[] {
  const file = (name: string): string => join(lab.scratch, `${fleet}-${name}`);
  return [
    ['doctor', /✔ qemu-img .*\n[\s\S]*\n(Ready|\d+ checks? failed)/],
    [`base add ${golden} --name gold`, /^base +gold@[\s\S]*Imported \(/m],
    [
      `spawn ${fleet} --base gold --count 3 --virt-type qemu ${guest.join(' ')} --wait console=OK`,
      /: 3 created, 3 started in .*\n.*start .*wait/,
    ],
    [`status ${fleet}`, /: 3 running, on gold@[\s\S]*^MEMBER +STATE[\s\S]*-003 +running/m],
    ['list', new RegExp(`FLEET[\\s\\S]*${fleet} +3`)],
    [`report ${fleet}`, /^full copies +█+ [\s\S]*^Saved: /m],
    [`checkpoint ${fleet}`, /: 3 checkpointed in /],
    [`reset ${fleet} --warm`, /: 3 restored in /],
    [`reset ${fleet} --wait console=OK`, /: 3 reset, 3 started in .*freed/],
    [`inventory ${fleet} --format hosts`, /note: 3 of 3 members have no known address/],
    [`logs ${fleet}-001`, /^OK [0-9a-f]{16}/m],
    [`template render ${fleet} 1`, /<\/domain>/],
    [`template eject ${file('template.hbs')}`, /Edit it, then use it with/],
    ['base list', /^BASE +.*STATE\ngold@/m],
    ['base inspect gold', /^sha256 +[0-9a-f]{64}/m],
    ['base history', /gold@.*imported from/],
    ['base verify gold', /gold@\w+: as imported|gold: as imported/],
    [`base export gold ${file('export.qcow2')}`, /written to/],
    [`stop ${fleet} 3 --timeout 1s --force`, /: 1 stopped in /],
    [`exec ${fleet} 3 -- true`, /0 ok, 1 failed[\s\S]*→ /, 4],
    [`cp ${golden} ${fleet}:/x`, /copied to 0 members, 3 failed[\s\S]*→ /, 4],
    [`ssh ${fleet}-001`, /Error: [\s\S]*→ /, 8],
    [`compact ${fleet} 3`, /skipped|freed/],
    [`promote ${fleet}-003 --as next`, /Promoted \([\s\S]*--base next --count 10/],
    [`rebase ${fleet} --base next`, /: 3 rebased/],
    [`start ${fleet}`, /: .*(3|1) started|3 unchanged/],
    [`resume ${fleet}`, /: nothing to resume/, 0],
    [`base relocate ${fleet}`, /3 members in .*: /],
    [`snapshot take ${domain}`, /snapshot taken: 1/],
    [`snapshot list ${domain}`, /SNAPSHOT +TAKEN[\s\S]*^ +1 /m],
    [`snapshot rollback ${domain} --yes`, /rolled back to snapshot 1/],
    [`snapshot commit ${domain} --yes`, /committed snapshot 1/],
    [`snapshot take ${domain}`, /snapshot taken: 1/],
    [`snapshot drop ${domain} --yes`, /dropped snapshot 1/],
    [`verify ${fleet}`, /no problems: checked /],
    ['base remove next', /Error: [\s\S]*→ /, 3],
    ['base prune', /Nothing was removed|Nothing to remove/],
    [`teardown ${fleet} --yes`, /: 3 removed in /],
    ['status nosuch', /Error: [\s\S]*→ /, 5],
    ['spawn --nosuch-flag --another-unknown-flag --and-a-third-unknown-flag x', /Error: Nonexistent flags?: [\s\S]*→ /, 2],
  ];
}

describe.concurrent.each(isLong ? sizes : sizes.slice(0, 1))('on a terminal of $columns columns', (size: Size) => {
  let lab: Lab;
  let golden: string;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2', { virtualMiB: 16 });
  });
  afterAll(() => lab.close());

  const run = (...words: string[]): Promise<Remains> => inTerminal(lab, words, size);
  const spawning = (fleet: string, count: number, ...more: string[]): string[] => [
    ...['spawn', fleet, '--base', golden, '--count', String(count), '--virt-type', 'qemu', ...guest, ...more],
  ];

  it('every command shows its result', async () => {
    const domain = (await ForeignDomain.define(lab, `t${size.columns}`, ['qcow2'])).name;
    const wrong: object[] = [];
    for (const [words, remains, exitCode = 0] of everyVerb(lab, lab.fleet('all'), golden, domain)) {
      const result = await run(...words.split(' '));
      const complaint = [
        ...(remains.test(result.text) ? [] : [`no ${remains}`]),
        ...complaints(result, /^(template render|snapshot)/.test(words)),
      ];
      for (const { done, total, line } of exitCode === 0 ? barsOf(result.text) : [])
        if (done !== total) complaint.push(`a bar is left at ${line}`);
      if (result.exitCode !== exitCode) complaint.push(`exit code ${result.exitCode} instead of ${exitCode}`);
      if (complaint.length > 0) wrong.push({ words, complaint, text: result.text });
    }
    expect(wrong).toEqual([]);
  });

  it('console and confirmation work, and leave a clean terminal', async () => {
    const fleet = lab.fleet('asked');
    await lab.ok(...spawning(fleet, 1));
    const console = new TerminalRun(lab, ['console', `${fleet}-001`], size);
    await console.shows(/Escape character/);
    console.type('\u001d');
    expect((await console.end()).exitCode).toBe(0);
    const teardown = new TerminalRun(lab, ['teardown', fleet], size);
    await teardown.shows(/\[y\/N\]/);
    teardown.type('y\r');
    const remains = await teardown.end();
    expect(remains).toMatchObject({ exitCode: 0, text: expect.stringMatching(/: 1 removed in /) });
  });

  it('failures stay on the screen, similar ones in one line with one hint', async () => {
    const fleet = lab.fleet('part');
    await lab.ok(...spawning(fleet, 6));
    // libvirt cannot create a network card for these, on any base image.
    for (const number of [4, 5, 6]) {
      const xml = await virsh('dumpxml', '--inactive', `${fleet}-00${number}`);
      await lab.redefine(xml.replace('</devices>', `<interface type='bridge'><source bridge='cwt-nosuch'/></interface></devices>`));
    }
    const failing: Array<[string[], RegExp, number]> = [
      [['reset', fleet], /: 3 reset, 3 failed to start in /, 3],
      [['start', fleet], /: 3 unchanged, 3 failed to start in /, 0],
      [['spawn', fleet, '--wait', 'console=OK'], /3 failed to start in /, 0],
      [['reset', fleet, '1-3', '--wait', 'console=NEVER', '--timeout', '1.6423463s'], /: 3 reset, 3 not ready in time in /, 3],
      [['rebase', fleet, '--base', 'other', '--canary', '1', '--wait', 'console=NEVER', '--timeout', '1s'], /: .*1 not ready in time/, 1],
    ];
    await lab.ok('base', 'add', await lab.golden('other.qcow2', { virtualMiB: 16, filledMiB: 2 }));
    // One test is enough on the wider terminal.
    for (const [words, counts] of failing.slice(0, size === sizes[0] ? failing.length : 1)) {
      const result = await run(...words);
      expect(result).toMatchObject({ exitCode: 4, text: expect.stringMatching(counts) });
      expect(complaints(result)).toEqual([]);
      const [, told = ''] = /members? failed:\n([\s\S]*)/.exec(result.text) ?? [];
      expect(told.match(/→/g)).toHaveLength(1);
      expect(told.match(/: /g)?.length).toBeGreaterThan(0);
      for (const { label, done, total, line } of barsOf(result.text))
        if (/starting|waiting/.test(label) && done < total) expect(line).toMatch(new RegExp(`${done}/${total} · ${total - done} failed`));
    }
    const uuid = (await virsh('domuuid', `${fleet}-005`)).trim();
    await virsh('undefine', `${fleet}-005`);
    await lab.defineForeign(`${fleet}-005`, `<uuid>${uuid}</uuid>`);
    const torn = await run('teardown', fleet, '--yes');
    expect(torn).toMatchObject({ exitCode: 4, text: expect.stringMatching(/: 5 removed, 1 failed in [\s\S]*-005.*: [\s\S]*→ /) });
  });

  it('waiting shows members, stages, and elapsed time', async () => {
    const fleet = lab.fleet('wait');
    await lab.ok(...spawning(fleet, 2));
    const waiting = new TerminalRun(lab, ['reset', fleet, '--wait', 'console=NEVER', '--timeout', '60s'], size);
    await waiting.shows(/█* waiting 0\/2 · 0:0[1-9] · console: 001 002/);
    waiting.type('\u0003');
    const remains = await waiting.end();
    expect(remains.exitCode).toBe(130);
    expect(remains.text).toMatch(
      /^Interrupted: finishing current steps[\s\S]*waiting 0\/2 · [\s\S]*^Interrupted: all members are done; readiness was not confirmed\.$/m,
    );
    expect(complaints(remains)).toEqual([]);
  });

  it('Ctrl-C shows completed work and the command to continue', async () => {
    const fleet = lab.fleet('stopped');
    const one = ['--concurrency', '1'];
    const log = lab.path('fleets', fleet, 'operation.log');
    const isUnderWay = async (): Promise<boolean> => (await readFile(log, 'utf8').catch(() => '')) !== '';
    /** @param bar when to press it; undefined for a command that may be too fast for bars */
    const isLeft = async (bar: RegExp | undefined, counts: RegExp, ...words: string[]): Promise<void> => {
      const verb = new TerminalRun(lab, words, size);
      await (bar === undefined ? until('a member to be done', isUnderWay) : verb.shows(bar));
      verb.type('\u0003');
      const remains = await verb.end();
      expect(remains).toMatchObject({ exitCode: 130, text: expect.stringMatching(counts) });
      expect(remains.text).toMatch(
        /^Interrupted: finishing current steps[\s\S]*Interrupted: \d+ members? not done\.\s+Finish it with:\s+cowherd\s+resume\s+cwt-/m,
      );
      expect(complaints(remains)).toEqual([]);
      if (bar !== undefined) expect(barsOf(remains.text).some(({ done, total }) => done < total)).toBe(true);
    };
    await isLeft(/starting [1-3]\/8/, /: \d+ created, \d+ started, \d+ not done/, ...spawning(fleet, 8, ...one));
    expect((await run('resume', fleet)).text).toMatch(/: .*started.* in /);
    // The other long commands do not depend on the width of the terminal.
    if (size === sizes[0]) {
      await isLeft(/(starting|creating disks) [1-3]\/8/, /: \d+ reset, .*\d+ not done/, 'reset', fleet, ...one);
      await lab.ok('resume', fleet);
      await isLeft(/saving [1-3]\/8/, /: \d+ checkpointed, \d+ not done/, 'checkpoint', fleet, ...one);
      await lab.ok('resume', fleet);
      await lab.ok('base', 'add', await lab.golden('third.qcow2', { virtualMiB: 16, filledMiB: 3 }));
      await isLeft(/defining [1-3]\/8/, /: \d+ rebased, .*\d+ not done/, 'rebase', fleet, '--base', 'third', '--batch', '1');
      await lab.ok('resume', fleet);
    }
    await isLeft(undefined, /: \d+ removed, \d+ not done/, 'teardown', fleet, '--yes', ...one);
    expect((await run('resume', fleet)).text).toMatch(/: .*removed in /);
  });
});

describe('colors', () => {
  it('distinguish states on a terminal and respect NO_COLOR, FORCE_COLOR and TERM=dumb', async () => {
    const lab = await Lab.open();
    try {
      const [size] = sizes as [Size];
      const fleet = lab.fleet('color');
      await lab.ok(
        'spawn',
        fleet,
        '--base',
        await lab.golden('golden.qcow2', { virtualMiB: 16 }),
        '--count',
        '1',
        '--virt-type',
        'qemu',
        ...guest,
      );
      const look = async (env: Record<string, string>): Promise<string> => (await inTerminal(lab, ['status', fleet], size, env)).bytes;
      expect(await look({})).toContain('\u001b[32mrunning\u001b[39m');
      expect(await look({ NO_COLOR: '1' })).not.toContain('\u001b');
      expect(await look({ TERM: 'dumb' })).not.toContain('\u001b');
      expect(await look({ TERM: 'dumb', FORCE_COLOR: '1' })).toContain('\u001b[32mrunning');
      // A terminal without control codes gets no bars, but the same result.
      const reset = await inTerminal(lab, ['reset', fleet], size, { TERM: 'dumb' });
      expect(reset.bytes).not.toContain('\u001b');
      expect(reset.text).toMatch(/: 1 reset, 1 started in /);
    } finally {
      await lab.close();
    }
  });
});
