import { CowherdError } from '../../../core/errors.js';
import type { Server } from './servers.js';

/** What a server is created with. */
export interface NewServer {
  name: string;
  imageId: string;
  flavorId: string;
  /** none: no network card. auto: the cloud chooses. Otherwise ids of networks. */
  networks: 'none' | 'auto' | readonly string[];
  keyName?: string;
  zone?: string;
  securityGroups?: readonly string[];
  /** For cloud-init, not encoded. */
  userData?: string;
  tags: readonly string[];
  /** One of the tags, which no other server has: the server is found by it if the reply is lost. */
  uniqueTag: string;
  metadata: Readonly<Record<string, string>>;
}

/** Limits of the API. */
const most = { tags: 50, tagLength: 60, metadataLength: 255, userDataLength: 65_535, nameLength: 255 };

/** The body of POST /servers. @throws BAD_SPEC if the API would refuse it */
export function newServerBody(server: NewServer): unknown {
  checkServer(server);
  const { networks, keyName, zone, securityGroups, userData } = server;
  return {
    server: {
      name: server.name,
      imageRef: server.imageId,
      flavorRef: server.flavorId,
      networks: typeof networks === 'string' ? networks : networks.map((uuid) => ({ uuid })),
      ...(keyName === undefined ? {} : { key_name: keyName }),
      ...(zone === undefined ? {} : { availability_zone: zone }),
      ...(securityGroups === undefined ? {} : { security_groups: securityGroups.map((name) => ({ name })) }),
      ...(userData === undefined ? {} : { user_data: encoded(userData) }),
      tags: server.tags,
      metadata: server.metadata,
    },
  };
}

/** Whether a server has all tags and metadata of a new one: then a request for that one has created it. */
export function isMadeAs(wanted: Pick<NewServer, 'tags' | 'metadata'>, { tags, metadata }: Pick<Server, 'tags' | 'metadata'>): boolean {
  return wanted.tags.every((tag) => tags.includes(tag)) && Object.entries(wanted.metadata).every(([key, value]) => metadata[key] === value);
}

/** user-data as the API takes it. @throws BAD_SPEC if it is too large */
export function encoded(userData: string): string {
  const text = Buffer.from(userData, 'utf8').toString('base64');
  if (text.length <= most.userDataLength) return text;
  throw new CowherdError(
    'BAD_SPEC',
    `The user-data is too large: ${text.length} characters in base64, but OpenStack allows ${most.userDataLength}`,
    {
      hint: 'Make the user-data smaller, or let it download what is large.',
    },
  );
}

function checkServer({ name, tags, uniqueTag, metadata }: NewServer): void {
  if (!tags.includes(uniqueTag)) throw new Error(`the tags of ${name} do not include ${uniqueTag}`);
  const wrong = tags.find((tag) => tag === '' || tag.length > most.tagLength || /[,/]/.test(tag));
  if (wrong !== undefined || tags.length > most.tags || new Set(tags).size < tags.length) {
    throw new CowherdError('BAD_SPEC', `The tags of ${name} are not valid for OpenStack${wrong === undefined ? '' : `: ${wrong}`}`, {
      hint: `Use a shorter fleet name: a tag has up to ${most.tagLength} characters, without commas and slashes, and a server up to ${most.tags} tags.`,
    });
  }
  const long = Object.entries(metadata).find(([key, value]) => key.length > most.metadataLength || value.length > most.metadataLength);
  if (long !== undefined || name.length > most.nameLength) {
    throw new CowherdError('BAD_SPEC', `Name or metadata of ${name} are too long for OpenStack`, {
      hint: `Use shorter names: names and values have up to ${most.metadataLength} characters.`,
    });
  }
}
