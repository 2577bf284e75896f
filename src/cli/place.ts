import type { EngineDeclaration } from '../core/engine/declaration.js';
import { declarationOf } from '../open-engine.js';
import type { Ports } from '../ports/index.js';
import { type Defaults, readDefaults } from './defaults.js';

export interface PlaceFlags {
  connect?: string | undefined;
  store?: string | undefined;
  /** A fleet file. */
  file?: string | undefined;
}

/** Where a command runs. */
export interface Place {
  engine: EngineDeclaration;
  /** undefined: this host, by the permissions of the user. */
  connect: string | undefined;
  /** undefined: the default store of the connection. */
  store: string | undefined;
  /** What commands in hints must repeat; defaults from files and the environment apply by themselves. */
  repeated: { connect: string | undefined; store: string | undefined };
  ignored: Defaults['ignored'];
}

/**
 * The connection is that of the flag, otherwise that of the fleet file, otherwise the default.
 * @throws BAD_SPEC, BAD_USAGE, FILE_NOT_FOUND if a file is invalid or missing
 */
export async function findPlace(flags: PlaceFlags, files: Pick<Ports, 'readFile'>): Promise<Place> {
  const { settings, ignored } = await readDefaults();
  const named = flags.connect ?? (flags.file === undefined ? undefined : await connectionIn(files, flags.file));
  const connect = named ?? settings.connect?.value;
  return {
    engine: await declarationOf(connect),
    connect,
    store: flags.store ?? settings.store?.value,
    repeated: { connect: named, store: flags.store === process.env.COWHERD_STORE ? undefined : flags.store },
    ignored,
  };
}

/** Only with a file, the YAML parser is loaded. All fleets of a file have the same connection. */
async function connectionIn(files: Pick<Ports, 'readFile'>, file: string): Promise<string | undefined> {
  const { readFleetFile } = await import('../services/fleet/file.js');
  return (await readFleetFile(files, file))[0]?.connect;
}

/** Reads each file once: a pipe cannot be read again. */
export function readingOnce(read: Ports['readFile']): Ports['readFile'] {
  const texts = new Map<string, Promise<string>>();
  return (path) => {
    const text = texts.get(path) ?? read(path);
    texts.set(path, text);
    return text;
  };
}
