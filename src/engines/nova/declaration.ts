import type { EngineDeclaration, Lack } from '../../core/engine/declaration.js';
import { optionLacks } from './option-lacks.js';

const snapshot: Lack = {
  why: 'snapshots are for libvirt domains that cowherd did not create',
  instead:
    'Save the disk as an image: openstack server image create SERVER --name NAME. Return to it: openstack server rebuild SERVER --image NAME',
};

/** What this engine does on a cloud, and what it refuses. */
export const openStack: EngineDeclaration = {
  name: 'openstack',
  title: 'OpenStack Nova',
  verbs: {
    spawn: 'a server per member; tags say its fleet, number and base image',
    status: 'servers, their tags and their faults; no sizes of overlays',
    list: 'as status',
    report: 'an estimate: Nova reports no sizes of overlays',
    reset: 'a rebuild with the image of the server',
    rebase: 'a rebuild with the new image: canaries, then batches',
    promote: 'an image of a stopped server',
    start: 'yes',
    stop: 'Nova forces off a guest that does not shut down in time',
    teardown: 'delete, repeated until the servers are gone',
    resume: 'yes',
    verify: 'servers and images, compared with the records',
    exec: 'ssh',
    cp: 'ssh',
    ssh: 'fixed or floating address',
    inventory: 'fixed or floating addresses',
    logs: 'console log of Nova',
    console: {
      why: 'Nova offers consoles through a proxy of the cloud only',
      instead: 'Open it in a browser: openstack console url show MEMBER. To read its output: cowherd logs MEMBER',
    },
    events: {
      why: 'Nova reports changes to the operators of the cloud only',
      instead: 'Watch the fleet: cowherd status FLEET --watch',
    },
    dashboard: {
      why: 'its page shows domains of libvirt and files of this host',
      instead: 'Use the dashboard of the cloud, or watch the fleet: cowherd status FLEET --watch',
    },
    checkpoint: {
      why: 'Nova cannot save the memory of a server that continues to run',
      instead:
        'Save the disk of a member as an image: cowherd promote MEMBER --as NAME --stop. Then base the fleet on it: cowherd rebase FLEET --base NAME',
    },
    compact: {
      why: 'the overlays are on the hosts of the cloud',
      instead: 'Discard what the guests have written: cowherd reset FLEET',
    },
    doctor: {
      why: 'it checks libvirt and QEMU on this host',
      instead: 'Check quota, flavor, image and network: cowherd spawn FLEET --base IMAGE --flavor NAME --count N --dry-run',
    },
    'base add': 'an image that is uploaded once and protected',
    'base prepare': {
      why: 'the VM that is prepared runs on this host',
      instead: 'Set up a member of a fleet, and save its disk: cowherd promote MEMBER --as NAME --stop',
    },
    'base list': 'images of cowherd, and those that its fleets use',
    'base inspect': 'yes',
    'base verify': 'the digest in the image service',
    'base remove': 'images of cowherd only',
    'base prune': 'images of cowherd only',
    'base export': {
      why: 'the image is in the image service',
      instead: 'Download it: openstack image save --file FILE IMAGE',
    },
    'base history': {
      why: 'cowherd records the origin of images in its own store only',
      instead: 'See base_image_ref and instance_uuid of a promoted image: openstack image show IMAGE',
    },
    'base relocate': {
      why: 'images and overlays are in the cloud, without paths on this host',
      instead: 'To rebuild a lost record: cowherd status FLEET --recover',
    },
    'base catalog': {
      why: 'it lists what can be downloaded to the store of this host',
      instead: 'Download the image from its distribution, then upload it: cowherd base add FILE',
    },
    'base pull': {
      why: 'it downloads to the store of this host',
      instead: 'Download the image, then upload it: cowherd base add FILE',
    },
    'base update': {
      why: 'it downloads to the store of this host',
      instead: 'Download the newer image, then upload it: cowherd base add FILE',
    },
    'snapshot take': snapshot,
    'snapshot list': { ...snapshot, instead: 'List the images of the project: openstack image list --private' },
    'snapshot rollback': snapshot,
    'snapshot drop': { ...snapshot, instead: 'Delete an image: openstack image delete NAME' },
    'snapshot commit': snapshot,
    'template render': {
      why: 'Nova writes the definitions of its domains',
      instead: 'See what would be created: cowherd spawn FLEET --dry-run',
    },
  },
  options: optionLacks,
};
