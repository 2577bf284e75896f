import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Config } from '@oclif/core';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileServer } from '../../support/download/file-server.js';
import { ForeignDomain } from '../../support/foreign-domains.js';
import { bin, guest, Lab } from '../../support/lab.js';
import { longIt } from '../../support/long.js';
import { inVanishingTerminal, type Streams, withStreams } from '../../support/terminal/streams.js';

/** Exit codes for a host error, and for results that could not be written. */
const lost = 8;

/** Run until they are stopped. */
const endless: ReadonlySet<string> = new Set(['dashboard', 'events']);

interface Cell {
  words: string[];
  /** The exit code with working streams. */
  exitCode: number;
  /** Whether it writes to stdout. */
  tells: boolean;
}

const cell = (words: string, exitCode = 0, tells = exitCode === 0): Cell => ({ words: words.split(' '), exitCode, tells });

/**
 * Every command, in an order in which each has something to do. With `head`, read-only commands that print like others are skipped,
 * because starting Node.js for each is expensive.
 */
function everyVerb(lab: Lab, how: Streams, golden: string, { domain, url }: { domain: string; url: string }): Cell[] {
  const fleet = lab.fleet(how);
  const member = `${fleet}-001`;
  const base = `b${how}`;
  const only = (wanted: Streams, cells: string[]): Cell[] => (how === wanted ? cells.map((words) => cell(words)) : []);
  return [
    // Failures on this host do not matter: lost output has a higher exit code.
    ...only('full', ['doctor', 'schema', 'config', 'completion bash']),
    cell(`base add ${golden} --name ${base}`),
    cell(`base pull ${url} --as n${how}`),
    ...only('full', ['base catalog', `base update n${how}`, `base prepare ${base} --as x${how} --run true --dry-run`]),
    cell(`spawn ${fleet} --base ${base} --count 2 --virt-type qemu ${guest.join(' ')} --wait console=OK`),
    cell(`checkpoint ${fleet}`),
    ...only('full', [`reset ${fleet} --warm`]),
    cell(`reset ${fleet}`),
    ...[`status ${fleet}`, `inventory ${fleet}`, `logs ${member}`].map((words) => cell(words)),
    ...only('full', ['list', `report ${fleet}`, `template render ${fleet} 1`, `template eject ${lab.scratch}/${how}.hbs`]),
    ...only('full', ['base list', `base inspect ${base}`, `base history ${base}`, `base verify ${base}`]),
    cell(`base export ${base} ${lab.scratch}/${how}.qcow2`),
    cell(`console ${member}`, 2),
    cell(`stop ${fleet} --timeout 1s --force`),
    cell(`exec ${fleet} -- true`, 4, true),
    cell(`cp ${golden} ${fleet}:/x`, 4, true),
    cell(`ssh ${member}`, 8),
    cell(`compact ${fleet}`),
    cell(`promote ${member} --as p${how}`),
    cell(`rebase ${fleet} --base p${how}`),
    cell(`start ${fleet}`),
    cell(`resume ${fleet}`),
    cell(`base relocate ${fleet}`),
    ...['snapshot take', 'snapshot rollback --yes', 'snapshot commit --yes'].map((words) => cell(`${words} ${domain}`)),
    ...only('full', [`snapshot list ${domain}`]),
    ...['snapshot take', 'snapshot drop --yes'].map((words) => cell(`${words} ${domain}`)),
    cell(`verify ${fleet}`),
    cell(`base remove ${base}`),
    cell('base prune'),
    cell(`teardown ${fleet} --yes`),
  ];
}

