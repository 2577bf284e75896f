import type { ComponentChildren, VNode } from 'preact';
import type { MemberDetail, MemberView } from '../../protocol.js';
import { addressOf } from '../store/rows.js';
import { bytes, localTime, since } from '../text/format.js';
import { useNow } from './hooks.js';

/** State, identity and sizes of a member. */
export function MemberFacts({ member, detail }: { member: MemberView; detail: MemberDetail | null }): VNode {
  const now = useNow();
  const { index, reason, hasAgent, startedAt, checkpointAt, base, isOutdated, driftBytes, overlayBytes, sshPort } = member;
  const uptime = since(startedAt, now);
  const checkpoint = checkpointAt === null ? 'none' : localTime(checkpointAt);
  return (
    <dl class="facts">
      <Fact name="Reason">{reason || '-'}</Fact>
      <Fact name="Uptime">{uptime === '' ? '-' : `${uptime}, since ${localTime(startedAt ?? '')}`}</Fact>
      <Fact name="Guest agent">{hasAgent === null ? 'not known' : hasAgent ? 'connected' : 'not connected'}</Fact>
      <Fact name={sshPort === null ? 'Address' : 'SSH'}>{addressOf(member) ?? '-'}</Fact>
      <Fact name="Drift">{bytes(driftBytes)}</Fact>
      <Fact name="Overlay">{bytes(overlayBytes)}</Fact>
      <Fact name="Checkpoint">
        {checkpoint}
        {detail !== null && detail.checkpoint !== null && ` (${bytes(detail.checkpoint.bytes)})`}
      </Fact>
      <Fact name="Base image">
        <code>{base}</code>
        {isOutdated && ' (outdated)'}
      </Fact>
      <Fact name="Index">{index}</Fact>
      <Fact name="UUID">{detail === null ? '…' : <code>{detail.uuid}</code>}</Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): VNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
