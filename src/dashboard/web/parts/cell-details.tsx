import type { VNode } from 'preact';
import { stateWord } from '../../../core/events/event-text.js';
import type { MemoryView } from '../../protocol.js';
import type { Fleet } from '../store/herd.js';
import type { Observable } from '../store/observable.js';
import { memberLink } from '../store/route.js';
import { addressOf } from '../store/rows.js';
import { bytes } from '../text/format.js';
import { useValue } from './hooks.js';

interface DetailsProps {
  fleet: Fleet;
  memory: MemoryView | null;
  hovered: Observable<number | null>;
  /** The cell that had the focus last. */
  current: number | null;
}

/** What is known about the cell below the pointer, or with the focus. Its place is always there, so that nothing moves. */
export function CellDetails({ fleet, memory, hovered, current }: DetailsProps): VNode {
  const index = useValue(hovered) ?? current;
  const member = index === null ? undefined : fleet.members.find((one) => one.index === index);
  if (member === undefined) return <p class="cell-details note">Point at a cell or move to it to see its details.</p>;
  const use = memory?.members[member.name];
  const facts = [
    `${stateWord(member.state)}${member.reason === '' ? '' : ` (${member.reason})`}`,
    `drift ${bytes(member.driftBytes)}`,
    `overlay ${bytes(member.overlayBytes)}`,
    ...(use === undefined ? [] : [`memory ${bytes(use.privateBytes)} private, ${bytes(use.sharedBytes)} shared`]),
    ...[addressOf(member) ?? []].flat(),
    ...(member.hasAgent === true ? ['agent connected'] : []),
    ...(member.checkpointAt === null ? [] : ['has a checkpoint']),
    ...(member.isOutdated ? [`outdated base image ${member.base}`] : []),
    ...(member.progress === null ? [] : [`${member.progress} in the running command`]),
  ];
  return (
    <p class="cell-details">
      <a href={memberLink(fleet.fleet, member.index)}>{member.name}</a> {facts.join(' · ')}
      {member.problems.length > 0 && <span class="problem"> · {member.problems.join('; ')}</span>}
    </p>
  );
}
