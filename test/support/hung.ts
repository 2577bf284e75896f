import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type Lab, until, uri, virsh } from './lab.js';

/** QEMUs that hang for a test, and go on whatever becomes of it. */
export class HungQemus {
  readonly #pids = new Set<number>();
  readonly #pipes: Array<{ pipe: string; call: Promise<unknown> }> = [];
  readonly #lab: Lab;

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  static async pidOf(domain: string): Promise<number> {
    return Number(await readFile(`/run/libvirt/qemu/${domain}.pid`, 'utf8'));
  }

  /** The whole process stands still. */
  async stop(domain: string): Promise<void> {
    await this.watch(domain);
    process.kill(await HungQemus.pidOf(domain), 'SIGSTOP');
  }

  /** One that is stopped by something else on behalf of the test. */
  async watch(domain: string): Promise<void> {
    this.#pids.add(await HungQemus.pidOf(domain));
  }

  /** The process runs, and its main loop waits: it was told to write to a pipe that nothing reads. libvirt waits for that call. */
  async blockMonitor(domain: string): Promise<void> {
    const pipe = join(this.#lab.scratch, `${domain}-${this.#pipes.length}-${Date.now()}.pipe`);
    await execa('mkfifo', ['-m', '666', pipe]);
    const words = { execute: 'pmemsave', arguments: { val: 0, size: 512, filename: pipe } };
    const call = execa('virsh', ['-q', '-c', uri, 'qemu-monitor-command', domain, JSON.stringify(words)], { reject: false });
    await until(`the monitor of ${domain} to hang`, async () => (await virsh('domcontrol', domain)).startsWith('occupied'));
    this.#pipes.push({ pipe, call });
  }

  async goOn(): Promise<void> {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It was ended meanwhile.
      }
    }
    this.#pids.clear();
    for (const { pipe, call } of this.#pipes.splice(0)) {
      // Open for both, it never waits; with a reader there, QEMU's own open comes through.
      const reader = await open(pipe, 'r+');
      await call;
      await reader.close();
    }
  }
}
