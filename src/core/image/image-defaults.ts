import type { Contents, ImageDefaults } from './origin.js';

/**
 * The defaults of an image for new fleets.
 * @param contents what was found in it
 * @param given known by other means, such as its catalog entry; each of them takes precedence over what was found
 */
export function chooseDefaults({ cloudInit, agent, firmware }: Contents, given: ImageDefaults = {}): ImageDefaults {
  // An agent answers without an address. cloud-init may be another program that reads seeds but has no status to ask for.
  const wait = agent === true ? 'agent' : cloudInit === true ? 'ssh' : undefined;
  const found: ImageDefaults = {
    ...(firmware === 'uefi' ? { firmware } : {}),
    ...(cloudInit === true ? { seed: 'nocloud' } : {}),
    ...(wait === undefined ? {} : { wait }),
  };
  return { ...found, ...definedIn(given) };
}

/** The recorded defaults of an image that were not found in it: a promoted or changed image keeps these. */
export function givenDefaults({
  contents = {},
  defaults = {},
}: {
  contents?: Contents | undefined;
  defaults?: ImageDefaults | undefined;
}): ImageDefaults {
  const found: Readonly<Record<string, unknown>> = chooseDefaults(contents);
  return Object.fromEntries(Object.entries(defaults).filter(([key, value]) => found[key] !== value));
}

function definedIn(defaults: ImageDefaults): ImageDefaults {
  return Object.fromEntries(Object.entries(defaults).filter(([, value]) => value !== undefined));
}

/** `seed nocloud, firmware uefi, …`, in the words of the options. */
export function formatDefaults({ seed, firmware, sshUser, memoryMiB, wait }: ImageDefaults): string {
  const words: Array<[string, string | undefined]> = [
    ['seed', seed],
    ['firmware', firmware],
    ['ssh user', sshUser],
    ['memory', memoryMiB === undefined ? undefined : `${memoryMiB} MiB`],
    ['wait', wait],
  ];
  return words.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`])).join(', ');
}
