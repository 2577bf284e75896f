import { readdir } from 'node:fs/promises';
import { expect, inject } from 'vitest';
import { domains, Lab } from './lab.js';

/** Base images that are prepared in real Linux guests. */
export class PrepareLab extends Lab {
  /** A lab for the tests of the surrounding describe. */
  static here(prepare?: () => Promise<void>): PrepareLab {
    return PrepareLab.useAs(new PrepareLab(), prepare);
  }

  /** Options of a small VM. */
  readonly machine = ['--memory', '128MiB', '--network', 'none'];

  /** The words of `base prepare`. @param image without the lab's prefix */
  words(image: string, ...more: string[]): string[] {
    return ['base', 'prepare', inject('tinyImage'), '--as', this.fleet(image), ...this.machine, ...more];
  }

  async images(image: string): Promise<any[]> {
    return (await this.ok('base', 'list')).bases.filter(({ name }: { name: string }) => name === this.fleet(image));
  }

  /** Output of a command in each member. */
  async said(fleet: string, command: string): Promise<string[]> {
    const { members } = await this.ok('exec', fleet, '--via', 'agent', '--', '/bin/sh', '-c', command);
    return members.map(({ stdout }: { stdout: string }) => stdout.trim());
  }

  /** Nothing of a preparation is left except its images. @param fleets that exist */
  async expectNothingLeft(fleets: readonly string[] = []): Promise<void> {
    expect((await domains()).filter((name) => name.includes(`-${this.id}-prepare`))).toEqual([]);
    expect((await readdir(this.path('fleets')).catch(() => [])).filter((name) => !name.startsWith('.'))).toEqual(fleets);
    const files = await readdir(this.path('bases'), { recursive: true }).catch(() => []);
    expect(files.filter((name) => name.includes('partial'))).toEqual([]);
    expect((await this.ok('verify')).findings).toEqual([]);
  }
}
