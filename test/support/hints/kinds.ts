/**
 * Every kind of hint, by what it tells the user to do. docs/reliability.md shows this table. A unit test compares both with the sources
 * and fails for a hint without a kind.
 */
export interface HintKind {
  kind: string;
  /** Matches hints of this kind. The first matching kind counts. */
  says: RegExp;
  /** Test files that cause the fault. */
  tests: string[];
  /**
   * followed: a test does exactly what the hint says and checks that it helps. told: a test causes the fault and checks the text.
   * reads: the hint only says what to look at or what to write instead.
   */
  how: 'followed' | 'told' | 'reads';
  /** Why no test follows it. */
  why?: string;
}

const e2e = (...names: string[]): string[] => names.map((name) => `test/e2e/${name}.test.ts`);

export const hintKinds: HintKind[] = [
  // Permissions of QEMU and of this user.
  {
    kind: 'let QEMU into a closed directory or base image',
    says: /^Grant access|^…chmod …|^cowherd verify --fix$|^…, or keep the store|QEMU runs as another user/,
    tests: e2e('hints/rights', 'host/rights'),
    how: 'followed',
  },
  {
    kind: 'a missing permission',
    says: /Grant yourself the permission|Run the same command as|root \(sudo\)|prints the command that creates a store/,
    tests: e2e('host/users'),
    how: 'followed',
  },
  { kind: 'create your own store', says: /^Make it yours/, tests: e2e('host/users'), how: 'followed' },
  { kind: "give base images to QEMU's group", says: /Give them to QEMU's group/, tests: e2e('host/users'), how: 'followed' },
  {
    kind: 'restrict or open images: verify --fix',
    says: /^Restrict its permissions|^Remove the write permission|^Grant read permission/,
    tests: e2e('host/exposed', 'host/users'),
    how: 'followed',
  },
  { kind: 'take checkpoints as root', says: /^Run it as root|^ --drop$/, tests: e2e('host/users'), how: 'followed' },
  { kind: 'use the system daemon', says: /may not use the system daemon/, tests: e2e('host/users'), how: 'followed' },
  {
    kind: 'locks held by other processes',
    says: /^Only the owner of|lock is released|^Run the command again when that process|See what it is \(ps|^To see which process holds it|^It has another hard link/,
    tests: ['test/integration/store/lock.test.ts', ...e2e('hints/host', 'host/users')],
    how: 'followed',
  },
  {
    kind: 'immutable files and read-only file systems',
    says: /Even root cannot|read-only|Remount it/i,
    tests: e2e('hints/host', 'faults/full-disk'),
    how: 'followed',
  },
  {
    kind: 'AppArmor and SELinux',
    says: /AppArmor denied|SELinux denied/,
    tests: ['test/unit/adapters/virsh.test.ts'],
    how: 'told',
    why: 'they are off on most test machines, and a profile of the host is not changed by a test',
  },

  // Disks changed by other programs.
  {
    kind: 'an image that is open in another process',
    says: /^Close it there|^Unmount it|Shut down the virtual machine that uses it|Another process has the disk open|Shut down what (writes|uses)/,
    tests: e2e('hints/disks'),
    how: 'followed',
  },
  {
    kind: 'keep a disk after a blockpull',
    says: /The disk is complete|qemu-img rebase/,
    tests: e2e('hints/disks'),
    how: 'followed',
  },
  {
    kind: "merge a snapshot of another tool into the member's disk",
    says: /Another tool took a snapshot|virsh blockcommit|^virsh start …; $/,
    tests: e2e('hints/disks'),
    how: 'followed',
  },
  {
    kind: 'remove snapshots, checkpoints and bitmaps of libvirt',
    says: /^A copy would lose that|qemu-img snapshot -d|snapshot-delete|qemu-img bitmap|checkpoint-delete/,
    tests: e2e('hints/disks', 'base/tamper'),
    how: 'followed',
  },
  {
    kind: "restore a domain's own disks",
    says: /^Was the store moved\? "cowherd base relocate" corrects the paths. Otherwise|^virsh undefine$|--managed-save --snap|^virsh destroy …; |--keep-/,
    tests: e2e('base/tamper'),
    how: 'followed',
  },
  { kind: 'a store that was moved: base relocate', says: /Was the store moved/, tests: e2e('base/relocate'), how: 'followed' },
  {
    kind: 'a fresh disk by a reset',
    says: /^A reset gives|Another program changed it|^Reset it to its base image|A cold reset always works|cold reset always works|Save what you need from the guest/,
    tests: e2e('base/tamper', 'fleet/verify'),
    how: 'followed',
  },
  { kind: 'shrink an overlay: compact', says: /rewrites it/, tests: e2e('hints/repairs'), how: 'followed' },
  {
    kind: 'repair an image with qemu-img check',
    says: /qemu-img check -r all|with "qemu-img check"/,
    tests: ['test/integration/image/not-an-image.test.ts', ...e2e('hints/snapshots')],
    how: 'followed',
  },

  // Domains of members, and conflicting domains.
  {
    kind: 'a device that was added to a domain',
    says: /^Detach it, run the command again|^virsh edit …$/,
    tests: e2e('hints/domains'),
    how: 'followed',
  },
  {
    kind: "the domain of another store's fleet",
    says: /Choose another name for this fleet|(Say|Use) that store/,
    tests: e2e('hints/domains'),
    how: 'followed',
  },
  {
    kind: 'a domain outside the fleet with the same name',
    says: /domrename|Rename it, or choose another fleet name|virsh undefine …$|nor files that it may have open/,
    tests: e2e('base/tamper', 'fleet/damage'),
    how: 'followed',
  },
  {
    kind: 'a missing file of a domain',
    says: /^Its (disk|seed) is missing|which does not exist\. Restore it|^This host has no/,
    tests: e2e('host/missing-files'),
    how: 'followed',
  },
  {
    kind: 'a download that is not an image, or packed',
    says: /^(gunzip|xz|bunzip2|zstd|lz4|unzip|7z|unrar) |returned a web page|^Download it, and add|^file:\/\//,
    tests: ['test/integration/image/not-an-image.test.ts'],
    how: 'followed',
  },
  { kind: 'config files', says: /looks like a fleet file|^It may set …/, tests: e2e('hints/host', 'cli/config'), how: 'followed' },
  {
    kind: 'a store path that ssh does not support',
    says: /^Access the store through a link/,
    tests: e2e('host/odd-store'),
    how: 'followed',
  },
  { kind: 'redefine members: spawn', says: /Redefine it/, tests: e2e('hints/repairs'), how: 'followed' },
  {
    kind: 'create what is missing: spawn',
    says: /(creates) (what is missing|missing domains)|Run "cowherd spawn" again/,
    tests: e2e('fleet/verify', 'fleet/verbs'),
    how: 'followed',
  },
  {
    kind: 'orphaned files and domains',
    says: /They are unused|If you do not need it|detach it from that domain|Check whether you need|it can be removed|If no domain uses|Undefine those that do not belong/,
    tests: e2e('fleet/verify', 'hints/domains'),
    how: 'followed',
  },
  {
    kind: 'remove leftovers of killed runs: verify --fix',
    says: /Remove it: cowherd verify/,
    tests: e2e('fleet/verify', 'checkpoint/stray-checkpoints'),
    how: 'followed',
  },
  { kind: 'rebuild a record: status --recover', says: /--recover/, tests: e2e('fleet/verify', 'base/tamper'), how: 'followed' },
  {
    kind: 'finish what was interrupted: resume',
    says: /cowherd resume|^Finish it: …|Then: cowherd resume/,
    tests: e2e('faults/crash', 'clone/clones', 'fleet/verify'),
    how: 'followed',
  },

  // Base images.
  {
    kind: 'restore a base image: base add',
    says: /base add FILE|Import the image again|compares its content|Every overlay on it may be corrupt|never creates such an image/,
    tests: e2e('base/tamper', 'fleet/verify'),
    how: 'followed',
  },
  {
    kind: 'a base image that is in use',
    says: /Their overlays are unusable|cowherd rebase … --base OTHER|^cowherd teardown …$|Layered images are unusable|^cowherd base remove …$|^Name one: cowherd base/,
    tests: e2e('hints/domains', 'base/promote'),
    how: 'followed',
  },
  {
    kind: 'base images used by domains outside any fleet',
    says: /Writing to one link|These domains belong to no fleet|Their content would be corrupted/,
    tests: e2e('hints/domains', 'base/promote'),
    how: 'followed',
  },
  {
    kind: 'an image that cannot be a base image',
    says: /A base image (is|needs)|Uncompress|Convert it|--format|unencrypted images|truncated|It is damaged, or this QEMU|No overlay can be made on|convert -f|Copy it again|Reading so many holes/,
    tests: ['test/integration/image/not-an-image.test.ts', 'test/integration/image/hostile-images.test.ts'],
    how: 'followed',
  },
  {
    kind: 'images that are not generalized',
    says: /machine-id|virt-sysprep|guestfish|cloud-init clean|rm -f|rm-rf|ssh-keygen -A|^instance/,
    tests: e2e('guest/guests'),
    how: 'followed',
  },

  // The host.
  {
    kind: 'a full disk or quota',
    says: /The disk (is full|quota)|Free some|fill|Is the disk full|Also check the space|^free some space|worst case/i,
    tests: e2e('faults/full-disk'),
    how: 'followed',
  },
  {
    kind: 'memory',
    says: /out of memory|fit\. Start fewer/,
    tests: e2e('hints/host', 'fleet/memory'),
    how: 'followed',
  },
  {
    kind: 'limits of open files and clients',
    says: /open files|many files|LimitNOFILE|max_clients/,
    tests: ['test/integration/host/process.test.ts', ...e2e('hints/host')],
    how: 'followed',
  },
  {
    kind: 'tools and versions to install',
    says: /apt-get install|Install |on PATH|needs QEMU 6|TPM could not be created|chown -R|genisoimage/,
    tests: e2e('hints/host'),
    how: 'followed',
  },
  {
    kind: 'libvirtd, virtlogd and virsh',
    says: /libvirtd|virtlogd|virsh uri|LC_ALL|list --all --name|domains being created|of this user$|that status file/,
    tests: e2e('hints/host', 'host/users', 'faults/flaky-libvirt'),
    how: 'followed',
  },
  {
    kind: 'a QEMU or a call that hangs',
    says: /domcontrol|query-jobs|overloaded|Force it off|Run the command yourself/,
    tests: e2e('faults/hangs'),
    how: 'followed',
  },
  {
    kind: 'networks',
    says: /net-start|net-list|network=default|dhcp|--network user|net-update|net-dumpxml|port that is forwarded|--forward-ssh|Widen its range|Stop them before they change/,
    tests: e2e('hints/networks', 'fleet/networks', 'guest/guests'),
    how: 'followed',
  },
  {
    kind: 'the accelerator and CPUs',
    says: /virt-type|doctor --fresh|kvm|--cpu|domcapabilities|CPU|probe guest/i,
    tests: ['test/integration/host/accelerator.test.ts', ...e2e('host/accelerator')],
    how: 'followed',
  },
  {
    kind: 'KSM',
    says: /Merged pages|equal pages/,
    tests: ['test/integration/host/machine-memory.test.ts'],
    how: 'told',
    why: 'it is a setting of the whole host',
  },
  {
    kind: 'failing disks',
    says: /dmesg/,
    tests: e2e('hints/failing-disk'),
    how: 'told',
    why: 'the fault is simulated, so its messages are not in dmesg',
  },

  // Members and guests.
  {
    kind: 'start, stop or resume',
    says: /cowherd (start|stop)|virsh (start|shutdown)|Resume it|(may|It may) still shut down|--force|Start it|Stop it|Shut it down|virsh start|started by hand/,
    tests: e2e('base/promote', 'fleet/verbs', 'faults/full-disk', 'snapshot/snapshot-refusals'),
    how: 'followed',
  },
  { kind: 'increase the timeout', says: /--timeout|TIMEOUT/, tests: e2e('guest/guests', 'faults/hangs'), how: 'followed' },
  {
    kind: 'run it again',
    says: /^Run (the same command|this) again|No data was lost|run the same command/i,
    tests: e2e('hints/host'),
    how: 'followed',
  },
  {
    kind: 'guest agents and ssh',
    says: /agent|--via ssh|sshd|host key|none of our keys|df -h|cowherd exec|Check the paths on both/i,
    tests: e2e('guest/guests', 'guest/hostile-guest'),
    how: 'followed',
  },
  {
    kind: 'cloud-init and seeds',
    says: /cloud-init|#cloud-config|\{\{json|user-data|instanceId|seed|ssh keys|\.pub/,
    tests: e2e('hints/domains', 'guest/guests'),
    how: 'followed',
  },
  { kind: 'templates', says: /template/, tests: e2e('hints/domains', 'fleet/templates'), how: 'followed' },
  {
    kind: 'checkpoints',
    says: /checkpoint|Nothing was loaded|warm reset/i,
    tests: e2e('checkpoint/warm', 'checkpoint/stray-checkpoints'),
    how: 'followed',
  },
  {
    kind: 'source VMs and clones',
    says: /golden|clone|--from-(domain|running)|freeze|detach-disk|--hook|virsh detach|save_image|cold start/i,
    tests: e2e('clone/clones', 'base/from-domain'),
    how: 'followed',
  },
  {
    kind: 'snapshots of other domains',
    says: /snapshot|Restore the overlay|virsh edit|all to the new file|put the disks|keep it off|docs\/snapshots|It was started, or saved|NVRAM|the original/i,
    tests: e2e('hints/snapshots', 'snapshot/snapshot-refusals', 'snapshot/snapshot-xml'),
    how: 'followed',
  },

  // Changed files in the store.
  {
    kind: 'unexpected files in the store',
    says: /Restore the directory|cowherd does not (follow|change|remove)|Move it away|Look at (…|it)|in its place|directory does not exist|Check that directory|directory was renamed|Remove it|Restore|Remove it and rebase/,
    tests: e2e('base/tamper', 'host/hostile-store'),
    how: 'followed',
  },

  // Invalid input.
  {
    kind: 'what to write or read instead',
    says: /^(Make|Create|List|Name|Write|Use|Check|See|Try|Choose|Give|Leave|Look|Is |It (has|is|says)|The (store|base|work|guest|states)|Members|Add|Quote|Run it|Fetch|Put|Letters|Six|Each|32|A |Rename|Let|Some|To |Change|"cowherd|If you|qemu-img convert has|Define|Please|Correct|Disks|Copy it into the guests|"…… --help"|With several fleets|Call copyInFleets|Set|format$|fleets$|Enlarge|Grow|Omit|Provide|Redefine|Repair|Run this command|Restrict|Switch|Existing|Wait|For details|The record)/,
    tests: ['test/unit/cli/limits.test.ts', 'test/unit/hostile-fleet-files.test.ts', ...e2e('fleet/verbs', 'fleet/names')],
    how: 'reads',
  },
];
