import { e2e, type HintKind } from './kind.js';

const tests = (...names: string[]): string[] => names.map((name) => `test/integration/engines/nova/${name}.test.ts`);

/** Hints about OpenStack clouds. */
export const cloudKinds: HintKind[] = [
  {
    kind: 'fleets in a cloud',
    says: /No server was changed|^Move (it|the fleet)( to another image)?: cowherd rebase|Create it( again)?: cowherd spawn …(\.|$)|^Give it a fresh disk|To replace its disk|Their members cannot be reset|more fit\)|^Add --flavor NAME|lost with its record|^Give it again for the new members/,
    tests: e2e('hints/cloud'),
    how: 'followed',
  },
  {
    kind: 'the client of OpenStack',
    says: /openstack (server|keypair|image (delete|create --volume|save)) |(Unlock it f|F)irst: openstack|Create an image from its volume/,
    tests: [...tests('faults', 'verbs/promote', 'verbs/bases'), 'test/unit/engines/nova/plan.test.ts'],
    how: 'told',
    why: 'its commands are those of another program',
  },
  {
    kind: 'images and records in a cloud',
    says: /being uploaded or promoted|All members of a fleet have the same|If its spawn was interrupted before its first server|These servers belong to no fleet|Some storages keep the disks/,
    tests: tests('verbs/bases', 'crash', 'verbs/promote'),
    how: 'reads',
  },
  {
    kind: 'settings of a cloud',
    says: /clouds\.yaml|openrc|\bOS_[A-Z*]|openstack:\/\/|_endpoint_override|cacert|^(identity_api_version|auth_url|auth_type|interface)$|secure\.yaml|v3applicationcredential|auth\.auth_url|\/v2\.0/,
    tests: tests('find-settings', 'tls', 'secrets'),
    how: 'reads',
  },
  {
    kind: 'what a cloud refuses',
    says: /(of|to|by) (the|this) cloud|The cloud (is|has)|larger quota|"openstack |storage of the cloud|report the release of the cloud/,
    tests: tests('requests', 'lost-replies', 'images', 'recordings'),
    how: 'told',
    why: 'they are up to the operator of the cloud',
  },
  {
    kind: 'the platform of a fleet',
    says: /^Connect to (this host|its cloud)|Or name another store: --store|fleets of each connection/,
    tests: ['test/integration/store/fleet-store.test.ts', 'test/integration/cli/connection.test.ts'],
    how: 'reads',
  },
];
