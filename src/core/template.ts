import Handlebars from 'handlebars';
import type { BaseImage } from './base.js';
import { memberMetadata } from './domain-xml.js';
import { CowherdError } from './errors.js';
import type { FleetRecord } from './fleet.js';
import type { MemberIdentity } from './identity.js';
import { parseNetwork } from './spec.js';

/** What the host offers to a domain; from libvirt's domain capabilities. */
export interface Platform {
  virtType: 'kvm' | 'qemu';
  arch: string;
  machine: string;
  emulator: string;
}

export interface MemberFiles {
  overlay: string;
  consoleLog: string;
  /** Socket of the guest agent; undefined where libvirt chooses one. */
  agentSocket: string | undefined;
}

export type DomainTemplate = (record: FleetRecord, member: MemberIdentity, files: MemberFiles) => string;

/**
 * Compiles a domain template. Escaping stays on (Handlebars' escapes are valid XML), a variable that does not exist is an error.
 * @param origin where the template is from, for messages
 * @throws BAD_TEMPLATE at once where it cannot be parsed, later where a member cannot be rendered
 */
export function compileDomainTemplate(source: string, origin: string, base: BaseImage, platform: Platform): DomainTemplate {
  const engine = Handlebars.create();
  let render: HandlebarsTemplateDelegate;
  try {
    engine.parse(source);
    render = engine.compile(source, { strict: true, noEscape: false });
  } catch (cause) {
    throw badTemplate(origin, cause);
  }
  return (record, member, files) => {
    const { spec } = record;
    const network = parseNetwork(spec.network);
    try {
      return render({
        fleet: record.name,
        name: member.name,
        index: member.index,
        uuid: member.uuid,
        mac: member.macs[0] ?? '',
        metadata: memberMetadata(record, member),
        memoryMiB: spec.memoryMiB,
        vcpus: spec.vcpus,
        ...platform,
        tcg: platform.virtType === 'qemu',
        overlay: files.overlay,
        consoleLog: files.consoleLog,
        agentSocket: files.agentSocket ?? '',
        base: { name: base.name, digest: base.digest, path: base.path, format: base.format },
        diskCache: spec.diskCache,
        lean: spec.lean,
        network: {
          none: network.kind === 'none',
          user: network.kind === 'user',
          network: network.kind === 'network',
          bridge: network.kind === 'bridge',
          source: network.source,
        },
        vars: spec.variables,
      });
    } catch (cause) {
      throw badTemplate(origin, cause);
    }
  };
}

function badTemplate(origin: string, cause: unknown): CowherdError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const missing = /^"(\w+)" not defined/.exec(message)?.[1];
  return new CowherdError('BAD_TEMPLATE', `The template ${origin} cannot be rendered`, {
    details: message.split('\n').slice(0, 6),
    hint:
      missing === undefined
        ? 'Start again from "cowherd template eject", which lists every variable.'
        : `Set it with --var ${missing}=VALUE and write it as {{vars.${missing}}}; "cowherd template eject" lists the built-in ones.`,
    cause,
  });
}
