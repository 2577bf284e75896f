import { stringify } from 'yaml';
import { CowherdError } from '../errors.js';
import { type Ipv4Address, parseIpv4 } from '../guest/values.js';
import { isSshConfigValue, jsonText, shellWord, withinSshQuotes } from '../quoting.js';

/** The members of a fleet in the formats of other tools. */

export const inventoryFormats = ['json', 'ansible', 'ssh-config', 'hosts', 'env'] as const;
export type InventoryFormat = (typeof inventoryFormats)[number];

export interface InventoryMember {
  index: number;
  name: string;
  state: 'on' | 'off';
  /** Address at which this host reaches it; null if unknown. */
  host: Ipv4Address | null;
  port: number | null;
  user: string;
  identityFile: string | null;
  knownHostsFile: string;
  /** Lines of an ssh_config; none if the path of the store cannot be written in one. */
  sshConfig: string[];
}

export interface Inventory {
  fleet: string;
  members: InventoryMember[];
}

/** @throws BAD_USAGE for format hosts if members have no own address, and for values that the format cannot contain */
export function formatInventory(inventory: Inventory, format: InventoryFormat): string {
  return format === 'json' ? jsonText(inventory) : formatInventories([inventory], format);
}

/** One inventory of several fleets, like {@link formatInventory}; in JSON `{fleets: [...]}`. @throws BAD_USAGE */
export function formatInventories(inventories: readonly Inventory[], format: InventoryFormat): string {
  const members = inventories.flatMap((inventory) => inventory.members);
  const names = inventories.map(({ fleet }) => fleet);
  const reachable = members.filter(isReachable);
  if (format !== 'json') reachable.forEach(assertPlain);
  if (format === 'ssh-config' || format === 'ansible') reachable.forEach(assertInSshConfig);
  switch (format) {
    case 'json':
      return jsonText({ fleets: inventories });
    case 'ansible':
      return stringify(
        Object.fromEntries(
          inventories.map((inventory) => {
            const own = inventory.members.filter(isReachable);
            return [
              inventory.fleet.replaceAll('-', '_'),
              { hosts: Object.fromEntries(own.map((member) => [member.name, ansibleHost(member)])) },
            ];
          }),
        ),
      ).trimEnd();
    case 'ssh-config':
      return reachable.map(({ name, sshConfig }) => [`Host ${name}`, ...sshConfig.map((line) => `  ${line}`)].join('\n')).join('\n\n');
    case 'hosts': {
      if (reachable.some(({ host }) => host.startsWith('127.'))) {
        throw new CowherdError('BAD_USAGE', `The members of ${names.join(' and ')} share the address 127.0.0.1, each with its own port`, {
          hint: 'A hosts file cannot contain ports: use --format ssh-config.',
        });
      }
      return reachable.map(({ host, name }) => `${host}\t${name}`).join('\n');
    }
    case 'env':
      return [
        names.length === 1 ? `COWHERD_FLEET=${names[0]}` : `COWHERD_FLEETS=${shellWord(names.join(' '))}`,
        `COWHERD_MEMBERS=${shellWord(reachable.map(({ name }) => name).join(' '))}`,
        ...reachable.flatMap(({ name, host, port, user }) => {
          const prefix = name
            .toUpperCase()
            .replaceAll('-', '_')
            .replace(/^(?=\d)/, '_');
          return [`${prefix}_HOST=${shellWord(host)}`, `${prefix}_PORT=${port}`, `${prefix}_USER=${shellWord(user)}`];
        }),
      ].join('\n');
  }
}

function isReachable(member: InventoryMember): member is InventoryMember & { host: Ipv4Address; port: number } {
  return member.host !== null;
}

/** Members may also come from programs that ignore the types. */
function assertPlain({ name, host, sshConfig }: InventoryMember): void {
  const broken = sshConfig.find((line) => /\p{Cc}/u.test(line));
  if (parseIpv4(host) !== undefined && broken === undefined) return;
  throw new CowherdError('BAD_USAGE', `${name} cannot be written to an inventory: ${JSON.stringify(broken ?? host)}`, {
    hint: 'A host must be an IPv4 address, and a line of an ssh_config has no control characters.',
  });
}

/** @throws BAD_USAGE */
function assertInSshConfig({ knownHostsFile }: InventoryMember): void {
  if (isSshConfigValue(knownHostsFile)) return;
  const store = knownHostsFile.split('/').slice(0, -4).join('/');
  throw new CowherdError('BAD_USAGE', `ssh would read "\${" as a variable in ${JSON.stringify(knownHostsFile)}`, {
    hint: `Access the store through a link: ln -s ${shellWord(store)} ~/cowherd-store, then run this command with --store ~/cowherd-store`,
  });
}

function ansibleHost({ host, port, user, identityFile, sshConfig }: InventoryMember): Record<string, string | number> {
  const common = sshConfig
    .filter((line) => /^(HostKeyAlias|UserKnownHostsFile|StrictHostKeyChecking|IdentitiesOnly) /.test(line))
    .map((line) => `-o ${shellWord(line.replace(' ', '='))}`);
  return {
    ansible_host: host ?? '',
    ansible_port: port ?? 22,
    ansible_user: user,
    // Ansible puts it between quotes in an ssh argument.
    ...(identityFile === null ? {} : { ansible_ssh_private_key_file: literal(withinSshQuotes(identityFile)) }),
    ansible_ssh_common_args: literal(common.join(' ')),
  };
}

/** Ansible evaluates inventory values as Jinja templates. @throws BAD_USAGE */
function literal(value: string): string {
  if (!/\{[{%#]/.test(value)) return value;
  throw new CowherdError('BAD_USAGE', `Ansible would read ${JSON.stringify(value)} as a template`, {
    hint: 'Keep the store in a directory whose path has no "{{", "{%" or "{#", or use --format ssh-config.',
  });
}
