import { hasAgentConnected } from '../../../core/domain/graphics.js';
import type { Ports } from '../../../ports/index.js';
import type { Herd } from './herd.js';

/** Finds out which agents were connected before their events were watched: once per member, in the background. */
export class AgentReader {
  readonly #ports: Pick<Ports, 'domains'>;
  readonly #herd: Herd;
  readonly #signal: AbortSignal;
  readonly #fleets = new Set<string>();
  readonly #tried = new Set<string>();
  #isRunning = false;

  constructor(ports: Pick<Ports, 'domains'>, herd: Herd, signal: AbortSignal) {
    this.#ports = ports;
    this.#herd = herd;
    this.#signal = signal;
  }

  notice(fleet: string): void {
    this.#fleets.add(fleet);
    if (!this.#isRunning) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    for (const fleet of this.#fleets) {
      this.#fleets.delete(fleet);
      for (const { name, hasAgent } of [...(this.#herd.fleet(fleet)?.members.values() ?? [])]) {
        if (hasAgent === null && !this.#tried.has(name)) await this.#read(fleet, name);
        if (this.#signal.aborted) return;
      }
    }
    this.#isRunning = false;
  }

  async #read(fleet: string, name: string): Promise<void> {
    this.#tried.add(name);
    const xml = await this.#ports.domains.running(name).catch(() => undefined);
    const shown = this.#herd.fleet(fleet);
    const row = shown?.members.get(shown.names.get(name) ?? 0);
    // An event may have said it meanwhile.
    if (xml === undefined || row === undefined || row.hasAgent !== null || this.#signal.aborted) return;
    this.#herd.setMember(fleet, { ...row, hasAgent: isConnected(xml) });
  }
}

function isConnected(xml: string): boolean | null {
  try {
    return hasAgentConnected(xml);
  } catch {
    return null;
  }
}
