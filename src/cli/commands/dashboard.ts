import { Flags } from '@oclif/core';
import { reportOf } from '../../core/errors.js';
import { type Dashboard, serveDashboard } from '../../dashboard/server/serve.js';
import { type Host, openHost } from '../../host.js';
import { BaseCommand } from '../base-command.js';
import { withFlags, withFlagsIn } from '../terminal/repeated-flags.js';

export default class DashboardCommand extends BaseCommand {
  static override summary = 'Show all fleets in a browser, live, and act on their members, until Ctrl-C.';
  static override description = [
    'Starts a web server on 127.0.0.1 and prints a URL. The URL signs in one browser; then a new one for another browser is printed.',
    'The page shows members as they change, their consoles and screens, and starts, stops, resets, checkpoints and removes them with the',
    'rights of the user who runs this command.\n\n',
    'To reach it from another machine, forward the port (ssh -L 7374:127.0.0.1:7374 HOST), or use --listen with a TLS certificate.',
    'Ctrl-C ends the server. Actions that are running finish their current steps, and can be continued with "cowherd resume".',
  ].join(' ');
  static override examples = [
    { description: 'On this machine', command: '<%= config.bin %> <%= command.id %> --open' },
    { description: 'To look only', command: '<%= config.bin %> <%= command.id %> --read-only' },
    {
      description: 'For other machines, with TLS',
      command: '<%= config.bin %> <%= command.id %> --listen lab.example.com --tls-cert cert.pem --tls-key key.pem',
    },
  ];
  static override flags = {
    port: Flags.integer({ description: 'port to listen on [default: 7374, or a free one if it is in use]', min: 1, max: 65_535 }),
    listen: Flags.string({ description: 'address or name of this host to listen on', default: '127.0.0.1', helpValue: 'ADDRESS' }),
    'tls-cert': Flags.string({ description: 'PEM file with the certificate', dependsOn: ['tls-key'], helpValue: 'FILE' }),
    'tls-key': Flags.string({ description: 'PEM file with its key', dependsOn: ['tls-cert'], helpValue: 'FILE' }),
    open: Flags.boolean({ description: 'open the page in a browser' }),
    'read-only': Flags.boolean({ description: 'show only: no actions, no input to consoles' }),
  };

  async run() {
    const { flags } = await this.parse(DashboardCommand);
    return this.onHost(
      flags,
      async (host, { signal }) => {
        const dashboard = await serveDashboard({
          host,
          open: openHost,
          version: this.config.version,
          isReadOnly: flags['read-only'] === true,
          listen: { port: flags.port, address: flags.listen, tls: await readTls(host, flags['tls-cert'], flags['tls-key']) },
          lockTimeoutMs: flags['lock-timeout'],
          withFlags,
          withFlagsIn,
          onUrl: (url) => this.showNext(url),
          signal,
        });
        try {
          this.showFirst(host, dashboard);
          if (flags.open) await host.dashboard.openBrowser(dashboard.url).catch((error: unknown) => this.noteBrowser(error));
          await aborted(signal);
        } finally {
          if (dashboard.running > 0)
            this.logToStderr(`Finishing the current steps of ${dashboard.running} actions. Press Ctrl-C again to quit now.`);
          await dashboard.close();
        }
        return undefined;
      },
      { isWatch: true },
    );
  }

  private showFirst(host: Host, { url, isKept }: Dashboard): void {
    const user = host.machine.userName();
    if (this.jsonEnabled()) {
      this.logRaw(`${JSON.stringify({ url, user, uri: host.hypervisor.uri, store: host.fleets.root })}\n`);
      return;
    }
    this.log(url);
    this.tell(`The dashboard has the rights of user ${user}. The URL works once: it signs in one browser. End the server with Ctrl-C.`);
    if (!isKept) this.logToStderr('note: browsers must sign in again if the server is started again, since its keys could not be saved.');
  }

  private showNext(url: string): void {
    if (this.jsonEnabled()) this.logRaw(`${JSON.stringify({ url })}\n`);
    else this.log(`Signed in. For another browser: ${url}`);
  }

  private noteBrowser(error: unknown): void {
    this.logToStderr(`note: no browser was started: ${reportOf(error).message}. Open the URL yourself.`);
  }
}

async function readTls(host: Host, cert: string | undefined, key: string | undefined): Promise<{ cert: Buffer; key: Buffer } | undefined> {
  if (cert === undefined || key === undefined) return undefined;
  return { cert: await host.readBytes(cert), key: await host.readBytes(key) };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
