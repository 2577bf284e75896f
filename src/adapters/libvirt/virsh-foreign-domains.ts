import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ForeignDomains, ManagedState } from '../../ports/index.js';
import { isSystemUri } from './connection.js';
import { faultOf, isTimeout, silentDomain, virshError } from './session/virsh-errors.js';
import { domainWord } from './session/virsh-words.js';
import type { VirshCalls } from './virsh-calls.js';

/** Domains that cowherd did not create, through persistent virsh sessions. */
export class VirshForeignDomains implements ForeignDomains {
  readonly #uri: string;
  readonly #virsh: Pick<VirshCalls, 'run' | 'readDefinition'>;

  constructor(uri: string, virsh: Pick<VirshCalls, 'run' | 'readDefinition'>) {
    this.#uri = uri;
    this.#virsh = virsh;
  }

  nvramPath(name: string): string {
    const state = isSystemUri(this.#uri) ? '/var/lib/libvirt' : join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'libvirt');
    return join(state, 'qemu', 'nvram', `${name}_VARS.fd`);
  }

  definition(domain: string): Promise<string | undefined> {
    // Without --security-info, redefining the domain would lose its passwords.
    return this.#xml(domain, '--inactive --security-info ');
  }

  running(domain: string): Promise<string | undefined> {
    return this.#xml(domain, '');
  }

  async #xml(domain: string, flags: string): Promise<string | undefined> {
    const doing = `read the XML of ${domain}`;
    const reply = await this.#virsh.readDefinition(`dumpxml ${flags}${domainWord(domain)}`).catch((cause: unknown) => {
      throw isTimeout(cause) ? silentDomain(domain, doing, cause) : cause;
    });
    if (faultOf(reply.error) === 'domain not found') return undefined;
    if (reply.error !== '') throw virshError(doing, reply.error);
    return reply.stdout;
  }

  async managedState(): Promise<ManagedState> {
    const [transient, managedSave, snapshots, checkpoints] = await Promise.all([
      this.#names('--transient'),
      this.#names('--with-managed-save'),
      this.#names('--with-snapshot'),
      this.#names('--with-checkpoint'),
    ]);
    return { transient, managedSave, snapshots, checkpoints };
  }

  async #names(filter: string): Promise<Set<string>> {
    const reply = await this.#virsh.run(`list --all --name ${filter}`);
    if (reply.error !== '') throw virshError('list domains', reply.error);
    return new Set(
      reply.stdout
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== ''),
    );
  }
}
