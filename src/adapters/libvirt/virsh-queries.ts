import { setTimeout } from 'node:timers/promises';
import { XMLParser } from 'fast-xml-parser';
import { metadataNamespace, parseMemberMark } from '../../core/domain/domain-xml.js';
import type { Platform } from '../../core/domain/template.js';
import { CowherdError } from '../../core/errors.js';
import type { DomainState, MemberMark } from '../../core/fleet/observation.js';
import { parseCpuOffers } from './cpu-offers.js';
import { parseDomainStates, parseIdentities } from './domain-states.js';
import { domainWord } from './session/virsh-words.js';
import { VirshCalls } from './virsh-calls.js';
import { assertAbsence, readEach } from './virsh-reads.js';

/** A domain that is being created is in both lists a moment later. */
const listingPausesMs = [50, 100, 300, 600];
const machineOf: Record<string, string> = { x86_64: 'pc', aarch64: 'virt' };

/** What libvirt reports about domains and the host. */
export class VirshQueries extends VirshCalls {
  async listDomains(): Promise<DomainState[]> {
    for (let attempt = 0; ; attempt++) {
      const [identities, states] = await Promise.all([
        this.query('list --all --name --uuid', 'list domains'),
        this.query('domstats --state --nowait', 'list the states of domains'),
      ]);
      const stateOf = parseDomainStates(states);
      const domains = parseIdentities(identities);
      const listed = new Set(domains.map(({ name }) => name));
      const unlisted = [...stateOf.keys()].find((name) => !listed.has(name));
      // A domain was created or renamed between the two answers. If this repeats, the list is incomplete: if it were accepted, a
      // member's domain would seem missing, and its disk would be replaced while in use.
      if (unlisted === undefined)
        return domains.map((domain) => ({ ...domain, ...(stateOf.get(domain.name) ?? { state: 'other' as const, reason: 'unknown' }) }));
      const pauseMs = listingPausesMs[attempt];
      if (pauseMs !== undefined) {
        await setTimeout(pauseMs);
        continue;
      }
      throw new CowherdError('TOOL_FAILED', `libvirt could not list domains: it reports the state of ${unlisted}, but does not list it`, {
        hint: 'Are domains being created or renamed right now? Otherwise try "virsh list --all", and restart libvirtd.',
      });
    }
  }

  async stateOf(name: string): Promise<Pick<DomainState, 'state' | 'reason'>> {
    const states = parseDomainStates(await this.query(`domstats --state --nowait ${domainWord(name)}`, `report the state of ${name}`));
    // Reported by name, even if queried by UUID.
    const [state = { state: 'other', reason: 'unknown' }] = states.values();
    return state;
  }

  async readDiskErrors(names: readonly string[]): Promise<Map<string, string>> {
    const errors = new Map<string, string>();
    await readEach(
      this.pool,
      names,
      {
        command: (name) => `domblkerror ${domainWord(name)}`,
        doing: 'read the disk errors of',
        take: (name, { stdout }) => {
          const why = [...stdout.matchAll(/^(\S+): (no space|unspecified error)/gm)].map(([line]) => line);
          if (why.length > 0) errors.set(name, why.join(', '));
        },
      },
      new Map(),
    );
    return errors;
  }

  async readMarks(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, MemberMark>> {
    const marks = new Map<string, MemberMark>();
    await readEach(
      this.pool,
      names,
      {
        // From the definition, not the running guest: a new definition applies at the next start.
        command: (name) => `metadata --config ${domainWord(name)} ${metadataNamespace}`,
        doing: 'read the metadata of',
        take: (name, reply) => {
          assertAbsence(reply, `read the metadata of ${name}`);
          const mark = reply.error === '' ? parseMemberMark(reply.stdout) : undefined;
          if (mark !== undefined) marks.set(name, mark);
        },
      },
      failed,
    );
    return marks;
  }

  async readXml(names: readonly string[], failed?: Map<string, CowherdError>): Promise<Map<string, string>> {
    const documents = new Map<string, string>();
    await readEach(
      this.pool,
      names,
      {
        command: (name) => `dumpxml --inactive ${domainWord(name)}`,
        doing: 'read the XML of',
        mayWait: true,
        take: (name, reply) => {
          assertAbsence(reply, `read the XML of ${name}`);
          if (reply.error === '') documents.set(name, reply.stdout);
        },
      },
      failed,
    );
    return documents;
  }

  async snapshotsOf(name: string): Promise<{ snapshots: string[]; checkpoints: string[] }> {
    const [snapshots, checkpoints] = await Promise.all(
      ['snapshot', 'checkpoint'].map((kind) => this.query(`${kind}-list ${domainWord(name)} --name`, `list the ${kind}s of ${name}`)),
    );
    return { snapshots: linesOf(snapshots ?? ''), checkpoints: linesOf(checkpoints ?? '') };
  }

  async listSnapshotted(): Promise<Set<string>> {
    const lists = ['--with-snapshot', '--with-checkpoint'].map((filter) =>
      this.query(`list --all --name ${filter}`, 'list domains with snapshots'),
    );
    return new Set((await Promise.all(lists)).flatMap(linesOf));
  }

  async listSaved(): Promise<Set<string>> {
    const names = await this.query('list --all --with-managed-save --name', 'list domains with saved memory');
    return new Set(linesOf(names));
  }

  async versions(): Promise<{ libvirt: string; hypervisor: string }> {
    const said = await this.query('version', 'report its version');
    return {
      libvirt: /^Using library: libvirt (\S+)/m.exec(said)?.[1] ?? 'unknown',
      hypervisor: /^Running hypervisor: (.+)$/m.exec(said)?.[1] ?? 'unknown',
    };
  }

  async platform(virtType: 'kvm' | 'qemu'): Promise<Platform> {
    const xml = await this.query(`domcapabilities --virttype ${virtType}`, `run ${virtType} guests`);
    const capabilities = (new XMLParser({ parseTagValue: false }).parse(xml) as { domainCapabilities?: Record<string, unknown> })
      .domainCapabilities;
    const arch = String(capabilities?.arch ?? 'x86_64');
    return {
      virtType,
      arch,
      machine: machineOf[arch] ?? String(capabilities?.machine ?? ''),
      emulator: String(capabilities?.path ?? ''),
      hasUefi: /<enum name='firmware'>[\s\S]*?<value>efi<\/value>[\s\S]*?<\/enum>/.test(xml.split('<loader', 1)[0] ?? ''),
      // libvirt before 8.0 does not say.
      cpus: parseCpuOffers(xml),
      hasTpm: !xml.includes('<tpm') || /<tpm supported='yes'>[\s\S]*?<value>emulator<\/value>[\s\S]*?<\/tpm>/.test(xml),
    };
  }
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
