import pLimit from 'p-limit';
import type { Ports } from '../../../ports/index.js';
import { assertOn } from '../../../services/fleet/members.js';
import { Refused } from '../refusal.js';
import { loadMember } from './member.js';

/** Pictures that are taken at the same time. */
const atOnce = 2;

const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

export interface Screenshot {
  type: 'image/png' | 'image/x-portable-pixmap';
  bytes: Buffer;
}

export class Screenshots {
  readonly #ports: Ports;
  readonly #limit = pLimit(atOnce);
  /** Pages that ask for the same picture get one. */
  readonly #running = new Map<string, Promise<Screenshot>>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  take(fleet: string, index: number): Promise<Screenshot> {
    const key = `${fleet} ${index}`;
    const running = this.#running.get(key) ?? this.#limit(() => this.#take(fleet, index)).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return running;
  }

  async #take(fleet: string, index: number): Promise<Screenshot> {
    const found = await loadMember(this.#ports, fleet, index);
    await assertOn(this.#ports, found);
    const bytes = await this.#ports.dashboard.screenshot(found.member.name);
    return { type: typeOf(bytes), bytes };
  }
}

/** By its content, which is QEMU's: a browser must not take it for anything else. */
function typeOf(bytes: Buffer): Screenshot['type'] {
  if (bytes.subarray(0, png.length).equals(png)) return 'image/png';
  if (/^P6\s/.test(bytes.toString('latin1', 0, 3))) return 'image/x-portable-pixmap';
  throw new Refused(502, 'TOOL_FAILED', 'QEMU returned no picture');
}
