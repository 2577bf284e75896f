import { PassThrough } from 'node:stream';
import type { FleetRecord } from '../../src/core/fleet/record.js';
import type { Host } from '../../src/host.js';

/** A host without libvirt, with one fleet of two members whose domains are running: for the server of the dashboard alone. */

const id = '6e074cc1-68a5-4d87-83e5-13638717c8cf';
export const member = (index: number) => ({ index, name: `lab-00${index}`, uuid: `00000000-0000-4000-8000-00000000000${index}`, macs: [] });

export class FakeDashboardHost {
  /** Consoles that were opened, newest last. */
  readonly consoles: Array<{
    domain: string;
    force: boolean;
    input: PassThrough;
    output: PassThrough;
    isClosed: boolean;
    end: () => void;
  }> = [];
  page = new Map([
    ['index.html', Buffer.from('<!DOCTYPE html><html><head><title>cowherd</title></head></html>')],
    ['assets/index-abc.js', Buffer.from('export {}')],
  ]);
  keys = { secret: Buffer.alloc(32, 1), prefix: 'ab'.repeat(16), isKept: true };
  liveXml = '<domain><devices/></domain>';

  readonly #record = { name: 'lab', id, members: [member(1), member(2)] } as unknown as FleetRecord;

  get host(): Host {
    const ports = {
      hypervisor: {
        uri: 'test:///fake',
        listDomains: async () => this.#record.members.map(({ name, uuid }) => ({ name, uuid, state: 'running', reason: 'booted' })),
      },
      domains: { running: async () => this.liveXml },
      fleets: {
        root: '/nonexistent',
        // None is read for the stream.
        list: async () => [],
        read: async (fleet: string) => (fleet === 'lab' ? this.#record : undefined),
      },
      machine: { hostName: () => 'fake-host', userName: () => 'tester' },
      clock: {
        monotonic: () => performance.now(),
        now: () => new Date(),
        sleep: (ms: number, signal?: AbortSignal) =>
          new Promise<void>((resolve) => {
            if (signal?.aborted === true) return resolve();
            const timer = setTimeout(resolve, ms);
            signal?.addEventListener('abort', () => resolve(clearTimeout(timer)), { once: true });
          }),
      },
      events: {
        watchDomains: (_: unknown, signal: AbortSignal) => aborted(signal),
        watchFleets: (_: unknown, signal: AbortSignal) => aborted(signal),
      },
      dashboard: {
        pageFiles: async () => this.page,
        sessionKeys: async () => this.keys,
        console: (domain: string, { force }: { force: boolean }) => this.#console(domain, force),
        screenshot: async () => Buffer.from('<svg onload="alert(1)"/>'),
      },
      close: async () => undefined,
    };
    return ports as unknown as Host;
  }

  #console(domain: string, force: boolean) {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const stream = { domain, force, input: new PassThrough(), output: new PassThrough(), isClosed: false, end, ended };
    this.consoles.push(stream);
    return {
      ...stream,
      close: () => {
        stream.isClosed = true;
        end();
      },
    };
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
