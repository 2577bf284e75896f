import { createHash } from 'node:crypto';
import { lstat, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect } from 'vitest';
import { domains, guest, Lab, virsh } from '../lab.js';

/** exit code, and the code of the error or of the member's */
export type Expected = string;

/** A fleet whose files and domains a test changes behind cowherd's back. The first member is running, the second and the third are stopped. */
export class TamperLab {
  readonly lab: Lab;
  readonly golden: string;
  /** Another base image, in the store as `other`. */
  readonly other: string;
  readonly fleet: string;
  /** A fleet of one stopped member on the same base image. */
  readonly sibling: string;

  private constructor() {
    this.lab = Lab.use(() => this.#prepare());
    this.golden = join(this.lab.scratch, 'golden.qcow2');
    this.other = join(this.lab.scratch, 'other.qcow2');
    this.fleet = this.lab.fleet('t');
    this.sibling = this.lab.fleet('s');
  }

  /** Prepares it before the tests of the surrounding describe. */
  static use(): TamperLab {
    return new TamperLab();
  }

  async #prepare(): Promise<void> {
    const { lab, golden, fleet, sibling } = this;
    await lab.golden('golden.qcow2', { filledMiB: 1, ending: 'power-button' });
    await lab.golden('other.qcow2', { filledMiB: 1 });
    await lab.ok('base', 'add', this.other);
    await lab.ok('spawn', fleet, '--base', golden, '--count', '3', ...guest, '--seed', 'nocloud', '--wait', 'console=^OK');
    await lab.ok('stop', fleet, '2-3');
    await lab.ok('spawn', sibling, '--base', golden, '--count', '1', ...guest, '--no-start');
  }

  readonly name = (index: number): string => `${this.fleet}-00${index}`;
  readonly overlay = (index: number): string => this.lab.overlay(this.fleet, this.name(index));
  readonly state = (...parts: string[]): string => this.lab.path('fleets', this.fleet, ...parts);
  readonly imagePath = async (base: string): Promise<string> => (await this.lab.ok('base', 'inspect', base)).path;

  /** Content, kind and mode of each file, and each domain with its state and definition, except for disks of running guests. */
  readonly world = async (): Promise<Map<string, string>> => {
    const { lab } = this;
    const seen = new Map<string, string>();
    for (const file of (await readdir(lab.store, { recursive: true })).sort()) {
      const path = join(lab.store, file);
      const stats = await lstat(path);
      if (stats.isDirectory() || path === this.overlay(1) || file.startsWith('probes') || file.endsWith('.lock')) continue;
      const content = stats.isFile()
        ? createHash('sha256')
            .update(await readFile(path))
            .digest('hex')
        : 'no file';
      seen.set(file, `${content} ${stats.ino} ${stats.mode}`);
    }
    // One virsh for all of them: one process each would dominate the run time of these tests.
    const ours = (await domains()).filter((domain) => domain.includes(`-${lab.id}-`));
    const asked = ours.flatMap((domain) => [`echo == ${domain}`, `domid ${domain}`, `dumpxml --inactive ${domain}`]);
    for (const part of (await virsh(asked.join('; '))).split('== ')) seen.set(part.slice(0, part.indexOf('\n')), part);
    return seen;
  };

  readonly answer = async (...words: string[]): Promise<{ got: Expected; hint: string; json: any }> => {
    const { exitCode, json } = await this.lab.answer(...words);
    const failed = Array.isArray(json.members) ? json.members.find((row: any) => row.error)?.error : undefined;
    const error = json.error ?? failed;
    return { got: [exitCode, error?.code].filter((part) => part !== undefined).join(' '), hint: error?.hint ?? '', json };
  };

  /** Runs verbs that must not change anything. In their command lines, F is the fleet. */
  readonly expectRefusals = async (what: string, expected: Record<string, Expected>): Promise<void> => {
    const before = await this.world();
    const got: Record<string, Expected> = {};
    for (const line of Object.keys(expected)) {
      const reply = await this.answer(...line.split(' ').map((word) => (word === 'F' ? this.fleet : word)));
      got[line] = reply.got;
      if (reply.got !== '0') expect([what, line, reply.hint]).toEqual([what, line, expect.stringMatching(/\w/)]);
    }
    expect({ what, ...got }).toEqual({ what, ...expected });
    expect([what, await this.world()]).toEqual([what, before]);
  };

  readonly overwrite = async (path: string, at: number, byte: string): Promise<void> => {
    const handle = await open(path, 'r+');
    await handle.write(Buffer.from(byte), 0, 1, at);
    await handle.close();
  };

  readonly copyOf = async (from: string, beside: string): Promise<string> => {
    await execa('cp', ['-p', from, `${beside}.copy`]);
    return `${beside}.copy`;
  };

  readonly overlayOn = async (image: string, path: string): Promise<void> => {
    await rm(path);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, path]);
  };
}
