import { e2e, type HintKind } from './kind.js';

/** Hints about the host, members and guests, and what is left. */
export const machineKinds: HintKind[] = [
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
    says: /libvirtd|virtlogd|the virsh of libvirt|virsh uri|LC_ALL|list --all --name|domains being created|of this user$|that status file/,
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
    tests: e2e('hints/networks', 'fleet/networks', 'guest/readiness'),
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
    kind: 'the address and the page of the dashboard',
    says: /--tls-cert|ss -ltnp|npm run build|^Both must be PEM files|Choose a higher one with --port|^Give an address of this host with --listen/,
    tests: ['test/integration/dashboard/server.test.ts'],
    how: 'reads',
  },
  {
    kind: 'a dashboard that has ended',
    says: /start it again: cowherd dashboard|^Open the URL that "cowherd dashboard"/,
    tests: e2e('browser/dashboard'),
    how: 'followed',
  },
  {
    kind: 'limits of watches',
    says: /limits watches/,
    tests: ['test/integration/store/fleet-watch.test.ts'],
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
  { kind: 'increase the timeout', says: /--timeout|TIMEOUT/, tests: e2e('guest/commands', 'faults/hangs'), how: 'followed' },
  {
    kind: 'run it again',
    says: /^Run (the same command|this) again|run the same command/i,
    tests: e2e('hints/host'),
    how: 'followed',
  },
  {
    kind: 'guest agents and ssh',
    says: /agent|may still be running in the guest|--via ssh|sshd|host key|none of our keys|df -h|cowherd exec|Check the paths on both/i,
    tests: e2e('guest/commands', 'guest/hostile-guest'),
    how: 'followed',
  },
  {
    kind: 'cloud-init and seeds',
    says: /cloud-init|#cloud-config|\{\{json|user-data|instanceId|seed|ssh keys|\.pub/,
    tests: e2e('hints/domains', 'guest/seeds'),
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
    tests: e2e('tamper/base-image', 'tamper/overlay', 'tamper/records', 'host/hostile-store'),
    how: 'followed',
  },

  // Invalid input.
  {
    kind: 'what to write or read instead',
    says: /^(Make|Create|List|Name|Write|Use|Check|See|Try|Choose|Give|Leave|Look|Is |It (has|is|says)|The (store|base|work|guest|states)|Members|Add|Quote|Run it|Fetch|Put|Letters|Six|Each|32|A |Rename|Let|Some|To |Change|"cowherd|If you|qemu-img convert has|Define|Please|Correct|Disks|Copy it into the guests|"…… --help"|With several fleets|Call copyInFleets|Set|format$|fleets$|Enlarge|Grow|Omit|Provide|Redefine|Repair|Run this command|Restrict|Switch|Existing|Wait|For details|The record)/,
    tests: [
      'test/integration/cli/limits.test.ts',
      'test/integration/cli/hostile-fleet-files.test.ts',
      ...e2e('fleet/verbs', 'fleet/names'),
    ],
    how: 'reads',
  },
];
