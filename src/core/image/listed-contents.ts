import type { Contents, ImageDefaults } from './origin.js';

/** What was found in an image without booting it; null for what could not be found out. */
export interface ListedContents {
  os: { id: string; version: string | null; name: string | null } | null;
  cloudInit: boolean | null;
  agent: boolean | null;
  firmware: NonNullable<Contents['firmware']> | null;
}

/** Defaults of an image for new fleets; null for settings that it has none for. */
export type ListedDefaults = { [Key in keyof ImageDefaults]-?: NonNullable<ImageDefaults[Key]> | null };

export function listedContents({ os, cloudInit, agent, firmware }: Contents = {}): ListedContents {
  return {
    os: os === undefined ? null : { id: os.id, version: os.version ?? null, name: os.name ?? null },
    cloudInit: cloudInit ?? null,
    agent: agent ?? null,
    firmware: firmware ?? null,
  };
}

export function listedDefaults({ firmware, seed, wait, memoryMiB, sshUser }: ImageDefaults = {}): ListedDefaults {
  return { firmware: firmware ?? null, seed: seed ?? null, wait: wait ?? null, memoryMiB: memoryMiB ?? null, sshUser: sshUser ?? null };
}