describe.concurrent('broken standard streams', () => {
  let lab: Lab;
  let golden: string;
  let server: FileServer;
  beforeAll(async () => {
    lab = await Lab.open();
    golden = await lab.golden('golden.qcow2');
    server = await FileServer.start();
  });
  afterAll(async () => {
    await server.close();
    await lab.close();
  });

  const spawning = (fleet: string, count: number, ...more: string[]): string[] => [
    ...['spawn', fleet, '--base', golden, '--count', String(count), '--virt-type', 'qemu', ...guest, ...more],
  ];

  longIt.each(['full', 'head'] as const)('do not stop a command from doing its work: %s', async (how) => {
    const domain = (await ForeignDomain.define(lab, how, ['qcow2'])).name;
    const url = server.serve(`/${how}.qcow2`, await readFile(golden));
    const verbs = everyVerb(lab, how, golden, { domain, url });
    const wrong: object[] = [];
    for (const { words, exitCode, tells } of verbs) {
      const expected = how === 'full' && tells ? Math.max(exitCode, lost) : exitCode;
      const result = await withStreams(lab, how, words);
      if (result.exitCode !== expected) wrong.push({ verb: words.join(' '), expected, ...result });
      if (how === 'head' && tells && result.output === '') wrong.push({ verb: words.join(' '), says: 'nothing' });
    }
    expect(wrong).toEqual([]);
    if (how !== 'full') return;
    const config = await Config.load(fileURLToPath(new URL('../../..', import.meta.url)));
    const own = config.commands.filter(({ pluginName, id, aliases }) => pluginName === 'cowherd' && !aliases.includes(id));
    const all = own.map(({ id }) => id.replaceAll(':', ' '));
    expect(all.filter((id) => !endless.has(id) && !verbs.some(({ words }) => `${words.join(' ')} `.startsWith(`${id} `)))).toEqual([]);
  });

  it('that were closed are never opened as files of the store, by cowherd or by the tools that it starts', async () => {
    const fleet = lab.fleet('closed');
    const tools = join(lab.scratch, 'tools');
    const log = join(lab.scratch, 'descriptors');
    await mkdir(tools);
    for (const tool of ['virsh', 'qemu-img', 'flock']) {
      const real = (await execa('which', [tool])).stdout;
      const record = `seen=$(for pid in $$ $PPID; do readlink /proc/$pid/fd/0 /proc/$pid/fd/1 /proc/$pid/fd/2; done); echo "$seen" >>${log}`;
      await writeFile(join(tools, tool), `#!/bin/sh\n${record}\nexec ${real} "$@"\n`, { mode: 0o755 });
    }
    const env = { ...lab.env, PATH: `${tools}:${process.env.PATH}` };
    for (const words of [spawning(fleet, 2), ['reset', fleet]]) {
      const closed = ['-c', '"$@" <&- >&- 2>&-', 'bash', process.execPath, bin, ...words];
      expect((await execa('bash', closed, { env, reject: false })).exitCode).toBe(0);
    }
    const seen = (await readFile(log, 'utf8')).trim().split('\n');
    expect(seen.length).toBeGreaterThan(30);
    expect(seen.filter((path) => !/^(\/dev\/null|(pipe|socket):\[\d+\])$/.test(path))).toEqual([]);
    expect((await lab.ok('verify', fleet)).findings).toEqual([]);
  });

  it('do not abort members when the reader of progress exits, and lost results are reported', async () => {
    const fleet = lab.fleet('unread');
    await lab.ok(...spawning(fleet, 4));
    expect(await withStreams(lab, 'unread', ['reset', fleet])).toEqual({ exitCode: 0, output: '' });
    const { counts, unfinished } = await lab.ok('status', fleet);
    expect([counts.running, unfinished]).toEqual([4, undefined]);
    const { output } = await withStreams(lab, 'results', ['status', fleet]);
    expect(output).toMatch(/could not be written: ENOSPC.*→ /s);
  });

  it('cancel a command when they are a terminal that closes, and the journal is kept', async () => {
    const fleet = lab.fleet('gone');
    await lab.ok(...spawning(fleet, 8));
    const log = lab.path('fleets', fleet, 'operation.log');
    const isUnderWay = async (): Promise<boolean> => (await readFile(log, 'utf8').catch(() => '')) !== '';
    expect(await inVanishingTerminal(lab, ['reset', fleet, '--concurrency', '1'], isUnderWay)).toBe(130);
    const { unfinished } = await lab.ok('status', fleet);
    expect(unfinished).toMatchObject({ verb: 'reset', pid: null, total: 8 });
    expect(unfinished.done).toBeLessThan(8);
    await lab.ok('resume', fleet);
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 8 });
  });

  it('end output-only commands and a confirmation when they are a terminal that closes', async () => {
    const fleet = lab.fleet('watched');
    await lab.ok(...spawning(fleet, 1, '--wait', 'console=OK'));
    const shows = (text: string) => (screen: string) => screen.includes(text);
    const ends = await Promise.all([
      inVanishingTerminal(lab, ['status', fleet, '--watch'], shows('running')),
      inVanishingTerminal(lab, ['logs', `${fleet}-001`, '--follow'], shows('OK')),
      inVanishingTerminal(lab, ['teardown', fleet], shows('[y/N]')),
    ]);
    // 129: the last SIGHUP arrived after the work.
    for (const exitCode of ends) expect([0, 3, 129, 130]).toContain(exitCode);
    expect((await lab.ok('status', fleet)).counts).toMatchObject({ running: 1 });
  });
});
