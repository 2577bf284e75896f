import { readFile } from 'node:fs/promises';

/** QEMUs that are stopped for a test, and go on whatever becomes of it. */
export class StoppedQemus {
  readonly #pids = new Set<number>();

  static async pidOf(domain: string): Promise<number> {
    return Number(await readFile(`/run/libvirt/qemu/${domain}.pid`, 'utf8'));
  }

  async stop(domain: string): Promise<void> {
    const pid = await StoppedQemus.pidOf(domain);
    this.#pids.add(pid);
    process.kill(pid, 'SIGSTOP');
  }

  /** One that was stopped by something else on behalf of the test. */
  async watch(domain: string): Promise<void> {
    this.#pids.add(await StoppedQemus.pidOf(domain));
  }

  goOn(): void {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, 'SIGCONT');
      } catch {
        // It was ended meanwhile.
      }
    }
    this.#pids.clear();
  }
}
