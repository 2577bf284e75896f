const missing =
  /(?:Cannot access (?:storage|backing) file|Could not open|Failed to open file|cannot open file|Path) '([^']+)'[^\n]*No such file/i;
const memberFile = /\/fleets\/([^/]+)\/(overlays|seeds)\/[^/]*$/;

/**
 * What to do about a file that QEMU does not find. Only a lost disk is a reason to reset a member: a file that the template names
 * is the user's own.
 * @param error libvirt's words
 * @param domain the domain that names the file
 * @returns undefined where no file is missing
 */
export function missingFileHint(error: string, domain: string): string | undefined {
  const path = missing.exec(error)?.[1];
  if (path === undefined) return undefined;
  const [, fleet, kind] = memberFile.exec(path) ?? [];
  const number = Number(/-(\d+)$/.exec(domain)?.[1]);
  if (kind === 'seeds') return `Its seed is gone. "cowherd spawn ${fleet}" makes it again.`;
  if (kind === 'overlays') return `Its disk is gone. A reset gives it a fresh one: cowherd reset ${fleet} ${number}`;
  if (path.startsWith('/dev/'))
    return `This machine has no ${path}, which the domain uses. In a container, pass that device in; otherwise see which part of the template names it: virsh dumpxml --inactive ${domain}`;
  return `The domain uses ${path}, which does not exist. Put it back, or take it out of the template and apply that: cowherd spawn FLEET --template FILE`;
}
