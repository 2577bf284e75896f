import type { VNode } from 'preact';
import type { MemberDetail } from '../../protocol.js';
import { bytes } from '../text/format.js';

export function Cards({ cards }: Pick<MemberDetail, 'cards'>): VNode {
  if (cards.length === 0) return <p class="note">It has no network cards.</p>;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">MAC address</th>
          <th scope="col">Addresses</th>
        </tr>
      </thead>
      <tbody>
        {cards.map(({ mac, addresses }) => (
          <tr key={mac}>
            <th scope="row">
              <code>{mac}</code>
            </th>
            <td>{addresses.length === 0 ? 'not known' : addresses.join(', ')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Each disk with its overlay, and the files that it is based on. */
export function Disks({ disks }: Pick<MemberDetail, 'disks'>): VNode {
  return (
    <ul class="disks">
      {disks.map(({ name, chain }) => (
        <li key={name}>
          <h3>{name}</h3>
          <ol class="chain">
            {chain.map(({ path, format, virtualBytes, allocatedBytes }, position) => (
              <li key={path}>
                <code>{path}</code>
                <span class="note">
                  {position === 0 ? 'overlay' : 'backing file'}, {format}, {bytes(allocatedBytes)} on disk, {bytes(virtualBytes)} for the
                  guest
                </span>
              </li>
            ))}
          </ol>
        </li>
      ))}
    </ul>
  );
}
