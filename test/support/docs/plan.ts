/** How the commands of each section of the documentation are tested: the setup in test/e2e/cli/docs.test.ts, or why they are not run. */

export type World = 'small' | 'linux' | 'images' | 'snapshots' | 'cloud';

export type Plan =
  /** @param before commands that create the state described in the section */
  | { world: World; before?: readonly string[] }
  /** Why only names and flags of the commands are checked. */
  | { reason: string };

const changesThisMachine = 'installs software on this machine, from the internet';
const runsTheTests = 'starts the test suite or a part of it';
const example = { reason: 'test/e2e/cli/examples.test.ts runs the script of the example, whose output this is' };

const needsInternet = { reason: 'downloads from the internet; test/e2e/base/pull.test.ts pulls from a server of its own' };

/** Order of the sections within each setup. */
export const planned: Record<string, Plan> = {
  'README.md#quickstart': { reason: 'npm run test:debian13 runs the quickstart on a fresh system' },
  'README.md#install': { reason: changesThisMachine },
  'README.md#the-most-important-commands': { world: 'small' },
  'CONTRIBUTING.md#contributing': { reason: runsTheTests },

  'docs/install.md#from-nodejsorg-for-all-users': { reason: changesThisMachine },
  'docs/install.md#from-nodesource-as-a-debian-package': { reason: changesThisMachine },
  'docs/install.md#install-cowherd': { reason: changesThisMachine },

  'docs/guide.md#your-first-image': needsInternet,
  'docs/guide.md#the-first-fleet': { world: 'small' },
  'docs/guide.md#disks-firmware-tpm-and-cpu': { world: 'small' },
  'docs/guide.md#several-fleets-in-one-file': { world: 'small' },
  'docs/guide.md#base-images': { world: 'small' },
  'docs/guide.md#a-fleet-from-an-existing-domain': { world: 'small' },
  'docs/guide.md#snapshots-of-other-domains': { world: 'small' },
  'docs/guide.md#edit-the-domain-template': { world: 'small', before: ['cowherd spawn lab --base golden.qcow2 --count 3'] },
  'docs/guide.md#check-and-repair': { world: 'small' },
  'docs/guide.md#shell-completion-and-defaults': { world: 'small' },

  'docs/guide.md#guests-that-you-can-log-in-to': { world: 'linux' },
  'docs/guide.md#work-in-the-guests': { world: 'linux' },
  'docs/guide.md#wait-until-guests-are-ready': { world: 'linux' },
  'docs/guide.md#networks': { world: 'linux' },
  'docs/guide.md#update-the-golden-image': { world: 'linux', before: ['cowherd stop lab 1,2 --force'] },
  'docs/guide.md#scripts-and-programs': { world: 'linux' },
  'docs/guide.md#warm-resets': { world: 'linux', before: ['cowherd start lab 1,3 --wait agent'] },
  'docs/guide.md#clones-of-a-running-vm': {
    world: 'linux',
    before: ['cowherd spawn gold --base debian-12.qcow2 --count 1 --memory 2GiB --network network=default --seed smbios --wait agent'],
  },

  'docs/base-images.md#download-an-image-base-pull': needsInternet,
  'docs/base-images.md#what-cowherd-finds-in-an-image': { world: 'images', before: ['cowherd base add tiny.qcow2'] },
  'docs/base-images.md#prepare-an-image-base-prepare': { world: 'linux' },
  'docs/base-images.md#prepare-the-image-of-a-fleet-file': { world: 'linux', before: ['cowherd teardown lab --yes'] },

  'docs/base-images.md#create-a-base-image-from-a-member-promote': {
    world: 'images',
    before: ['cowherd spawn lab --base tiny.qcow2 --count 3'],
  },
  'docs/base-images.md#layered-base-images': { world: 'images' },
  'docs/base-images.md#show-where-images-come-from-history': { world: 'images' },
  'docs/base-images.md#copy-an-image-to-another-host-export': { world: 'images' },
  'docs/base-images.md#remove-unused-images-prune': { world: 'images' },
  'docs/base-images.md#shrink-overlays-compact': { world: 'images' },

  'docs/base-images.md#the-catalog': { world: 'images' },

  'docs/snapshots.md#take': { world: 'snapshots' },
  'docs/snapshots.md#list': { world: 'snapshots' },
  'docs/snapshots.md#rollback': { world: 'snapshots' },
  'docs/snapshots.md#commit': { world: 'snapshots', before: ['cowherd snapshot take web --name upgraded --yes'] },
  'docs/snapshots.md#what-is-refused-and-why': { reason: 'needs an image that was changed: test/e2e/snapshot/snapshot-images.test.ts' },
  'docs/snapshots.md#after-a-crash': { reason: 'needs a run that was killed: test/e2e/faults/crash-matrix.test.ts' },

  'docs/warm.md#checkpoints-and-warm-resets': { reason: 'the guide has the same commands, which run there' },
  'docs/warm.md#boot-once': { reason: 'the guide has the same command, which runs there' },
  'docs/warm.md#instant-clones': { reason: 'the guide has the same commands, which run there' },
  'docs/warm-secrets.md#how-to-prepare-the-source-vm': {
    reason: 'the program of the hook is an example; test/e2e/checkpoint/warm.test.ts runs hooks',
  },

  'docs/openstack.md#fleets-on-openstack': { world: 'cloud' },

  'examples/debian-12/README.md#debian-12-with-cloud-init': { reason: 'npm run test:nightly runs the script of the example' },
  'examples/first-fleet/README.md#a-first-fleet': example,
  'examples/golden-life/README.md#the-life-of-a-golden-image': example,
  'examples/lab/README.md#a-lab-of-two-roles': example,
  'examples/linux-lab/README.md#linux-guests-without-any-privileges': example,
  'examples/own-template/README.md#your-own-domain-template': example,
  'examples/tiny-linux/README.md#tiny-linux-a-golden-image-that-boots-in-three-cpu-seconds': {
    reason: 'the end-to-end tests build this image before they begin',
  },
  'examples/vitest-fleet/README.md#a-test-suite-across-three-vms': example,
};

/** Skipped commands within sections that run. */
export const exceptions: readonly (readonly [command: RegExp, reason: string])[] = [
  [/^cowherd ssh lab-003$/, 'interactive; the next section runs a command by ssh'],
  [/^cowherd console /, 'interactive; test/e2e/guest/commands.test.ts attaches a terminal'],
  [/^cowherd doctor --start-network default$/, 'starts a network of this machine; test/e2e/fleet/networks.test.ts starts one of its own'],
  [/^cowherd spawn local /, 'the example linux-lab runs it: guests on user networking with a forwarded port'],
  [/^mv \/srv\/cowherd /, 'the place is an example; test/e2e/base/relocate.test.ts moves a store'],
  [/^cowherd base relocate --store \/big/, 'the place is an example; test/e2e/base/relocate.test.ts moves a store'],
  [/^cowherd base pull debian-12/, 'downloads from the internet; test/e2e/base/pull.test.ts pulls from a server of its own'],
  [/^cowherd exec lab -- uptime$/, 'needs a guest with an agent; the guide runs exec in Linux guests'],
];
