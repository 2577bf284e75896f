import { afterEach, vi } from 'vitest';
import { type Dashboard, type DashboardOptions, serveDashboard } from '../../src/dashboard/server/serve.js';
import { FakeDashboardHost } from '../fakes/dashboard-host.js';
import { DashboardClient } from './dashboard-client.js';

/** The real server and real connections, without libvirt. */
export class DashboardServer {
  readonly fake = new FakeDashboardHost();
  /** For further browsers, in the order in which they were told. */
  readonly urls: string[] = [];
  /** Servers that are running. */
  readonly open: Dashboard[] = [];

  /** Ends its servers after each test. */
  static use(): DashboardServer {
    const one = new DashboardServer();
    afterEach(async () => {
      for (const dashboard of one.open.splice(0)) await dashboard.close();
      one.urls.length = 0;
      one.fake.consoles.length = 0;
    });
    return one;
  }

  readonly serve = async (more: Partial<DashboardOptions> = {}): Promise<Dashboard> => {
    const dashboard = await serveDashboard({
      host: this.fake.host,
      open: async () => this.fake.host,
      version: '0.0.0',
      isReadOnly: false,
      listen: { address: '127.0.0.1' },
      withFlags: (text) => text.replaceAll('cowherd ', 'cowherd --store /s '),
      withFlagsIn: (document) => document,
      onUrl: (url) => this.urls.push(url),
      signal: new AbortController().signal,
      ...more,
    });
    this.open.push(dashboard);
    return dashboard;
  };

  readonly signedIn = async (more: Partial<DashboardOptions> = {}): Promise<DashboardClient> => {
    const client = new DashboardClient((await this.serve(more)).url);
    await client.signIn();
    return client;
  };
}

export const soon = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitFor(check, { timeout: 20_000, interval: 20 });

export const resetRequest = { verb: 'reset', fleet: 'lab', members: [1] };
