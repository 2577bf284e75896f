import type { HintKind } from './kind.js';

const tests = (...names: string[]): string[] => names.map((name) => `test/integration/engines/nova/${name}.test.ts`);

/** Hints about OpenStack clouds. */
export const cloudKinds: HintKind[] = [
  {
    kind: 'settings of a cloud',
    says: /clouds\.yaml|openrc|\bOS_[A-Z*]|openstack:\/\/|_endpoint_override|cacert|^(identity_api_version|auth_url|auth_type|interface)$|secure\.yaml|v3applicationcredential|auth\.auth_url|\/v2\.0/,
    tests: tests('find-settings', 'tls', 'secrets'),
    how: 'reads',
  },
  {
    kind: 'what a cloud refuses',
    says: /(of|to|by) the cloud|The cloud (is|has)|larger quota|"openstack |storage of the cloud|report the release of the cloud/,
    tests: tests('requests', 'lost-replies', 'images', 'recordings'),
    how: 'told',
    why: 'they are up to the operator of the cloud',
  },
];
