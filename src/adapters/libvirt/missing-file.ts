const missing =
  /(?:Cannot access (?:storage|backing) file|Could not open|Failed to open file|cannot open file|Path) '([^']+)'[^\n]*No such file/i;
const memberFile = /\/fleets\/([^/]+)\/(overlays|seeds)\/[^/]*$/;

/**
 * What to do about a file that QEMU does not find. Only a lost disk calls for a reset: a file that the template names
 * belongs to the user.
 * @param error libvirt's message
 * @param domain the domain that names the file
 * @returns undefined if no file is missing
 */
export function missingFileHint(error: string, domain: string): string | undefined {
  const path = missing.exec(error)?.[1];
  if (path === undefined) return undefined;
  const [, fleet, kind] = memberFile.exec(path) ?? [];
  const number = Number(/-(\d+)$/.exec(domain)?.[1]);
  if (kind === 'seeds') return `Its seed is missing. "cowherd spawn ${fleet}" creates it again.`;
  if (kind === 'overlays') return `Its disk is missing. A reset creates a fresh one: cowherd reset ${fleet} ${number}`;
  if (path.startsWith('/dev/'))
    return `This host has no ${path}, which the domain uses. In a container, pass that device in; otherwise find the part of the template that names it: virsh dumpxml --inactive ${domain}`;
  return `The domain uses ${path}, which does not exist. Restore it, or remove it from the template and apply the change: cowherd spawn FLEET --template FILE`;
}
