import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { fleetLayout } from '../../../src/adapters/store/layout.js';
import { memberIdentity } from '../../../src/core/fleet/identity.js';
import type { Operation } from '../../../src/core/fleet/operation.js';
import type { FleetRecord } from '../../../src/core/fleet/record.js';
import { memberName } from '../../../src/core/names.js';
import { defaultDomainSpec } from '../../../src/core/spec/spec.js';
import { type MemberMark, metadataOf, tagsOf } from '../../../src/engines/nova/core/member-tags.js';
import type { StatefulCloud } from '../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudImage, CloudServer } from '../../fakes/openstack/stateful/world.js';

/** Fleets and images that exist before a command begins, without the commands that create them. */

export const fleetId = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';

/** A fleet of one image. */
export function recordOf(name: string, count: number, { digest, image }: { digest: string; image: string }): FleetRecord {
  return {
    ...{ version: 1, id: fleetId, name, base: { name: 'golden', digest }, spec: { ...defaultDomainSpec, sshUser: 'debian' } },
    placement: { engine: 'openstack', settings: {}, images: { [digest]: image } },
    ...{ createdAt: '2026-01-01T00:00:00.000Z', freshOverlayBytes: 0 },
    members: Array.from({ length: count }, (_, index) => memberIdentity(name, fleetId, index + 1)),
  };
}

/** A command that was interrupted before its first step. */
export function operationOf(verb: Operation['verb'], record: FleetRecord): Operation {
  return {
    ...{ version: 1, id: fleetId, fleet: record.name, verb, startedAt: '2026-01-01T00:00:00.000Z', record },
    ...{ targets: record.members.map(({ index }) => index), wasOn: [], start: 'same' },
    ...{ wholeFleet: false, keepInstance: false, withBase: false },
  };
}

/** @param root directory of the records */
export async function damageRecord(root: string, fleet: string): Promise<void> {
  const { directory, record } = fleetLayout(root, fleet);
  await mkdir(directory, { recursive: true });
  await writeFile(record, '{"version": 1');
}

/** The server of a member; it is running. */
export function addMember(cloud: StatefulCloud, mark: MemberMark, fields: Partial<CloudServer> = {}): CloudServer {
  const { properties: imageProperties = {}, guest } = cloud.world.images.get(fields.imageId ?? '') ?? {};
  return cloud.addServer({
    ...{ name: memberName(mark.fleet, mark.index), tags: tagsOf(mark), metadata: metadataOf(mark), imageProperties },
    ...(guest === undefined ? {} : { guest }),
    ...fields,
  });
}

const monthMs = 30 * 24 * 3_600_000;

/** An image with another content than all others. It is a month old, and a second younger than the one before. */
export function addOldImage(cloud: StatefulCloud, id: string, fields: Partial<CloudImage> = {}): CloudImage {
  const sha512 = createHash('sha512').update(id).digest('hex');
  const image = cloud.addImage({ id, sha512, ...fields, name: fields.name ?? id });
  if (fields.created === undefined) image.created = 1_000 * image.sequence - monthMs;
  return image;
}

/** As in records and in the names of base images. */
export function digestOf({ sha512 }: CloudImage): string {
  if (sha512 === null) throw new Error('the image has no hash');
  return sha512.slice(0, 64);
}
