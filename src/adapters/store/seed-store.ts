import { lstat, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { parseState } from '../../core/fleet/record.js';
import type { FleetSecrets, Seed } from '../../core/guest/seed.js';
import type { SshPublicKey } from '../../core/guest/values.js';
import { nonZeroSegments } from '../../core/image/overlay.js';
import type { PlacedSeed, SeedStore, SshFiles } from '../../ports/index.js';
import { isoTool, SeedImages } from '../image/seed-image.js';
import { placeText, writeImage } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { allocatedBytes, isMissing, listDirectory, storeError } from './files/files.js';
import { appendOwn, readIfThere } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { fleetLayout, partialSeedEnding, seedEnding } from './layout.js';

const secretsSchema = z.strictObject({
  version: z.literal(1),
  key: z.base64(),
  values: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
});

/**
 * Seeds as files of the store. A log records which seed each member has: the images themselves belong to QEMU's user
 * while their guests are running.
 */
export class SeedDirectory implements SeedStore {
  readonly #root: string;
  /** What {@link stage} wrote and was not placed yet. */
  readonly #staged = new Map<string, PlacedSeed>();

  constructor(root: string) {
    this.#root = root;
  }

  tool(): Promise<string> {
    return isoTool();
  }

  async observe(fleet: string): Promise<Map<string, PlacedSeed>> {
    const { seeds, seedLog } = fleetLayout(this.#root, fleet);
    const there = new Set(await listDirectory(seeds));
    const placed = new Map<string, PlacedSeed>();
    // The last complete line of a member counts.
    for (const line of ((await readIfThere(seedLog)) ?? '').split('\n').slice(0, -1)) {
      const [member = '', instanceId, digest] = line.split(' ');
      if (instanceId !== undefined && digest !== undefined && there.has(member + seedEnding)) placed.set(member, { instanceId, digest });
    }
    return placed;
  }

  async allocatedBytes(fleet: string): Promise<number> {
    const { seeds } = fleetLayout(this.#root, fleet);
    const names = (await listDirectory(seeds)).filter((name) => name.endsWith(seedEnding));
    const sizes = await Promise.all(names.map(async (name) => allocatedBytes(await lstat(join(seeds, name)).catch(() => ({ blocks: 0 })))));
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async stage(fleet: string, seeds: ReadonlyMap<string, Seed>): Promise<void> {
    if (seeds.size === 0) return;
    const { directory, seeds: target, seedLog } = fleetLayout(this.#root, fleet);
    await makeDirectory(target);
    const images = await SeedImages.for(seeds.values());
    const unlinker = new SafeUnlinker(directory);
    const kept = await this.observe(fleet);
    try {
      // Rewritten, so that it has one line per member.
      await placeText(seedLog, [...kept].map(([member, seed]) => logLine(member, seed)).join(''));
      for (const [member, seed] of seeds) {
        const path = join(target, member + partialSeedEnding);
        await unlinker.unlink(path);
        const image = images.imageOf(seed);
        writeImage(path, nonZeroSegments(image), image.length);
        this.#staged.set(member, { instanceId: seed.instanceId, digest: seed.digest });
      }
    } catch (cause) {
      for (const member of seeds.keys()) await unlinker.unlink(join(target, member + partialSeedEnding)).catch(() => undefined);
      throw storeError(`write seeds to ${target}`, cause);
    }
  }

  async place(fleet: string, member: string): Promise<void> {
    const { seeds, seedLog } = fleetLayout(this.#root, fleet);
    const target = join(seeds, member + seedEnding);
    const staged = this.#staged.get(member);
    if (staged === undefined) throw new Error(`no seed of ${member} was staged`);
    try {
      await rename(join(seeds, member + partialSeedEnding), target);
      await appendOwn(seedLog, logLine(member, staged));
    } catch (cause) {
      throw storeError(`move the seed ${target} into place`, cause);
    }
  }

  async readSecrets(fleet: string): Promise<FleetSecrets | undefined> {
    const { secrets } = fleetLayout(this.#root, fleet);
    const text = await readIfThere(secrets);
    if (text === undefined) return undefined;
    const hint = 'Restore it from a backup, or tear the fleet down: its ssh keys are derived from it.';
    const { key, values } = parseState(secretsSchema, fleet, 'secrets.json', text, hint);
    return { key: Buffer.from(key, 'base64'), values };
  }

  async writeSecrets(fleet: string, { key, values }: FleetSecrets): Promise<void> {
    const { directory, secrets } = fleetLayout(this.#root, fleet);
    await makeDirectory(directory);
    await placeText(secrets, `${JSON.stringify({ version: 1, key: key.toString('base64'), values }, undefined, 2)}\n`, 0o600);
  }

  async writeSshFiles(fleet: string, privateKey: string | undefined, hostKeys: ReadonlyMap<string, string>): Promise<void> {
    const { ssh, clientKey, knownHosts } = fleetLayout(this.#root, fleet);
    await makeDirectory(ssh);
    if (privateKey !== undefined) await placeText(clientKey, privateKey, 0o600);
    await placeText(knownHosts, [...hostKeys].map(([member, key]) => `${member} ${key}\n`).join(''));
  }

  async sshFiles(fleet: string): Promise<(member: string) => SshFiles> {
    const { clientKey, knownHosts, learnedHost } = fleetLayout(this.#root, fleet);
    const pinned = new Set(((await readIfThere(knownHosts)) ?? '').split('\n').map((line) => line.split(' ', 1)[0] ?? ''));
    const identityFile = (await readIfThere(clientKey)) === undefined ? undefined : clientKey;
    return (member) => {
      const isPinned = pinned.has(member);
      return { identityFile, knownHostsFile: isPinned ? knownHosts : learnedHost(member), isPinned };
    };
  }

  async learnHost(fleet: string, member: string, hostKeys: readonly SshPublicKey[]): Promise<void> {
    const { ssh, learnedHost } = fleetLayout(this.#root, fleet);
    await makeDirectory(ssh);
    await placeText(learnedHost(member), hostKeys.map((key) => `${member} ${key}\n`).join(''));
  }

  async forgetLearnedHost(fleet: string, member: string): Promise<void> {
    const { directory, learnedHost } = fleetLayout(this.#root, fleet);
    await new SafeUnlinker(directory).unlink(learnedHost(member)).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
  }
}

function logLine(member: string, { instanceId, digest }: PlacedSeed): string {
  return `${member} ${instanceId} ${digest}\n`;
}
