import type { Stats } from 'node:fs';
import { type FileHandle, lstat, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { shellWord } from '../../core/quoting.js';
import { storeError } from '../store/files/files.js';
import { groupIdsOf } from './accounts.js';

/**
 * Who can read the images of the store. They contain everything that a guest knew: host keys, passwords, memory. Base images are shared by
 * many domains, so libvirt does not change their owner, and QEMU reads them by its group: mode 0440. If QEMU runs as their owner: 0400.
 */

interface User {
  uid: number;
  gid: number;
}

/** The permissions of a file, from stat(2). */
export type Rights = Pick<Stats, 'uid' | 'gid' | 'mode'>;

export class Readers {
  readonly #qemu: () => Promise<User | undefined>;
  #known: Promise<{ user: User; groups: Set<number> } | undefined> | undefined;

  readonly #root: string | undefined;

  /**
   * @param qemu the user that QEMU runs as; undefined if it is this user
   * @param root the store
   */
  constructor(qemu: () => Promise<User | undefined> = async () => undefined, root?: string) {
    this.#qemu = qemu;
    this.#root = root;
  }

  /**
   * Makes an image readable only by its owner and QEMU, and not writable. Does not disturb a QEMU that has it open.
   * @param mayOpen make it world-readable if QEMU cannot be given access otherwise; if false, it stays unchanged
   * @returns whether no other user can read it
   */
  async restrict(handle: FileHandle, path: string, mayOpen = true): Promise<boolean> {
    const [stats, directory, qemu] = [await handle.stat(), await lstat(dirname(path)), await this.#lookUp()];
    // Files that root creates in another user's store stay readable by the store's owner.
    const uid = process.getuid?.() === 0 ? (await stat(this.#root ?? dirname(path))).uid : stats.uid;
    const isOwn = qemu === undefined || qemu.user.uid === uid;
    const gid = isOwn || isShared(stats, directory, qemu.groups) ? stats.gid : qemu.user.gid;
    const isGiven = (uid === stats.uid && gid === stats.gid) || (await isAllowed(handle.chown(uid, gid)));
    // The group first, so that QEMU never loses access.
    const isGroups = isOwn ? isOfSystem(stats, qemu) : isGiven;
    if (isOwn || isGiven || mayOpen) await handle.chmod(isGroups ? 0o440 : isOwn ? 0o400 : 0o444);
    return isOwn || isGiven;
  }

  /** @returns exposed: others than its owner and QEMU can read it; closed: QEMU cannot */
  async judge(rights: Rights, directory: Rights): Promise<'fine' | 'exposed' | 'closed'> {
    const qemu = await this.#lookUp();
    const isQemus =
      qemu === undefined ? isOfSystem(rights, qemu) : rights.gid === qemu.user.gid || isShared(rights, directory, qemu.groups);
    if ((rights.mode & 0o007) !== 0 || ((rights.mode & 0o070) !== 0 && !isQemus)) return 'exposed';
    const isOwn = qemu === undefined || qemu.user.uid === rights.uid;
    return isOwn || (isQemus && (rights.mode & 0o040) !== 0) ? 'fine' : 'closed';
  }

  /** What to do if {@link restrict} failed. @param bases the directory of all base images */
  async advice(bases: string): Promise<string> {
    const group = (await this.#lookUp())?.user.gid;
    return `Give them to QEMU's group, once: sudo chgrp -R ${group} ${shellWord(bases)} && sudo find ${shellWord(bases)} -type d -exec chmod g+s {} + && cowherd verify --fix`;
  }

  #lookUp(): Promise<{ user: User; groups: Set<number> } | undefined> {
    this.#known ??= this.#qemu().then(async (user) =>
      user === undefined ? undefined : { user, groups: new Set([user.gid, ...(await groupIdsOf(user.uid))]) },
    );
    this.#known.catch(() => {
      this.#known = undefined;
    });
    return this.#known;
  }
}

/** Whether it has the group of a setgid directory, and QEMU is in that group: then the users who share the store can read it, too. */
function isShared(rights: Pick<Rights, 'gid'>, directory: Rights, groups: ReadonlySet<number>): boolean {
  return (directory.mode & 0o2000) !== 0 && rights.gid === directory.gid && groups.has(rights.gid);
}

/**
 * With a session daemon, the user of the system daemon's QEMU is unknown. A group that this user is not in may belong to it, in
 * a store that both use, so it keeps its access.
 */
function isOfSystem({ gid, mode }: Rights, qemu: unknown): boolean {
  const isMine = gid === process.getgid?.() || process.getgroups?.().includes(gid) === true;
  return qemu === undefined && !isMine && (mode & 0o040) !== 0;
}

/** Ownership changes that need root or membership of the group. */
async function isAllowed(change: Promise<void>): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EPERM') return false;
    throw storeError('restrict who may read an image', cause);
  }
}
