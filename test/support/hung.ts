import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type Lab, until, uri, virsh } from './lab.js';

/** QEMU processes that hang for a test, and always continue afterwards. */
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

  /** The whole process is stopped. */
  async stop(domain: string): Promise<void> {
    await this.watch(domain);
    process.kill(await HungQemus.pidOf(domain), 'SIGSTOP');
  }

  /** A process that is stopped in another way for the test. */
  async watch(domain: string): Promise<void> {
    this.#pids.add(await HungQemus.pidOf(domain));
  }

  /** The process runs, but its main loop waits for a write to a pipe without a reader. libvirt waits for that call. */
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
        // It has exited meanwhile.
      }
    }
    this.#pids.clear();
    for (const { pipe, call } of this.#pipes.splice(0)) {
      // Opened for reading and writing, it never waits; and with a reader, QEMU's open succeeds.
      const reader = await open(pipe, 'r+');
      await call;
      await reader.close();
    }
  }
}
