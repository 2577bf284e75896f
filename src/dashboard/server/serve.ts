import type { Host, HostOptions } from '../../host.js';
import { Access } from './access/access.js';
import { inUrl, isWildcard, OwnHosts } from './access/hosts.js';
import { Sessions } from './access/sessions.js';
import { OneTimeToken } from './access/tokens.js';
import { Jobs } from './actions/jobs.js';
import { requestListener } from './app.js';
import type { FlagText } from './context.js';
import { assertSafe, type ListenOptions, listen, makeServer } from './listen.js';
import { Live } from './live/live.js';
import { Page } from './page.js';
import { Sockets } from './sockets/sockets.js';

export interface DashboardOptions extends FlagText {
  host: Host;
  /** Opens a host for an action. */
  open: (options: HostOptions) => Promise<Host>;
  version: string;
  isReadOnly: boolean;
  listen: ListenOptions;
  /** How long actions wait for locks of other runs, in milliseconds. */
  lockTimeoutMs?: number | undefined;
  /** Called with a URL for another browser, once the previous one was used. */
  onUrl: (url: string) => void;
  /** Cancels readings for pages. */
  signal: AbortSignal;
}

export interface Dashboard {
  /** Opens one session. */
  url: string;
  /** Whether browsers stay signed in if the server is started again. */
  isKept: boolean;
  /** Actions that are running. */
  readonly running: number;
  /** Stops accepting connections, cancels the actions, and waits until they have finished their current steps. */
  close(): Promise<void>;
}

/** @throws BAD_USAGE, FILE_NOT_FOUND */
export async function serveDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { host, isReadOnly, signal, withFlags, withFlagsIn } = options;
  const { address, tls } = options.listen;
  assertSafe(options.listen);
  const page = new Page(await host.dashboard.pageFiles());
  const keys = await host.dashboard.sessionKeys();
  const scheme = tls === undefined ? 'http' : 'https';
  const token = new OneTimeToken();
  const ownHosts = new OwnHosts(address, scheme, [host.machine.hostName()]);
  const sessions = new Sessions(keys, { isSecure: tls !== undefined, now: () => host.clock.now().getTime() });
  const access = new Access(ownHosts, sessions, token);
  const jobs = makeJobs(options);
  const live = new Live(host, aboutOf(options), jobs);
  jobs.onChange = () => live.noticeChange();
  const sockets = new Sockets({ host, access, isReadOnly, withFlagsIn });
  let urlOf = (): string => '';
  const onSignIn = (): void => options.onUrl(urlOf());
  const server = makeServer(requestListener({ host, access, page, live, jobs, isReadOnly, withFlags, withFlagsIn, onSignIn, signal }), tls);
  server.on('upgrade', (request, socket, head) => sockets.upgrade(request, socket, head));
  const port = await listen(server, options.listen);
  const name = isWildcard(address) ? host.machine.hostName() : inUrl(address);
  urlOf = () => `${scheme}://${name}:${port}/?token=${token.current}`;
  return {
    url: urlOf(),
    isKept: keys.isKept,
    get running() {
      return jobs.running;
    },
    close: async () => {
      server.close();
      sockets.close();
      await jobs.close();
      await live.close();
      server.closeAllConnections();
    },
  };
}

function makeJobs({ host, open, lockTimeoutMs }: DashboardOptions): Jobs {
  const { uri } = host.hypervisor;
  const store = host.fleets.root;
  return new Jobs((job) => open({ ...job, connect: uri, store, lockTimeoutMs }), host.clock);
}

function aboutOf({ host, version, isReadOnly }: DashboardOptions): ConstructorParameters<typeof Live>[1] {
  return {
    version,
    host: host.machine.hostName(),
    uri: host.hypervisor.uri,
    store: host.fleets.root,
    user: host.machine.userName(),
    isReadOnly,
  };
}
