import { createHash } from 'node:crypto';
import { assertRenderedDomain, type MemberDefinition, memberMetadata, sealDefinition } from '../../../../core/domain/domain-xml.js';
import { forwardedPortsIn } from '../../../../core/domain/network.js';
import { type BaseLookup, compileDomainTemplate, type Platform } from '../../../../core/domain/template.js';
import { CowherdError } from '../../../../core/errors.js';
import { memberDisks, originKey } from '../../../../core/fleet/disks.js';
import type { MemberIdentity } from '../../../../core/fleet/identity.js';
import { baseOf, type FleetRecord } from '../../../../core/fleet/record.js';
import type { Ports } from '../../../../ports/index.js';
import { paced } from '../../../run/pace.js';

/** Text and origin of a template. */
export interface TemplateSource {
  text: string;
  origin: string;
  /** sha256 of a fleet's own template; undefined for the built-in one. */
  digest: string | undefined;
}

export const builtInOrigin = 'built-in';

/** @param path a template that the user named; default: the fleet's own, otherwise the built-in one */
export async function loadTemplate(
  ports: Pick<Ports, 'readFile' | 'fleets' | 'builtInTemplate'>,
  record: Pick<FleetRecord, 'name' | 'spec'> | undefined,
  path: string | undefined,
): Promise<TemplateSource> {
  if (path !== undefined) {
    const text = await ports.readFile(path);
    return { text, origin: path, digest: sha256(text) };
  }
  const digest = record?.spec.template;
  if (record === undefined || digest === undefined)
    return { text: await ports.builtInTemplate('domain'), origin: builtInOrigin, digest: undefined };
  const text = await ports.fleets.readSource(record.name, 'template', digest);
  if (text === undefined || sha256(text) !== digest) {
    throw new CowherdError('STATE_DAMAGED', `The template of fleet ${record.name} ${text === undefined ? 'is missing' : 'has changed'}`, {
      hint: `Provide it again: cowherd spawn ${record.name} --template FILE`,
    });
  }
  return { text, origin: `of fleet ${record.name}`, digest };
}

export function sha256(text: string | Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Renders the domains of members and checks each.
 * @throws BAD_TEMPLATE, INTERRUPTED
 */
export async function renderDefinitions(
  ports: Pick<Ports, 'fleets'>,
  record: FleetRecord,
  members: readonly MemberIdentity[],
  imageOf: BaseLookup,
  platform: Platform,
  template: TemplateSource,
  signal?: AbortSignal,
): Promise<Map<string, MemberDefinition>> {
  const render = compileDomainTemplate(template.text, template.origin, imageOf, platform);
  const definitions = new Map<string, MemberDefinition>();
  const verifiedShapes = new Set<string>();
  const pace = paced(signal);
  for (const member of members) {
    await pace();
    const files = ports.fleets.files(record.name, member.name);
    const rendered = render(record, member, files);
    // A domain that differs from a verified one only in the member's own values is not parsed again: for a thousand members, parsing would
    // dominate the run time.
    const shape = withoutIdentity(rendered, [
      memberMetadata(record, member),
      files.overlay,
      files.consoleLog,
      files.seed,
      member.sshPort === undefined ? '' : `127.0.0.1:${member.sshPort}-`,
      member.uuid,
      ...member.macs,
      member.name,
    ]);
    const known = `${originKey({ base: baseOf(record, member) })} ${shape}`;
    if (!verifiedShapes.has(known)) {
      assertRenderedDomain(rendered, {
        record,
        member,
        disks: memberDisks(record, member).map(({ stem, origin }) => ({
          path: files.disk(stem),
          base: 'base' in origin ? imageOf(origin.base) : undefined,
        })),
        seedPath: files.seed,
        nvramPath: files.nvram,
        forwardedPorts: forwardedPortsIn(rendered),
        storeRoot: ports.fleets.root,
      });
      // Usually there are only a few shapes, unless the template makes each member different.
      if (verifiedShapes.size < 100) verifiedShapes.add(known);
    }
    definitions.set(member.name, sealDefinition(rendered));
  }
  return definitions;
}

/** @param words longest first if one contains another */
function withoutIdentity(xml: string, words: readonly string[]): string {
  return words.reduce((text, word, position) => (word === '' ? text : text.replaceAll(word, `\u0000${position}\u0000`)), xml);
}
