import { setTimeout as sleep } from 'node:timers/promises';
import { serveDashboard } from '../../src/dashboard/server/serve.js';
import { openHost } from '../../src/host.js';

/**
 * The dashboard of a store whose fleet has too many members for one machine, and more changes than real guests cause:
 * libvirt is faked, everything else is real.
 *
 *   busy-host.ts STORE FLEET CHANGES-PER-SECOND
 *
 * Prints its URL, then every second its resident memory in bytes.
 */
const [store = '', fleet = '', rate = ''] = process.argv.slice(2);
const host = await openHost({ store, connect: 'qemu:///system' });
const members = (await host.fleets.read(fleet))?.members ?? [];
const stopped = new Set<string>();

const busy: typeof host = {
  ...host,
  hypervisor: Object.assign(Object.create(host.hypervisor), {
    uri: host.hypervisor.uri,
    listDomains: async () =>
      members.map(({ name, uuid }) => ({ name, uuid, state: stopped.has(name) ? 'shutOff' : 'running', reason: 'booted' })),
  }),
  events: {
    ...host.events,
    watchDomains: async (listener, signal) => {
      listener.onConnect();
      while (!signal.aborted) {
        const name = members[Math.floor(Math.random() * members.length)]?.name ?? '';
        const isStart = stopped.delete(name);
        if (!isStart) stopped.add(name);
        const detail = isStart ? 'Started Booted' : 'Stopped Shutdown';
        listener.onEvent({ time: new Date().toISOString(), domain: name, event: 'lifecycle', detail });
        await sleep(1000 / Number(rate), undefined, { signal }).catch(() => undefined);
      }
    },
  },
};
const print = (text: string): void => void process.stdout.write(`${text}\n`);
const dashboard = await serveDashboard({
  host: busy,
  open: openHost,
  version: '0',
  isReadOnly: true,
  listen: { port: undefined, address: '127.0.0.1' },
  onUrl: () => undefined,
  withFlags: (text) => text,
  withFlagsIn: (document) => document,
  signal: new AbortController().signal,
});
print(dashboard.url);
setInterval(() => print(String(process.memoryUsage.rss())), 1000);
