import { type Cloud, openCloud } from '../../../src/engines/nova/cloud.js';
import type { ClientOptions } from '../../../src/engines/nova/http/client.js';
import { findSettings } from '../../../src/engines/nova/settings/find-settings.js';
import type { Clock } from '../../../src/ports/machine.js';
import type { FakeCloud } from './fake-cloud.js';

/** A clock whose pauses take no time, but count. */
export class FastClock implements Clock {
  /** ms of all pauses so far. */
  slept = 0;
  /** Every pause, in ms. */
  readonly pauses: number[] = [];

  monotonic(): number {
    return performance.now() + this.slept;
  }

  /** ms of this clock for which the code has waited. */
  get waited(): number {
    return this.slept;
  }

  now(): Date {
    return new Date(Date.parse('2026-01-01T00:00:00Z') + this.monotonic());
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    this.slept += milliseconds;
    this.pauses.push(milliseconds);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A clock that runs faster than real time, for what happens at the same time. */
export class QuickClock extends FastClock {
  readonly #began = performance.now();

  constructor(private readonly speed = 20) {
    super();
  }

  override monotonic(): number {
    return (performance.now() - this.#began) * this.speed;
  }

  override get waited(): number {
    return this.monotonic();
  }

  override async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds / this.speed);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** Opens a fake cloud as a user would, with the OS_* variables. */
export async function openFake(
  fake: FakeCloud,
  { variables = {}, ...options }: Partial<ClientOptions> & { variables?: Record<string, string> } = {},
): Promise<Cloud> {
  const settings = await findSettings('openstack:///', { environment: { ...fake.environment, ...variables } });
  return openCloud(settings, { clock: new FastClock(), random: () => 0, ...options });
}

/** The least that a cloud says about itself: login, catalog and version. */
export function basics(fake: FakeCloud, { max = '2.93', life = 3600 }: { max?: string; life?: number } = {}): void {
  const endpoint = (service: 'compute' | 'image' | 'network', path: string): object => ({
    type: service,
    endpoints: [{ interface: 'public', region_id: 'RegionOne', url: `${fake.urlOf(service)}${path}` }],
  });
  fake.on(({ service, method, path }) => {
    if (service === 'identity' && method === 'POST') {
      const issued = Date.parse('2026-01-01T00:00:00Z');
      const token = {
        ...{ issued_at: new Date(issued).toISOString(), expires_at: new Date(issued + life * 1000).toISOString() },
        ...{ user: { id: 'u', name: 'user' }, project: { id: 'p', name: 'project' }, roles: [{ name: 'member' }] },
        catalog: [endpoint('compute', '/v2.1'), endpoint('image', ''), endpoint('network', '')],
      };
      return { status: 201, reply: { token } };
    }
    if (service === 'compute' && path === '/v2.1/') {
      return { status: 200, reply: { version: { id: 'v2.1', version: max, min_version: '2.1' } } };
    }
    return undefined;
  });
}

/** A server as the API shows it. */
export function rawServer(id: string, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id,
    name: id,
    status: 'ACTIVE',
    'OS-EXT-STS:task_state': null,
    created: '2026-01-01T00:00:00Z',
    tags: [],
    metadata: {},
    ...fields,
  };
}
