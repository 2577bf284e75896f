import { access, chmod, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect } from 'vitest';
import { writeCorpus } from '../../fakes/hostile-agent/corpus.js';
import { seed } from '../../fakes/hostile-agent/seed.js';
import { canary } from '../../fakes/hostile-agent/text.js';
import { checkTerminal, withoutProgress } from '../formats.js';
import { Lab, virsh } from '../lab.js';
import { TestNetwork } from '../network.js';

/** Guests with the agent test/fakes/hostile-agent/root/usr/bin/qemu-ga, and closely checked runs of cowherd against them. */

const build = fileURLToPath(new URL('../../../examples/tiny-linux/build.sh', import.meta.url));
const usage = fileURLToPath(new URL('../../fakes/hostile-agent/usage.mjs', import.meta.url));

/** Allowed exit codes; 1 would be a bug in cowherd. */
const exitCodes = [0, 2, 3, 4, 5, 6, 7, 8];
/** Includes a parsed reply of three megabytes from one member. */
const mostMemoryMiB = 400;
/** Longer than any timeout in these tests, on a busy machine. */
const mostSeconds = 60;

export interface HostileRun {
  exitCode: number;
  /** stdout; on a terminal both streams. */
  text: string;
  /** The result of --json; tests check single fields. */
  json: any;
}

export class HostileLab {
  readonly lab: Lab;
  readonly network: TestNetwork;
  readonly image: string;
  #runs = 0;

  private constructor(lab: Lab, network: TestNetwork) {
    this.lab = lab;
    this.network = network;
    this.image = join(lab.scratch, 'hostile.qcow2');
  }

  static async open(): Promise<HostileLab> {
    await rm(canary, { force: true });
    const lab = await Lab.open();
    const one = new HostileLab(lab, await TestNetwork.open(lab.id, 10, 29));
    await writeCorpus(join(lab.scratch, 'corpus'), seed);
    await execa('bash', [build, one.image, '--add', join(lab.scratch, 'corpus')]);
    await chmod(one.image, 0o644);
    return one;
  }

  /** Sets the agents' replies from now on, for example `guest-exec=good`; other commands cycle through replies. */
  async play(members: readonly string[], script: string): Promise<void> {
    await Promise.all(members.map((member) => this.#tell(member, { execute: 'cwt-play', arguments: { script } })));
  }

  /** Number of prepared replies that a member's agent has sent. */
  async served(member: string): Promise<number> {
    return JSON.parse(await this.#tell(member, { execute: 'cwt-count' })).return;
  }

  async #tell(member: string, command: object): Promise<string> {
    // An agent that was just restarted or disconnected by libvirt takes a moment.
    for (let left = 40; ; left--) {
      try {
        return await virsh('qemu-agent-command', member, JSON.stringify(command), '--timeout', '5');
      } catch (error) {
        if (left === 0) throw error;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  }

  /** Like {@link both}, but gets the JSON without a separate process: for commands with little guest data. */
  async quickly(...args: string[]): Promise<{ document: Pick<HostileRun, 'exitCode' | 'json'>; terminal: HostileRun }> {
    const document = await this.lab.answer(...args);
    expect.soft(exitCodes, `exit code of cowherd ${args.join(' ')}: ${document.exitCode}`).toContain(document.exitCode);
    expect.soft(JSON.stringify(document.json), args.join(' ')).not.toContain('"code":"BUG"');
    return { document, terminal: await this.terminal(...args) };
  }

  /** Runs a command in a separate process, once with --json and once on a terminal. */
  async both(...args: string[]): Promise<{ document: HostileRun; terminal: HostileRun }> {
    return { document: await this.document(...args), terminal: await this.terminal(...args) };
  }

  /** With --json: one JSON document and nothing else. */
  async document(...args: string[]): Promise<HostileRun> {
    const end = args.includes('--') ? args.indexOf('--') : args.length;
    const words = [...args.slice(0, end), '--json', ...args.slice(end)];
    const { exitCode, stdout, stderr } = await this.#run(process.execPath, ['--import', usage, this.lab.bin, ...words], words);
    expect.soft(checkTerminal(stderr), `what ${words.join(' ')} says on stderr`).toEqual([]);
    expect.soft(checkTerminal(stdout), `the document of ${words.join(' ')}`).toEqual([]);
    const json = JSON.parse(stdout);
    expect.soft(JSON.stringify(json), words.join(' ')).not.toContain('"code":"BUG"');
    return { exitCode, text: stdout, json };
  }

  /** On a terminal. */
  async terminal(...args: string[]): Promise<HostileRun> {
    const words = ['--import', usage, this.lab.bin, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const command = `${process.execPath} ${words.join(' ')}`;
    const { exitCode, stdout } = await this.#run('script', ['-qec', command, '/dev/null'], args);
    expect.soft(checkTerminal(stdout, true), `what ${args.join(' ')} shows`).toEqual([]);
    return { exitCode, text: withoutProgress(stdout), json: undefined };
  }

  async #run(command: string, argv: string[], told: readonly string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    const title = `cowherd ${told.join(' ')}`;
    const memory = join(this.lab.scratch, `memory-${++this.#runs}`);
    const began = performance.now();
    const { exitCode, stdout, stderr, timedOut } = await execa(command, argv, {
      env: { ...this.lab.env, CWT_USAGE: memory, TERM: 'xterm', NO_COLOR: '1' },
      reject: false,
      stdin: 'ignore',
      timeout: 2 * mostSeconds * 1000,
    });
    if (process.env.CWT_TIMES) console.error(`${((performance.now() - began) / 1000).toFixed(1)} s ${title}`);
    expect.soft(timedOut, `${title} did not end`).toBe(false);
    expect.soft((performance.now() - began) / 1000, `seconds of ${title}`).toBeLessThan(mostSeconds);
    expect.soft(`${stdout}${stderr}`, title).not.toMatch(/^ {4}at |This is a bug in cowherd/m);
    // "cowherd ssh" returns the exit code of the guest's command.
    if (told[0] !== 'ssh')
      expect.soft(exitCodes, `exit code of ${title}: ${exitCode}\n${stdout.slice(-2000)}${stderr}`).toContain(exitCode);
    expect.soft(Number(await readFile(memory, 'utf8')) / 1024, `MiB of ${title}`).toBeLessThan(mostMemoryMiB);
    await this.assertUnharmed(title);
    return { exitCode: exitCode ?? -1, stdout, stderr };
  }

  /** No command sent by a guest was run. */
  async assertUnharmed(after: string): Promise<void> {
    const isThere = await access(canary).then(
      () => true,
      () => false,
    );
    await rm(canary, { force: true });
    expect.soft(isThere, `a guest's command was run: ${after}`).toBe(false);
  }

  async close(): Promise<void> {
    await this.lab.close();
    await this.network.close();
    await rm(canary, { force: true });
  }
}
