import { targetAbove } from '../domain/backing-chain.js';
import type { BaseImage } from '../image/base.js';
import { shellWord } from '../quoting.js';

/** Hints for disks that other tools have changed, which keep their content. */

export const mergedReason = 'its overlay no longer has a backing file: the base image was copied into it, for example by "virsh blockpull"';

interface Member {
  fleet: string;
  index: number;
  name: string;
  isOn: boolean;
}

/** Rebases an overlay without a backing file, or on another image of the store, to its base image. Keeps its content. */
export function keepOverlayHint({ fleet, index, isOn }: Member, overlay: string, base: Pick<BaseImage, 'path' | 'format'>): string {
  const stop = isOn ? `cowherd stop ${fleet} ${index}; ` : '';
  const rebase = `qemu-img rebase -f qcow2 -F ${base.format} -b ${shellWord(base.path)} ${shellWord(overlay)}`;
  return `The disk is complete. Rebase it onto its base image, keeping its content: ${stop}${rebase}; cowherd start ${fleet} ${index}. Or discard its content: cowherd reset ${fleet} ${index}`;
}

/**
 * For a domain that lacks its member's own disks.
 * @param paths the missing disks
 * @param keep flags of undefine for what to keep
 */
export function foreignDiskReasonHint(
  { fleet, name, isOn }: Member,
  paths: readonly string[],
  xml: string,
  keep: readonly string[],
): string {
  for (const path of paths) {
    const target = targetAbove(xml, path);
    if (target === undefined) continue;
    const commit = `virsh blockcommit ${name} ${target} --base ${shellWord(path)} --active --pivot --wait`;
    return `Another tool took a snapshot of it. Merge that into the member's own disk: ${isOn ? '' : `virsh start ${name}; `}${commit}. Then run the command again.`;
  }
  const undefine = ['virsh undefine', name, '--managed-save --snapshots-metadata --checkpoints-metadata', ...keep].join(' ');
  const off = isOn ? `virsh destroy ${name}; ` : '';
  return `Was the store moved? "cowherd base relocate" corrects the paths. Otherwise "virsh domblklist ${name}" shows which disks it has. To recreate it on its own disks, without anything that was added to it: ${off}${undefine}; cowherd spawn ${fleet}`;
}

/** Warns of what a copy of the disk would lose, with commands that remove it from the disk of a stopped member. */
export function extrasHint(
  { fleet, index, name, isOn }: Member,
  overlay: string,
  extras: readonly string[],
  known: { snapshots: readonly string[]; checkpoints: readonly string[] },
): string {
  const commands = extras.flatMap((extra) => {
    const [, kind = '', word = ''] = /^(internal snapshot|dirty bitmap) ([\s\S]+)$/.exec(extra) ?? [];
    const path = shellWord(overlay);
    if (kind === 'internal snapshot')
      return [
        `qemu-img snapshot -d ${shellWord(word)} ${path}`,
        ...(known.snapshots.includes(word) ? [`virsh snapshot-delete ${name} ${shellWord(word)} --metadata`] : []),
      ];
    return [
      `qemu-img bitmap --remove ${path} ${shellWord(word)}`,
      ...(known.checkpoints.includes(word) ? [`virsh checkpoint-delete ${name} ${shellWord(word)} --metadata`] : []),
    ];
  });
  const stop = isOn ? [`cowherd stop ${fleet} ${index}`] : [];
  return `A copy would lose that. If you do not need it, remove it first: ${[...stop, ...commands].join('; ')}`;
}
