import { reportOf } from '../../../core/errors.js';
import type { Finding, FindingKind } from '../../../core/finding.js';
import { excerpt } from '../../../core/guest/text.js';
import { withFleetLock } from '../../../services/fleet/access.js';
import type { Verification, VerifyOptions } from '../../../services/verify/verify.js';
import type { NovaContext } from '../context.js';
import type { Image } from '../core/images.js';
import { managedTag, markOf } from '../core/member-tags.js';
import { type NovaMember, observeServers } from '../core/members.js';
import type { Server } from '../core/servers.js';
import { ownImages } from './find-image.js';
import { observeFleet } from './observe.js';
import { intendedFleet, loadNovaFleet, type NovaRecord } from './record.js';
import { leftoverImages } from './remove-image.js';
import { status } from './status.js';

/** Compares the records with the servers of the project. With `fix`, deletes servers that were created twice. */
export async function verify(context: NovaContext, options: VerifyOptions): Promise<Verification> {
  const { clock, fleets } = context.ports;
  const began = clock.monotonic();
  const servers = await context.cloud.servers.list([managedTag], options);
  const known = await fleets.list();
  if (options.fleet !== undefined && !known.includes(options.fleet)) await loadNovaFleet(context, options.fleet);
  const names = options.fleet === undefined ? known : [options.fleet];
  const result: Verification = {
    ...{ findings: [], fixed: 0, busy: [], unknown: [], seconds: 0 },
    looked: { fleets: 0, members: 0, bases: 0, snapshots: 0 },
  };
  for (const name of names) {
    if ((await fleets.runner(name)) !== undefined) {
      result.busy.push(name);
      continue;
    }
    result.findings.push(...(await examineFleet(context, name, servers, options, result.looked)));
  }
  if (options.fleet === undefined) {
    result.findings.push(...withoutRecord(servers, new Set(known)));
    result.findings.push(...(await leftoverImages(context, options)).map(leftoverImage));
    result.looked.bases = (await ownImages(context, options)).length;
  }
  result.fixed = result.findings.filter(({ fixed }) => fixed).length;
  return { ...result, seconds: Math.round(clock.monotonic() - began) / 1000 };
}

async function examineFleet(
  context: NovaContext,
  fleet: string,
  servers: readonly Server[],
  options: VerifyOptions,
  looked: Verification['looked'],
): Promise<Finding[]> {
  looked.fleets++;
  let record: NovaRecord;
  try {
    record = await intendedFleet(context, fleet);
  } catch (error) {
    const { message, hint = '' } = reportOf(error);
    return [finding('damaged', fleet, fleet, message, hint)];
  }
  const own = servers.filter(({ metadata }) => metadata['cowherd:fleet'] === fleet);
  const { members, orphans, foreign } = observeServers(record, own);
  looked.members += members.length;
  const findings = [
    ...orphans.map((server) => orphan(fleet, server)),
    ...foreign.map((server) => foreignServer(fleet, server)),
    ...members.flatMap((member) => memberFindings(fleet, member)),
  ];
  if (options.fix === true && findings.some(({ fixable }) => fixable)) await fixFleet(context, record, findings);
  const { unfinished, base } = await status(context, fleet);
  if (unfinished !== undefined) {
    const message = `a ${unfinished.verb} was interrupted: ${unfinished.done} of ${unfinished.total} members are done`;
    findings.push(finding('unfinished', fleet, fleet, message, `Finish it: cowherd resume ${fleet}`));
  } else findings.push(...members.filter(({ server }) => server === undefined).map(({ name }) => missing(fleet, name)));
  if (base.problem !== null && orphans.length === 0)
    findings.push(
      finding('missing', fleet, base.name, base.problem, `Move the fleet to another image: cowherd rebase ${fleet} --base NAME`),
    );
  return findings;
}

function finding(kind: FindingKind, fleet: string | null, what: string, message: string, hint: string): Finding {
  return { kind, fleet, what, message, hint, bytes: 0, fixable: false, fixed: false };
}

function missing(fleet: string, name: string): Finding {
  return finding('missing', fleet, name, 'it has no server', `Create it: cowherd spawn ${fleet}`);
}

function orphan(fleet: string, { id, name }: Server): Finding {
  return finding(
    'orphan',
    fleet,
    excerpt(name),
    `server ${id} belongs to this fleet, but is not in its record`,
    `It may hold data of a guest. If not: openstack server delete ${id}`,
  );
}

function foreignServer(fleet: string, { id, name }: Server): Finding {
  const message = `server ${id} has the name of this fleet in its metadata, but not its id`;
  return finding('mismatch', fleet, excerpt(name), message, `It is not touched. See it: openstack server show ${id}`);
}

/** A surplus server is of a request that was done twice: it was never used, since the commands prefer the other one. */
function memberFindings(fleet: string, { name, extra, server }: NovaMember): Finding[] {
  const findings = extra.map(({ id }) => ({
    ...finding('leftover', fleet, name, `server ${id} was created twice`, `Delete it: cowherd verify ${fleet} --fix`),
    fixable: true,
  }));
  if (server?.status !== 'ERROR') return findings;
  return [
    ...findings,
    finding('damaged', fleet, name, `server ${server.id} is in state ERROR`, `See why, and what to do: cowherd status ${fleet}`),
  ];
}

/** Deletes surplus servers. Looks again under the lock. */
async function fixFleet(context: NovaContext, record: NovaRecord, findings: Finding[]): Promise<void> {
  const { fleets } = context.ports;
  await withFleetLock({ fleets }, record.name, async () => {
    const { members } = await observeFleet(context, record);
    for (const { name, extra } of members) {
      for (const surplus of extra) {
        // One that is locked, for example, stays a finding.
        const isGone = await context.cloud.servers.delete(surplus).then(
          () => true,
          () => false,
        );
        for (const found of findings) if (found.fixable && found.what === name && found.message.includes(surplus.id)) found.fixed = isGone;
      }
    }
  });
}

function leftoverImage({ id, name }: Image): Finding {
  const message = `image ${id} was left by an interrupted command`;
  return finding('leftover', null, excerpt(name), message, 'Remove it: cowherd base prune --yes');
}

function withoutRecord(servers: readonly Server[], known: ReadonlySet<string>): Finding[] {
  const lost = new Map<string, Server[]>();
  for (const server of servers) {
    const fleet = markOf(server)?.fleet ?? '';
    if (!known.has(fleet)) lost.set(fleet, [...(lost.get(fleet) ?? []), server]);
  }
  return [...lost].map(([fleet, of]) => {
    const [first] = of;
    if (fleet === '')
      return finding(
        'mismatch',
        null,
        excerpt(first?.name ?? ''),
        `tags and metadata of ${of.length} servers disagree`,
        `They are not touched. See one: openstack server show ${first?.id}`,
      );
    return finding(
      'orphan',
      fleet,
      fleet,
      `${of.length} servers belong to it, but there is no record of it here`,
      `If it is yours: cowherd status ${fleet} --recover`,
    );
  });
}
