/** Machine-specific data that a guest left in its image. */
export interface GuestFacts {
  /** The first line of /etc/machine-id; empty if the file is empty, undefined if there is none. */
  machineId: string | undefined;
  /** Names of files in /etc/ssh. */
  sshHostKeys: string[];
  /** The instance-id of cloud-init's last run. */
  cloudInitInstance: string | undefined;
}

export interface HygieneWarning {
  /** Continues "the base NAME: …". */
  what: string;
  /** Commands for the guest, and for the image file (IMAGE). */
  hint: string;
}

/** systemd's marker for "generate at the next boot". Source: machine-id(5) */
const uninitialised = 'uninitialized';

/** What members on this base image would wrongly have in common. */
export function hygieneWarnings(facts: GuestFacts): HygieneWarning[] {
  const warnings: HygieneWarning[] = [];
  if (facts.machineId !== undefined && facts.machineId !== '' && facts.machineId !== uninitialised) {
    warnings.push({
      what: 'it has a machine-id of its own: DHCP servers may treat all members as one machine, and give them the same address',
      // Only this operation: otherwise virt-sysprep finally writes a new machine-id into the image.
      hint: mending('truncate -s 0 /etc/machine-id', 'virt-sysprep -a IMAGE --operations machine-id'),
    });
  }
  if (facts.sshHostKeys.length > 0) {
    warnings.push({
      what: `it has ssh host keys (${facts.sshHostKeys.join(', ')}): all members share them, and one can pose as another`,
      hint: `${mending('rm -f /etc/ssh/ssh_host_*', 'virt-sysprep -a IMAGE --operations ssh-hostkeys')} New keys must then be generated at boot, as cloud-init does; "ssh-keygen -A" generates them too.`,
    });
  }
  if (facts.cloudInitInstance !== undefined) {
    warnings.push({
      what: `cloud-init has run in it${facts.cloudInitInstance === '' ? '' : ` (instance ${facts.cloudInitInstance})`}: members may treat that instance as their own and skip their first-boot setup`,
      // virt-sysprep has no operation for it. The seed stays, as with "cloud-init clean".
      hint: mending(
        'cloud-init clean --logs',
        `guestfish --rw -a IMAGE -i ${['data', 'instance', 'instances', 'sem'].map((name) => `rm-rf /var/lib/cloud/${name}`).join(' : ')}`,
      ),
    });
  }
  return warnings;
}

function mending(inGuest: string, onImage: string): string {
  return `In the guest, before its last shutdown: "${inGuest}". Or on the image file, while nothing uses it: "${onImage}".`;
}
