import { isPublicKey } from '../../../../core/guest/ssh-keys.js';
import type { Settings } from '../../../../core/host/settings.js';
import type { Ports } from '../../../../ports/index.js';
import { readPublicKeys } from '../../../guest/seeds.js';
import type { SpawnOptions } from './options.js';

/** The defaults of new fleets, with the keys read from their files. @throws FILE_NOT_FOUND, BAD_USAGE */
export async function spawnDefaults(
  ports: Pick<Ports, 'readFile'>,
  { network, seed, sshKeys, template }: Settings,
): Promise<NonNullable<SpawnOptions['defaults']>> {
  const keys: string[] = [];
  for (const key of sshKeys?.value ?? []) keys.push(...(isPublicKey(key) ? [key] : ((await readPublicKeys(ports, [key])) ?? [])));
  return {
    ...(network === undefined ? {} : { network: network.value }),
    ...(seed === undefined ? {} : { seed: seed.value }),
    ...(sshKeys === undefined ? {} : { sshKeys: keys }),
    ...(template === undefined ? {} : { template: template.value }),
  };
}
