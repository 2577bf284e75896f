import { screensOf } from '../../../core/domain/graphics.js';
import { type MemberDisk, memberDisks } from '../../../core/fleet/disks.js';
import type { MemberIdentity } from '../../../core/fleet/identity.js';
import { baseOf, type FleetRecord } from '../../../core/fleet/record.js';
import { parseInterfaces } from '../../../core/guest/agent.js';
import type { Ports } from '../../../ports/index.js';
import { runningMembers } from '../../../services/fleet/members.js';
import type { MemberDetail } from '../../protocol.js';
import { diskChain } from './chain.js';
import { memberCommands } from './commands.js';
import { loadMember } from './member.js';

const agentSeconds = 2;

/** What is read when a member is opened. What cannot be read is left empty. */
export async function memberDetail(ports: Ports, fleet: string, index: number, withFlags: (text: string) => string): Promise<MemberDetail> {
  const { record, member } = await loadMember(ports, fleet, index);
  const isOn = (await runningMembers(ports, record).catch(() => new Map())).has(member.name);
  const xml = await ports.hypervisor.readXml([member.name]).then(
    (documents) => documents.get(member.name) ?? null,
    () => null,
  );
  const [cards, disks, checkpoints] = await Promise.all([
    cardsOf(ports, member, isOn, xml),
    disksOf(ports, record, member),
    ports.checkpoints.list(fleet).catch(() => undefined),
  ]);
  const checkpoint = checkpoints?.get(member.name);
  const { hasConsole, graphics } = screens(xml);
  return {
    index,
    name: member.name,
    uuid: member.uuid,
    cards,
    disks,
    checkpoint: checkpoint === undefined ? null : { takenAt: checkpoint.takenAt, bytes: checkpoint.allocatedBytes },
    xml,
    hasConsole,
    graphics,
    commands: memberCommands(record, member, { graphics, hasCheckpoint: checkpoint !== undefined }).map(({ title, command }) => ({
      title,
      command: withFlags(command),
    })),
  };
}

/** A template may contain anything that libvirt accepts. */
function screens(xml: string | null): Pick<MemberDetail, 'hasConsole' | 'graphics'> {
  try {
    if (xml !== null) return screensOf(xml);
  } catch {
    // Shown as text only.
  }
  return { hasConsole: false, graphics: null };
}

async function cardsOf(
  ports: Ports,
  { name, macs, address }: MemberIdentity,
  isOn: boolean,
  xml: string | null,
): Promise<MemberDetail['cards']> {
  const reported = isOn
    ? await ports.agent.command(name, { execute: 'guest-network-get-interfaces' }, agentSeconds).then(parseInterfaces, () => [])
    : [];
  // With --network none, a member has none of its cards.
  const present = xml === null ? macs : macs.filter((mac) => xml.includes(mac));
  return present.map((mac, position) => {
    const own = reported.filter((card) => card.mac === mac).map(({ ip }) => String(ip));
    // Reserved on its network.
    return { mac, addresses: own.length === 0 && position === 0 && address !== undefined ? [address] : own };
  });
}

function disksOf(ports: Ports, record: FleetRecord, member: FleetRecord['members'][number]): Promise<MemberDetail['disks']> {
  const files = ports.fleets.files(record.name, member.name);
  const disks = memberDisks({ ...record, base: baseOf(record, member) }, member);
  return Promise.all(disks.map(async ({ stem }) => ({ name: nameOf(member.name, stem), chain: await diskChain(ports, files.disk(stem)) })));
}

function nameOf(member: string, stem: MemberDisk['stem']): string {
  return stem === member ? 'root' : stem.slice(member.length + 1);
}
