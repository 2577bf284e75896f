import type { Lack } from '../../core/engine/declaration.js';

const byFlavor: Lack = {
  why: 'the flavor determines it',
  instead: 'Choose a flavor: --flavor NAME. To list them: openstack flavor list',
};

const byImage = (...properties: string[]): string =>
  `Set a property of the image: openstack image set ${properties.map((property) => `--property ${property}`).join(' ')} IMAGE`;

const noMemory = 'Nova cannot clone the memory of a server';
const promoted = 'Promote a member that is set up, and spawn from its image: cowherd promote MEMBER --as NAME --stop';
const lean: Lack = { why: 'Nova determines the devices of a server', instead: 'Omit it' };
const warm = 'Nova saves no memory of a server to return to';
const agent: Lack = { why: 'the guest agent can be reached from its compute host only', instead: 'Use ssh: --via ssh' };
const toUpload = { why: 'images are uploaded from a file', instead: 'Download the image, then upload it: cowherd base add FILE' };
const flatten: Lack = {
  why: 'only one file is uploaded',
  instead: 'Flatten the image first: qemu-img convert -O qcow2 IMAGE FLAT.qcow2',
};
const unpack: Lack = {
  why: 'the file is uploaded as it is',
  instead: 'Unpack it, and convert the disk that is in it first: qemu-img convert -O qcow2 DISK golden.qcow2',
};

/** Options of spawn that are about images. */
const ofImages: Record<string, Lack> = {
  'spawn --from-domain': {
    why: 'the disks of the domain are on this host',
    instead: 'Upload its disk, and spawn from that image: cowherd base add FILE --name NAME',
  },
  '--image': {
    why: 'the VM that is prepared runs on this host',
    instead: 'Name an image of the cloud as base. To create one from a member: cowherd promote MEMBER --as NAME --stop',
  },
  'spawn --from-running': { why: noMemory, instead: promoted },
  'spawn --keep-frozen': { why: noMemory, instead: promoted },
  'spawn --share-tpm': { why: noMemory, instead: promoted },
  'spawn --boot-once': { why: noMemory, instead: promoted },
  'spawn --pull': toUpload,
  'spawn --catalog': toUpload,
  'spawn --trust-chain': flatten,
  'base add --trust-chain': flatten,
  'base add --disk': unpack,
  'base add --max-size': unpack,
};

/** Options of spawn that are about the virtual hardware. */
const ofHardware: Record<string, Lack> = {
  'spawn --memory': byFlavor,
  'spawn --vcpus': byFlavor,
  'spawn --disk-size': byFlavor,
  'spawn --disk': {
    why: 'the flavor determines the disks',
    instead: 'Choose a flavor with an ephemeral disk: --flavor NAME. To list them: openstack flavor list',
  },
  'spawn --virt-type': { why: 'the compute host determines it', instead: 'Omit it, or choose a flavor for other hosts: --flavor NAME' },
  'spawn --cpu': { why: 'the compute host determines it', instead: 'Omit it, or choose a flavor for other hosts: --flavor NAME' },
  'spawn --disk-cache': { why: 'the compute host determines it', instead: 'Omit it; the operator of the cloud sets disk_cachemodes' },
  'spawn --overlay': { why: 'the compute host creates the overlays', instead: 'Omit it' },
  'spawn --lean': lean,
  'spawn --no-lean': lean,
  'spawn --template': {
    why: 'Nova writes the definitions of its domains',
    instead: byImage('hw_machine_type=q35'),
  },
  'spawn --firmware': { why: 'the image determines it', instead: byImage('hw_firmware_type=uefi') },
  'spawn --nvram': { why: 'Nova creates the NVRAM', instead: byImage('hw_firmware_type=uefi') },
  'spawn --tpm': { why: 'the image determines it', instead: byImage('hw_tpm_version=2.0', 'hw_tpm_model=tpm-crb') },
};

/** Options of spawn that are about network and login. */
const ofLogin: Record<string, Lack> = {
  'spawn --network user': {
    why: 'user networking is for guests on this host',
    instead: 'Choose a network of the cloud: --network network=NAME',
  },
  'spawn --forward-ssh': {
    why: 'user networking is for guests on this host',
    instead: 'Log in to the address of a member: cowherd ssh MEMBER',
  },
  'spawn --network-config': { why: 'Nova writes the network-config', instead: 'Choose a network of the cloud: --network network=NAME' },
  'spawn --meta-data': { why: 'Nova writes the meta-data', instead: 'Put the values into the user-data: --user-data FILE' },
  'spawn --seed smbios': { why: 'Nova writes the SMBIOS data', instead: 'Use --seed nocloud: Nova passes the user-data to cloud-init' },
};

const ofOthers: Record<string, Lack> = {
  '--wait auto': { why: 'images of the cloud name no stage', instead: 'Name the stage: --wait ssh' },
  '--wait agent': { why: agent.why, instead: 'Wait for ssh: --wait ssh' },
  '--wait cloud-init': {
    why: agent.why,
    instead: "Wait for the last line of cloud-init on the console: --wait 'console=Cloud-init .* finished'",
  },
  'exec --via agent': agent,
  'cp --via agent': agent,
  'reset --warm': { why: warm, instead: `Omit it. ${promoted}` },
  'reset --hook': { why: warm, instead: 'Run the command after the reset: cowherd exec FLEET -- COMMAND' },
  'reset --keep-instance': { why: 'a rebuild always keeps the instance-id, which is the id of the server', instead: 'Omit it' },
  'rebase --keep-drift': {
    why: 'a rebuild discards the disk of a server',
    instead: 'Promote a member with its changes, and rebase to that image: cowherd promote MEMBER --as NAME --stop',
  },
  'promote --layered': { why: 'the image service stores whole images', instead: 'Omit it' },
  'stop --force': {
    why: 'Nova itself forces off a guest that does not shut down in time',
    instead: 'Omit it, and wait: how long a guest may take is a setting of the image (os_shutdown_timeout) or of the cloud',
  },
  'stop --timeout': {
    why: 'how long a guest may take to shut down is a setting of the cloud',
    instead: 'Omit it, or set it for the image: openstack image set --property os_shutdown_timeout=SECONDS IMAGE',
  },
  'start --force': { why: 'a server that is stopped keeps its memory reserved', instead: 'Omit it' },
  'status --memory': {
    why: 'Nova does not report the memory of QEMU to users',
    instead: 'Ask an administrator of the cloud for it: openstack server show --diagnostics MEMBER',
  },
  'report --html': { why: 'the page shows measured sizes, which Nova does not report', instead: 'Use --csv or --json' },
  'logs --follow': {
    why: 'Nova returns the log up to now only',
    instead: 'Print its end again from time to time: cowherd logs MEMBER --tail 20',
  },
  'verify --deep': {
    why: 'the disks of servers cannot be read',
    instead: 'Omit it. To verify a base image: cowherd base verify NAME',
  },
};

/** Options that are refused on a cloud. */
export const optionLacks: Readonly<Record<string, Lack>> = { ...ofImages, ...ofHardware, ...ofLogin, ...ofOthers };
