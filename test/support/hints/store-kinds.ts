import { e2e, type HintKind } from './kind.js';

/** Hints about files, domains and base images. */
export const storeKinds: HintKind[] = [
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
    tests: e2e('host/installed'),
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
    says: /AppArmor denied|SELinux denied|each clone gets a copy, and a note/,
    tests: ['test/unit/adapters/virsh.test.ts', 'test/unit/core/confinement.test.ts'],
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
    tests: e2e('hints/disks', 'tamper/overlay'),
    how: 'followed',
  },
  {
    kind: "restore a domain's own disks",
    says: /^Was the store moved\? "cowherd base relocate" corrects the paths. Otherwise|^virsh undefine$|--managed-save --snap|^virsh destroy …; |--keep-/,
    tests: e2e('tamper/domain'),
    how: 'followed',
  },
  { kind: 'a store that was moved: base relocate', says: /Was the store moved/, tests: e2e('base/relocate'), how: 'followed' },
  {
    kind: 'a fresh disk by a reset',
    says: /^A reset gives|Another program changed it|^Reset it to its base image|A cold reset always works|cold reset always works|Save what you need from the guest/,
    tests: e2e('tamper/overlay', 'fleet/verify'),
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
    tests: e2e('tamper/domain', 'fleet/damage'),
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
    tests: e2e('host/odd-store.long'),
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
  { kind: 'rebuild a record: status --recover', says: /--recover/, tests: e2e('fleet/verify', 'tamper/records'), how: 'followed' },
  {
    kind: 'finish what was interrupted: resume',
    says: /cowherd resume|^Finish it: …|Then: cowherd resume/,
    tests: e2e('faults/crash', 'clone/freeze.long', 'fleet/verify'),
    how: 'followed',
  },

  // Base images.
  {
    kind: 'restore a base image: base add',
    says: /base add FILE|Import the image again|compares its content|Every overlay on it may be corrupt|never creates such an image/,
    tests: e2e('tamper/base-image', 'fleet/verify'),
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
    kind: 'an archive or a compressed image',
    says: /--disk |--max-size|^Unpack it|unpack|Compress it again|^Name one of the files|Download it to examine|truncated or damaged|^cowherd base add … …$|^Repeat the command with …$|^Name one: …$/,
    tests: [
      'test/integration/image/hostile-archives.test.ts',
      'test/integration/image/hostile-sparse.test.ts',
      'test/integration/image/hostile-compression.test.ts',
      'test/integration/image/formats.test.ts',
    ],
    how: 'followed',
  },
  {
    kind: 'a disk that needs another file',
    says: /Merge it with its parent|Clone the disk with its snapshots|Export the virtual machine as an OVA|merge its files where they are/,
    tests: ['test/integration/image/hostile-disks.test.ts'],
    how: 'told',
    why: 'the programs that created the disks are not on the test machines',
  },
  {
    kind: 'images that are not generalized',
    says: /machine-id|virt-sysprep|guestfish|cloud-init clean|rm -f|rm-rf|ssh-keygen -A|^instance/,
    tests: e2e('guest/identity'),
    how: 'followed',
  },
];
