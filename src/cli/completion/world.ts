import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/**
 * Names for completion, read only from files: libvirt or a library would be too slow for a key press. Unreadable files are skipped.
 */

export interface Asked {
  store?: string | undefined;
  connect?: string | undefined;
}

const systemStore = '/var/lib/libvirt/images/cowherd';
const name = /^[a-z0-9][a-z0-9-]{0,39}$/;

/** Directories of the possible stores; an unprivileged user without a setting has two. */
export function storesOf(asked: Asked): string[] {
  const settings = [asked, { store: process.env.COWHERD_STORE, connect: process.env.LIBVIRT_DEFAULT_URI }, ...configFiles()];
  const store = settings.find((one) => one.store)?.store;
  if (store !== undefined) return [resolve(store.replace(/^~(?=\/|$)/, home()))];
  const connect = settings.find((one) => one.connect)?.connect;
  const own = join(process.env.XDG_DATA_HOME || join(home(), '.local', 'share'), 'cowherd');
  // The directory of a cloud is named after its settings, which are not read here.
  if (/^openstack:/i.test(connect ?? '')) return list(join(own, 'openstack')).map((name) => join(own, 'openstack', name));
  if (connect !== undefined) return [/\/system(\?.*)?$/.test(connect) ? systemStore : own];
  return process.getuid?.() === 0 ? [systemStore] : [systemStore, own];
}

export function fleets(asked: Asked): string[] {
  return namesIn(asked, 'fleets');
}

export function bases(asked: Asked): string[] {
  return namesIn(asked, 'bases');
}

/** Names and aliases of the built-in catalog. */
export function images(): string[] {
  const { images: all } = JSON.parse(readFileSync(new URL('../../../catalog/images.json', import.meta.url), 'utf8'));
  return all.flatMap(({ name, aliases }: { name: string; aliases: string[] }) => [name, ...aliases]);
}

export function members(asked: Asked, fleet: string): string[] {
  for (const store of storesOf(asked)) {
    try {
      const record = JSON.parse(readFileSync(join(store, 'fleets', fleet, 'fleet.json'), 'utf8'));
      return record.members.map((member: { name: string }) => member.name);
    } catch {
      // Not in this store, or damaged.
    }
  }
  return [];
}

/** Networks and domains from libvirt's files, which root can read, and for a session its user. */
export function libvirtNames(kind: 'networks' | 'domains'): string[] {
  const session = join(process.env.XDG_CONFIG_HOME || join(home(), '.config'), 'libvirt', 'qemu');
  const places =
    kind === 'networks'
      ? ['/etc/libvirt/qemu/networks', '/run/libvirt/network', join(session, 'networks')]
      : ['/etc/libvirt/qemu', session];
  const found = places.flatMap((place) => list(place).flatMap((file) => /^([^.].*)\.xml$/.exec(file)?.[1] ?? []));
  return [...new Set(found)].sort();
}

/** The names of the first clouds.yaml, where the OpenStack clients look for it. */
export function clouds(): string[] {
  const config = process.env.XDG_CONFIG_HOME || join(home(), '.config');
  const places = [process.env.OS_CLIENT_CONFIG_FILE, 'clouds.yaml', join(config, 'openstack/clouds.yaml'), '/etc/openstack/clouds.yaml'];
  const path = places.find((place) => place !== undefined && place !== '' && existsSync(place));
  if (path === undefined || lstatSync(path).size > 1024 * 1024) return [];
  const [, block = ''] = /^clouds:[ \t]*\n((?:(?:[ \t].*)?\n)*)/m.exec(`${readFileSync(path, 'utf8')}\n`) ?? [];
  const [, indent = ''] = /^([ \t]+)\S/m.exec(block) ?? [];
  return [...block.matchAll(/^([ \t]+)([\w.-]+):[ \t]*$/gm)].flatMap(([, before, cloud]) =>
    before === indent && cloud !== undefined ? [cloud] : [],
  );
}

function namesIn(asked: Asked, room: 'fleets' | 'bases'): string[] {
  const found = storesOf(asked).flatMap((store) => list(join(store, room)));
  return [...new Set(found)].filter((entry) => name.test(entry)).sort();
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function home(): string {
  return process.env.HOME || homedir();
}

/** Reads only the two keys that locate the store. */
function* configFiles(): Generator<Asked> {
  const user = join(process.env.XDG_CONFIG_HOME || join(home(), '.config'), 'cowherd', 'config.yaml');
  for (const path of [projectFile(), user]) {
    if (path === undefined || !existsSync(path) || lstatSync(path).size > 1024 * 1024) continue;
    const text = readFileSync(path, 'utf8');
    const value = (key: string): string | undefined =>
      new RegExp(`^${key}:[ \\t]+["']?([^"'#\\n]+?)["']?[ \\t]*(#.*)?$`, 'm').exec(text)?.[1];
    const store = value('store');
    yield { connect: value('connect'), store: store === undefined || store.startsWith('~') ? store : resolve(dirname(path), store) };
  }
}

function projectFile(): string | undefined {
  for (let level = process.cwd(); ; level = dirname(level)) {
    const path = join(level, 'cowherd.yaml');
    if (existsSync(path)) return path;
    if (level === dirname(level)) return undefined;
  }
}
