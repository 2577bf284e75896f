import { shellWord } from '../quoting.js';

/** Security drivers that may deny QEMU files that libvirt does not know of. @param capabilities libvirt's XML */
export function confinementsOf(capabilities: string): string[] {
  const models = [...capabilities.matchAll(/<secmodel>\s*<model>([\w-]+)<\/model>/g)].map(([, model = '']) => model);
  return models.filter((model) => ['apparmor', 'selinux'].includes(model));
}

/**
 * How to let QEMU map the RAM images of clones, which are named on its command line only.
 * @param model apparmor or selinux
 * @param isReadOnly whether this QEMU opens them read-only
 */
export function sharingAdvice(model: string, store: string, isReadOnly: boolean): string {
  if (model === 'selinux') return `sudo chcon -t ${isReadOnly ? 'virt_content_t' : 'svirt_image_t'} ${shellWord(store)}/bases/*/*.ram`;
  return `Add the line "${store}/bases/** ${isReadOnly ? 'rk' : 'rwk'}," to /etc/apparmor.d/abstractions/libvirt-qemu`;
}
